"""Average the weights of runs that began from the same ones, and put right how large the mean expects its errors to be.

    python tools/average_weights.py OUT.safetensors RUN PACK WEIGHTS WEIGHTS ...

Runs of a common beginning lie in one valley, so that their mean is a network, too, and often a better one than each
(Wortsman and others, *Model soups*, ICML 2022). PACK is the runs' pack of training faces; the recipe in RUN's folder
says which of its faces were kept from training, and how they are varied to measure the errors on
(`srn.training.calibration`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.model.checkpoint import save_network
from srn.model.export import load_weights
from srn.training.config import TrainConfig
from srn.training.loop import FaceTask, split_validation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("weights", type=Path, nargs="+", help="one named twice counts twice")
    parser.add_argument("--faces-seen", type=int, help="by all the runs and what they began from, for the record")
    arguments = parser.parse_args()
    config = TrainConfig.load(arguments.run / "config.json")
    loaded = [load_weights(path) for path in arguments.weights]
    mean = loaded[0][0]
    for path, (network, _) in zip(arguments.weights, loaded, strict=True):
        if network.config != mean.config:
            raise InputError.at(path, f"a network as in {arguments.weights[0].name}", "another one")
    states = [network.state_dict() for network, _ in loaded]
    mean.load_state_dict(
        {
            name: torch.stack([state[name].float() for state in states]).mean(dim=0).to(tensor.dtype)
            for name, tensor in states[0].items()
        }
    )
    pack = FacePack.load(arguments.pack)
    training, validation = split_validation(pack, config.validation)
    facts = {
        "averaged": ", ".join(path.name for path in arguments.weights),
        "seeds": ", ".join(provenance.get("seed", "?") for _, provenance in loaded),
        "data": arguments.pack.name,
        "pack": pack.digest(),
        "training_faces": str(len(training)),
    }
    if arguments.faces_seen is not None:
        facts["faces_seen"] = str(arguments.faces_seen)
    if validation is not None:
        ratio = FaceTask(config).calibrate(mean.eval(), validation, torch.device("cpu"))
        if ratio is not None:
            facts["expected_error_times"] = f"{ratio:.4f}"
    save_network(arguments.out, mean, provenance=facts)
    print(f"{arguments.out}: {facts}")


if __name__ == "__main__":
    main()
