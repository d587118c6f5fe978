"""Compare training recipes that differ in one change; write `docs/results/recipe.json` and `recipe.md`.

    python benchmarks/measure_recipes.py PACK --work RUNS [--faces 25600] [--arms NAME ...] [--weights FILE ...]

PACK is a `srn data pack` of 300W's training faces with the renderings of `300W_LP_AFW`. Every arm trains from the same
seed on the same faces and differs from the recipe in one change (`ARMS`). With `--initial` each arm continues from
trained weights, at a peak rate of 1e-3 that falls over the last 60 %. RUNS keeps the runs, so a second call continues
where the first one ended. `--weights` measures trained weights beside the arms.

Conditions, on faces kept from training, with accuracy `best` and mirrored averaging (inter-ocular NME, %):

- clean: each validation face that is no rendering, 3 boxes as a face finder would give them;
- turned: the picture rotated by up to 45 degrees, 2 draws; poor box: off by 15 % of its size and in scale, 2 draws;
- masked, occluded: masks, and other occluders, of the kinds drawn in training, 2 draws;
- large pose: the renderings among the validation faces, 3 boxes; over the box size, since their eyes nearly meet;
- trained rare, trained common: 120 training faces of rare and 120 of common shape, unchanged.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.geometry import Box, FloatArray, ImageArray, similarity, transform_points
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
from srn.training.loop import Schedule, train
from srn.training.stream import split_validation

RENDERINGS = "300W_LP_AFW"
CONDITIONS = (
    "clean", "turned", "poor box", "masked", "occluded", "large pose", "trained rare", "trained common",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One change: settings of the recipe, values of the network, and whether renderings are among the faces."""

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


POOR_BOX = AugmentConfig(box_edge=0.04, box_shift=0.15, box_scale=0.15)
OCCLUSION = {
    "masked": AugmentConfig(masks=1, noise_patch=0),
    "occluded": AugmentConfig(masks=0, occluders=1, noise_patch=0.15),
}
"""Conditions that occlude, with the occluders of each."""


@dataclass(frozen=True)
class Case:
    """A picture, a face box, the true landmarks (N, 2), and the length that errors are divided by."""

    image: ImageArray
    box: Box
    landmarks: FloatArray
    unit: float


def is_rendering(name: str) -> bool:
    """Tell whether a packed face is a rendering."""
    return name.startswith(RENDERINGS)


def photographs(pack: FacePack) -> npt.NDArray[np.int64]:
    """List the faces of a pack that are no renderings, by index."""
    return np.flatnonzero([not is_rendering(str(name)) for name in pack.names])


