"""Compare recipes by one change at a time on faces kept from training; writes `docs/results/recipe.md` and `.json`.

    python tools/study_recipe.py PACK --work RUNS [--faces 25600] [--arms NAME ...] [--weights FILE ...]

PACK is a `srn data pack` of 300W's training faces with the renderings of `300W_LP_AFW`. Every arm trains a network from
the same seed on the same faces, all but `ARMS`' one change alike; with `--initial` it goes on from trained weights, at
a peak rate of 1e-3 that falls over the last 60 %: what a change gives to a network that is done. RUNS keeps the runs,
so that a second call goes on where the first one ended. `--weights` measures trained weights in the same way.

What is measured, with both looks and mirrored averaging, boxes off as a face finder's are (inter-ocular NME, %):

- clean: each validation face that is no rendering, 3 boxes;
- turned: the picture turned by up to 45 degrees, 2 draws; poor box: off by 15 % of its side and a scale of 15 %, 2;
- masked, occluded: masks, and other occluders, of the kinds drawn in training, 2 draws;
- large pose: the renderings among the validation faces, 3 boxes; over the box's side, since their eyes nearly meet;
- trained rare, trained common: 120 training faces of rare and 120 of common shape, as they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from results import commit, markdown, write_results

from srn import FaceLandmarker
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.evaluation.speed import processor
from srn.face.geometry import Box, ImageArray, similarity, transform_points
from srn.face.metrics import interocular, nme
from srn.model.checkpoint import load_network
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.settings import with_settings
from srn.synthesis.augment import jittered_box, occlude
from srn.synthesis.config import NO_AUGMENTATION, AugmentConfig
from srn.training.balance import shape_rarity
from srn.training.config import TrainConfig, train_config
from srn.training.loop import Schedule, split_validation, train

OUT = Path(__file__).parents[1] / "docs" / "results"
RENDERINGS = "300W_LP_AFW"
CONDITIONS = (
    "clean", "turned", "poor box", "masked", "occluded", "large pose", "trained rare", "trained common",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One change: settings of the recipe, fields of the network, and whether the renderings are among the faces."""

    settings: tuple[str, ...] = ()
    model: dict[str, Any] = field(default_factory=dict)
    renderings: bool = True


ARMS: dict[str, Arm] = {
    "the recipe": Arm(),
    "no batch norm": Arm(model={"batch_norm": False}),
    "upright: no turn": Arm(("augmentation.rotation_deg=0", "augmentation.wide_rotation=0")),
    "mild turns: 12 degrees, none wider": Arm(("augmentation.wide_rotation=0",)),
    "wide turns: up to 45 degrees, always": Arm(("augmentation.wide_rotation=1",)),
    "true boxes": Arm(("augmentation.box_edge=0", "augmentation.box_shift=0", "augmentation.box_scale=0")),
    "no scale": Arm(("augmentation.box_scale=0",)),
    "twice the scale": Arm(("augmentation.box_scale=0.14",)),
    "no renderings": Arm(renderings=False),
    "no renderings, every face as often": Arm(("balance=0",), renderings=False),
    "every face as often": Arm(("balance=0",)),
}


@dataclass(frozen=True)
class Case:
    """A picture, the box that is given, the true points, and what the error is divided by."""

    image: ImageArray
    box: Box
    landmarks: np.ndarray
    unit: float


def is_rendering(name: str) -> bool:
    """Whether a packed face is a rendering and no photograph."""
    return name.startswith(RENDERINGS)


def photographs(pack: FacePack) -> np.ndarray:
    """Indices of a pack's faces that are no renderings."""
    return np.flatnonzero([not is_rendering(str(name)) for name in pack.names])


