"""Start or resume a training run: recipe, initial weights, faces and occluder brought together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.evaluation.cache import name_and_digest
from srn.evaluation.run_folder import CONFIG_FILE
from srn.face.weights import find_weights
from srn.inference.runtime import shipped_weights
from srn.model.config import ModelConfig
from srn.model.export import load_weights
from srn.model.network import StructuralRelationNetwork
from srn.settings import with_settings
from srn.synthesis.patterns import patterns_of
from srn.training.config import TrainConfig, tracker_config, train_config
from srn.training.loop import Occluder, train
from srn.training.runs import check_kept, check_kept_settings, continues, hold_run

HARD_SHARE = 0.5
"""Share of the single faces that an occluder gets, if the recipe is not changed."""


_OF_FACES, _OF_PATTERNS = ("augmentation", "augment_on", "hard_share"), ("augmentation.pattern_file",)
"""Parts of a recipe that only some runs use."""


class KeptOccluder(Occluder, Protocol):
    """An occluder that a run's folder keeps, so that a resumed run needs nothing else."""

    def keep(self, folder: Path) -> None: ...


def recipe(
    *,
    preset: str | None = None,
    tracked: ModelConfig | None = None,
    changes: Sequence[str] = (),
    occluded: bool = False,
    **values: Any,
) -> TrainConfig:
    """Make the recipe of a new run.

    Args:
        preset: network and recipe; `robust` if None.
        tracked: picture model to make a tracker of, by training on clips.
        changes: see `srn.settings.with_settings`.
        occluded: whether an occluder takes part.
        values: fields of `TrainConfig`.
    """
    if tracked is None:
        config = train_config(preset or "robust", hard_share=HARD_SHARE if occluded else 0.0, **values)
        config = with_settings(config, changes)
        _refuse_unused(config, changes, occluded=occluded)
        return config
    if preset is not None:
        raise InputError.at("preset", "none with clips, which start from an initial network", repr(preset))
    config = with_settings(tracker_config(tracked, **values), changes)
    _refuse_unused(config, changes, occluded=occluded)
    if config.clips is not None and not any(change.startswith("batch_size=") for change in changes):
        frames = config.clips.frames
        config = dataclasses.replace(config, batch_size=max(config.batch_size // frames, 1) * frames)
    return config


def _refuse_unused(config: TrainConfig, changes: Sequence[str], *, occluded: bool) -> None:
    """Raise `InputError` where a change would have no effect on the run."""
    unused = {
        "an agent that occludes (--hofs)": (() if occluded else ("hard_share", "clips.hard_share")),
        "a run on single faces: clips have clips.motion": (() if config.clips is None else _OF_FACES),
        "augmentation.patterns, the share of the faces": () if config.augmentation.patterns else _OF_PATTERNS,
    }
    for expected, names in unused.items():
        for change in changes:
            name = change.partition("=")[0]
            if name in names or name.partition(".")[0] in names:
                raise InputError.at(f"--set {change}", expected, "none")


def _kept_recipe(
    folder: Path, preset: str | None, clips: bool, changes: Sequence[str], seed: int | None
) -> TrainConfig:
    """Read the recipe of a run that is resumed; `InputError` where what is asked for differs from it."""
    kept = TrainConfig.load(folder / CONFIG_FILE)
    check_kept_settings(kept, changes)
    check_kept("--seed", seed, kept.seed)
    if preset is not None and preset != kept.model.preset:
        raise InputError.at("--preset", f"{kept.model.preset}, that of the run that is resumed", preset)
    if clips and kept.clips is None:
        raise InputError.at("--clips", "a run on clips to resume", f"one on single faces in {folder}")
    return kept


def start_run(
    out: str | os.PathLike[str],
    faces: Callable[[], FacePack],
    *,
    preset: str | None = None,
    clips: bool = False,
    initial: str | os.PathLike[str] | None = None,
    count: int | None = None,
    seed: int | None = None,
    changes: Sequence[str] = (),
    occluder: KeptOccluder | None = None,
    resume: bool = False,
    **options: Any,
) -> Path:
    """Train in a folder by a preset's recipe; the work of `srn train`.

    Args:
        out: folder of the run.
        faces: opens the training faces; called once the recipe is known to be sound, because packing takes minutes.
        preset, changes: see `recipe`.
        clips: make a tracker of the initial network by training on clips.
        initial: weights to start from; with `clips` the shipped ones if None.
        count: training faces to see in all; the recipe's if None. A resumed run can be made longer or shorter by it.
        seed: of weights, order and augmentation; 0 if None. A run that is resumed keeps its own.
        occluder: occludes a share of the faces.
        resume: continue the run in the folder, by its recipe.
        options: `schedule`, `console` and `provenance` of `srn.training.loop.train`, which returns the weights' path.

    Raises:
        InputError: as `train` does, or the recipe or its changes do not fit.
    """
    folder = Path(out)
    resumed = continues(folder, resume)
    if clips and initial is None and not resumed:
        initial = shipped_weights()
    network, origin = _begun(initial)
    values: dict[str, Any] = {} if count is None else {"faces": count}
    if resumed:
        config = _kept_recipe(folder, preset, clips, changes, seed)
        config = dataclasses.replace(config, **values)
    else:
        tracked = network.config if clips and network is not None else None
        occluded = occluder is not None
        config = recipe(preset=preset, tracked=tracked, changes=changes, occluded=occluded, seed=seed or 0, **values)
    patterns_of(config.augmentation)  # a missing file is told before the faces are packed
    pack = faces()
    patterns_of(config.augmentation, pack.scheme)
    continues(folder, resume, options.get("console"))  # says so where it does not, once nothing else is wrong
    if not resumed:
        if config.clips is None:
            config = dataclasses.replace(config, model=dataclasses.replace(config.model, scheme_name=pack.scheme.name))
        if occluder is not None and os.environ.get("RANK", "0") == "0":
            with hold_run(folder):
                occluder.keep(folder)
    if resumed and initial is None:
        origin = {}  # kept in its state
    facts = {**options.pop("provenance", {}), **origin}
    return train(config, pack, folder, occluder=occluder, initial=network, resume=resume, provenance=facts, **options)


def _begun(initial: str | os.PathLike[str] | None) -> tuple[StructuralRelationNetwork | None, dict[str, str]]:
    """Load the weights that a run begins from, and what its own say of them: which they were, and their licence."""
    if initial is None:
        return None, {"initial": "random weights"}
    network, known = load_weights(initial)
    file = find_weights(initial)
    licence = {"license": known["license"]} if "license" in known else {}
    return network, {"initial": name_and_digest(file), **licence}