def cases(pack: FacePack, training: FacePack, validation: FacePack) -> Iterator[tuple[str, Case]]:
    """Make all cases with the names of their conditions, the same ones in every call."""
    rng = np.random.default_rng(0)
    for index in range(len(validation)):
        yield from validation_cases(validation, index, training, rng)
    plain = photographs(training)
    order = plain[np.argsort(shape_rarity(training)[plain], kind="stable")]
    for name, chosen in (("trained common", order[: len(order) // 2]), ("trained rare", order[-len(order) // 10 :])):
        for i in rng.choice(chosen, min(120, len(chosen)), replace=False):
            points = training.landmarks[i].astype(np.float64)
            yield name, make_case(training.image(i), points, NO_AUGMENTATION, rng, interocular(points, pack.scheme))


def make_case(
    image: ImageArray, points: FloatArray, jitter: AugmentConfig, rng: np.random.Generator, unit: float
) -> Case:
    """Make a case with a jittered box."""
    return Case(image, jittered_box(Box.around(points), jitter, rng), points, unit)


def validation_cases(
    validation: FacePack, index: int, training: FacePack, rng: np.random.Generator
) -> Iterator[tuple[str, Case]]:
    """Make the cases of one validation face."""
    jitter = AugmentConfig()
    image, points = validation.image(index), validation.landmarks[index].astype(np.float64)
    if is_rendering(str(validation.names[index])):
        for _ in range(3):
            yield "large pose", make_case(image, points, jitter, rng, Box.around(points).size)
        return
    unit = interocular(points, validation.scheme)
    for _ in range(3):
        yield "clean", make_case(image, points, jitter, rng, unit)
    for _ in range(2):
        center = points.mean(axis=0)
        turn = similarity(1.0, float(np.deg2rad(rng.uniform(-45, 45))), center, center)
        turned = np.asarray(cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)
        yield "turned", make_case(turned, transform_points(turn, points), jitter, rng, unit)
        yield "poor box", make_case(image, points, POOR_BOX, rng, unit)
        for name, config in OCCLUSION.items():
            covered = image.copy()
            other = training.image(int(rng.integers(len(training))))
            occlude(covered, points, lambda o=other: o, Box.around(points).size, training.scheme, config, rng)  # type: ignore[misc]
            yield name, make_case(covered, points, jitter, rng, unit)


def measure(landmarker: FaceLandmarker, all_cases: list[tuple[str, Case]]) -> dict[str, float]:
    """Measure the NME in % by condition."""
    errors: dict[str, list[float]] = {name: [] for name in CONDITIONS}
    for first in range(0, len(all_cases), 32):
        some = all_cases[first : first + 32]
        found = landmarker.detect_batch([c.image for _, c in some], [[c.box] for _, c in some])
        for (name, c), faces in zip(some, found, strict=True):
            errors[name].append(nme(faces[0].landmarks, c.landmarks, c.unit) * 100)
    return {name: float(np.mean(values)) if values else float("nan") for name, values in errors.items()}


def arm_config(arm: Arm, faces: int, seed: int, initial: StructuralRelationNetwork | None) -> TrainConfig:
    """Apply the change of an arm to the recipe, without validation faces: all faces given are for training."""
    recipe = train_config("robust", faces=faces, seed=seed, validation=0, model_changes=arm.model)
    if initial is not None:
        if arm.model:
            raise InputError.at("--arms", "changes of the recipe alone with --initial", f"{arm.model}")
        recipe = dataclasses.replace(recipe, model=initial.config, learning_rate=1e-3, decay_share=0.6)
    return with_settings(recipe, arm.settings)


def row(result: dict[str, Any]) -> list[str]:
    """Format one line of the table."""
    return [result["name"], result["faces_seen"], *(f"{result['nme'][name]:.2f}" for name in CONDITIONS)]


def chosen_arms(options: argparse.Namespace) -> dict[str, Arm]:
    """Choose the arms to train: those named, or all that the options allow."""
    possible = [name for name, arm in ARMS.items() if options.initial is None or not arm.model]
    return {name: ARMS[name] for name in (possible if options.arms is None else options.arms)}


def train_arm(name: str, arm: Arm, training: FacePack, options: argparse.Namespace) -> StructuralRelationNetwork:
    """Train an arm, or continue its run."""
    initial = None if options.initial is None else load_weights(options.initial)[0]
    folder = options.work / name.replace(":", "").replace(",", "").replace(" ", "_")
    config = arm_config(arm, options.faces, options.seed, initial)
    faces = training if arm.renderings else training.subset(photographs(training))
    schedule = Schedule(log_every=100, save_every=200, workers=0, tensorboard=False)
    weights = train(config, faces, folder, resume=True, schedule=schedule, initial=initial)
    return load_network(weights)[0]


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("pack", type=Path, help="pack of the training faces")
    made.add_argument("--work", type=Path, required=True, help="folder of the runs")
    made.add_argument("--faces", type=int, default=25_600, help="faces that each arm sees (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--arms", nargs="*", choices=list(ARMS), help="default: all that --initial allows")
    made.add_argument("--initial", type=Path, help="trained weights that every arm continues from")
    made.add_argument("--name", default="recipe", help="name of the files written")
    made.add_argument("--weights", type=Path, nargs="*", default=[], help="trained weights, measured beside the arms")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    torch.set_num_threads(options.threads)
    pack = FacePack.load(options.pack)
    training, validation = split_validation(pack, TrainConfig().validation)
    if validation is None:
        raise InputError.at(options.pack, "a pack with faces to keep from training", f"{len(pack)} faces")
    all_cases = list(cases(pack, training, validation))
    results: list[dict[str, Any]] = []

    def add(name: str, seen: str, network: StructuralRelationNetwork) -> None:
        landmarker = FaceLandmarker(localizer=TorchLocalizer(network), accuracy="best", flip_average=True)
        results.append({"name": name, "faces_seen": seen, "nme": measure(landmarker, all_cases)})
        print(results[-1], flush=True)

    for path in options.weights:
        network, facts = load_weights(path)
        add(path.stem, facts.get("faces_seen", "-"), network)
    for name, arm in chosen_arms(options).items():
        add(name, f"{options.faces}", train_arm(name, arm, training, options))
    content = {**provenance(options.threads), "faces": pack.digest(), "rows": results}
    notes = (
        f"torch {torch.__version__}; faces {pack.digest()}",
        "NME in % on faces kept from training, best, mirrored; `benchmarks/measure_recipes.py` explains columns",
    )
    table = markdown_table(("recipe", "faces seen", *CONDITIONS), [row(result) for result in results])
    write_results(options.out, options.name, content, markdown_page("Recipes side by side", content, notes, table))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
