"""Compare the errors that a network expects with its true ones, on faces that it has not seen.

    python benchmarks/measure_expected_errors.py PACK... --weights WEIGHTS --held-out

Of each pack, clean and behind drawn masks: the ratio of true to expected errors (1 where they are calibrated), the mean
confidence beside the share of right points, and how the ratio depends on what is known of a face without its truth:
how far the mirrored view lies off, in expected errors, and the expected error itself. `--held-out` takes of the first
pack only the faces that `srn train` keeps apart for validation. Only prints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from results import BOOTSTRAPS, argument_parser, markdown_table, program
from srn.datasets.pack import FacePack
from srn.face.localizer import confidence_from_error
from srn.face.metrics import expected_calibration_error
from srn.face.weights import find_weights
from srn.model.export import load_weights
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.config import AugmentConfig
from srn.training.stream import FaceStream, split_validation

BATCH, TOLERANCE, PARTS = 32, 0.03, 4
CONDITIONS = {
    "clean": AugmentConfig(second_pass=0.5, occluders=0, masks=0, noise_patch=0),
    "masked": AugmentConfig(second_pass=0.5, occluders=0, masks=1, noise_patch=0),
}
COLUMNS = ("faces", "number", "true / expected", "confidence", "right", "calibration error")

Array = npt.NDArray[np.float64]


@torch.no_grad()
def errors(network: StructuralRelationNetwork, faces: FaceStream, count: int) -> tuple[Array, Array, Array]:
    """Return true errors, expected ones, and distances of the mirrored view, (count, N) in face units."""
    config, parts = network.config, list[list[torch.Tensor]]()
    mirror = torch.from_numpy(config.scheme.mirror.copy())
    for first in range(0, count, BATCH):
        examples = [faces[i] for i in range(first, min(first + BATCH, count))]
        images, truth = (torch.stack([example[part] for example in examples]) for part in (0, 1))
        output, mirrored = (network(view.float() / 255) for view in (images, images.flip(-1)))
        found, other = output.shapes[:, -1], mirrored.shapes[:, -1][:, mirror]
        other[..., 0] = config.crop_size - 1 - other[..., 0]
        assert output.log_scale is not None
        distances = [(found - points).norm(dim=-1) / config.face_size for points in (truth, other)]
        parts.append([distances[0], 2 * torch.exp(output.log_scale), distances[1]])
    true, expected, apart = (torch.cat(part).double().numpy() for part in zip(*parts, strict=True))
    return true, expected, apart


def summary(true: Array, expected: Array, rng: np.random.Generator) -> list[str]:
    """Summarize errors (F, N): number, ratio with its interval, confidence, right points, calibration error."""
    ratios = (true / expected).mean(axis=1)
    means = ratios[rng.integers(len(ratios), size=(BOOTSTRAPS, len(ratios)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    confidence, right = confidence_from_error(expected.astype(np.float32), TOLERANCE), true < TOLERANCE
    error = expected_calibration_error(confidence.ravel(), right.ravel())
    ratio = f"{ratios.mean():.3f} ({low:.3f} to {high:.3f})"
    return [str(len(true)), ratio, f"{confidence.mean():.2f}", f"{right.mean():.2f}", f"{error:.3f}"]


def dependence(ratios: Array, known: Array) -> str:
    """Give the mean ratio of the quarters of the faces (F,), from the least of what is known of them to the most."""
    return ", ".join(f"{ratios[part].mean():.2f}" for part in np.array_split(np.argsort(known), PARTS))


def measure(options: argparse.Namespace) -> None:
    """Measure every pack under every condition, and print the tables."""
    torch.set_num_threads(options.threads)
    network, _ = load_weights(find_weights(options.weights), older=True)
    network.eval()
    packs: dict[str, Any] = {path.name: FacePack.load(path) for path in options.packs}
    if options.held_out:
        first = options.packs[0].name
        packs[first] = split_validation(packs[first], options.held_out)[1]
    rng, rows, quarters = np.random.default_rng(options.seed), list[list[str]](), list[list[str]]()
    for name, pack in packs.items():
        for condition, augmentation in CONDITIONS.items():
            stream = FaceStream(pack, network.config.crop_spec, augmentation, options.seed)
            true, expected, apart = errors(network, stream, options.crops * len(pack))
            rows.append([f"{name}, {condition}", *summary(true, expected, rng)])
            ratios = (true / expected).mean(axis=1)
            known = (apart / expected).mean(axis=1), np.log(expected).mean(axis=1)
            quarters.append([f"{name}, {condition}", *(dependence(ratios, values) for values in known)])
    print(markdown_table(COLUMNS, rows))
    print()
    print(
        markdown_table(("true / expected by quarters of", "distance of the mirrored view", "expected error"), quarters)
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("packs", type=Path, nargs="+", metavar="PACK", help="faces, made by srn data pack")
    made.add_argument("--weights", default="robust", help="a file or a name (default: robust)")
    made.add_argument(
        "--held-out", type=int, nargs="?", const=96, default=0, metavar="N",
        help="of the first pack, the N faces that a training keeps apart (96 if no number is given)",
    )  # fmt: skip
    made.add_argument("--crops", type=int, default=1, help="crops of each face (default: 1)")
    made.add_argument("--seed", type=int, default=0, help="of the crops (default: 0)")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())