def cases(pack: FacePack, training: FacePack, validation: FacePack) -> Iterator[tuple[str, Case]]:
    """Every case by its condition, the same ones in every call."""
    rng = np.random.default_rng(0)
    jitter = AugmentConfig()
    poor = AugmentConfig(box_edge=0.04, box_shift=0.15, box_scale=0.15)
    only = {
        "masked": AugmentConfig(masks=1, noise_patch=0),
        "occluded": AugmentConfig(masks=0, occluders=1, noise_patch=0.15),
    }

    def case(image: ImageArray, points: np.ndarray, config: AugmentConfig, unit: float | None = None) -> Case:
        unit = interocular(points, pack.scheme) if unit is None else unit
        return Case(image, jittered_box(Box.around(points), config, rng), points, unit)

    for i in range(len(validation)):
        image, points = validation.image(i), validation.landmarks[i].astype(np.float64)
        if is_rendering(str(validation.names[i])):
            for _ in range(3):
                yield "large pose", case(image, points, jitter, Box.around(points).size)
            continue
        for _ in range(3):
            yield "clean", case(image, points, jitter)
        for _ in range(2):
            center = points.mean(axis=0)
            turn = similarity(1.0, float(np.deg2rad(rng.uniform(-45, 45))), center, center)
            turned = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
            yield "turned", case(turned, transform_points(turn, points), jitter)
            yield "poor box", case(image, points, poor)
            for name, config in only.items():
                covered = image.copy()
                other = training.image(int(rng.integers(len(training))))
                occlude(covered, points, lambda o=other: o, Box.around(points).size, pack.scheme, config, rng)
                yield name, case(covered, points, jitter)
    plain = photographs(training)
    order = plain[np.argsort(shape_rarity(training)[plain], kind="stable")]
    for name, chosen in (("trained common", order[: len(order) // 2]), ("trained rare", order[-len(order) // 10 :])):
        for i in rng.choice(chosen, 120, replace=False):
            yield name, case(training.image(i), training.landmarks[i].astype(np.float64), NO_AUGMENTATION)


def measure(landmarker: FaceLandmarker, all_cases: list[tuple[str, Case]]) -> dict[str, float]:
    """NME in % by condition."""
    errors: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for first in range(0, len(all_cases), 32):
        some = all_cases[first : first + 32]
        found = landmarker.detect_batch([c.image for _, c in some], [[c.box] for _, c in some])
        for (name, c), faces in zip(some, found, strict=True):
            errors[name].append(nme(faces[0].landmarks, c.landmarks, c.unit) * 100)
    return {name: float(np.mean(values)) for name, values in errors.items()}


def arm_config(arm: Arm, faces: int, seed: int, initial: StructuralRelationNetwork | None) -> TrainConfig:
    """The recipe with that one change; nothing is kept aside, since the faces given are all for training."""
    recipe = train_config("robust", faces=faces, seed=seed, validation=0, model_changes=arm.model)
    if initial is not None:
        if arm.model:
            raise InputError.at("--arms", "changes of the recipe alone with --initial", f"{arm.model}")
        recipe = dataclasses.replace(recipe, model=initial.config, learning_rate=1e-3, decay_share=0.6)
    return with_settings(recipe, arm.settings)


def cells(row: dict[str, Any]) -> list[str]:
    """A recipe's line of the table."""
    return [row["name"], row["faces_seen"], *(f"{row['nme'][name]:.2f}" for name in CONDITIONS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=25_600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), help="all if left out, that --initial allows")
    parser.add_argument("--initial", type=Path, help="trained weights that every arm goes on from")
    parser.add_argument("--name", default="recipe", help="of the files written")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="trained weights, measured beside the arms")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pack = FacePack.load(arguments.pack)
    training, validation = split_validation(pack, TrainConfig().validation)
    assert validation is not None
    all_cases = list(cases(pack, training, validation))
    rows: list[dict[str, Any]] = []

    def add(name: str, seen: str, network: StructuralRelationNetwork) -> None:
        landmarker = FaceLandmarker(localizer=TorchLocalizer(network), passes=2, flip_average=True)
        rows.append({"name": name, "faces_seen": seen, "nme": measure(landmarker, all_cases)})
        print(rows[-1], flush=True)

    for path in arguments.weights:
        network, facts = load_weights(path)
        add(path.stem, facts.get("faces_seen", "-"), network)
    possible = [name for name, arm in ARMS.items() if arguments.initial is None or not arm.model]
    for name in possible if arguments.arms is None else arguments.arms:
        arm = ARMS[name]
        initial = None if arguments.initial is None else load_weights(arguments.initial)[0]
        folder = arguments.work / name.replace(":", "").replace(",", "").replace(" ", "_")
        config = arm_config(arm, arguments.faces, arguments.seed, initial)
        faces = training if arm.renderings else training.subset(photographs(training))
        schedule = Schedule(log_every=100, save_every=200, workers=0, tensorboard=False)
        weights = train(config, faces, folder, resume=True, schedule=schedule, initial=initial)
        add(name, f"{arguments.faces}", load_network(weights)[0])
    from_weights = "" if arguments.initial is None else f" --initial {arguments.initial.name}"
    measured = "" if not arguments.weights else " --weights " + " ".join(path.name for path in arguments.weights)
    chosen = "" if arguments.arms is None else " --arms " + " ".join(f'"{name}"' for name in arguments.arms)
    content = {
        "command": "python tools/study_recipe.py PACK --work RUNS"
        f" --faces {arguments.faces} --seed {arguments.seed}{from_weights}{measured}{chosen} --name {arguments.name}",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{processor()}, {arguments.threads} threads, torch {torch.__version__}, {platform.system()}",
        "commit": commit(),
        "faces": pack.digest(),
        "rows": rows,
    }
    notes = ["NME in % on faces kept from training, both looks, mirrored; what the columns hold is said in the tool"]
    about = ("command", "date", "hardware", "commit", "faces")
    columns = ("recipe", "faces seen", *CONDITIONS)
    page = markdown("Recipes side by side", content, about, notes, columns, map(cells, rows))
    write_results(arguments.out, arguments.name, content, page)


if __name__ == "__main__":
    main()
