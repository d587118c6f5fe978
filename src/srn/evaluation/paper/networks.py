"""The networks of the tables: which weights belong to which row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srn.errors import InputError
from srn.evaluation.paper.published import VARIANTS
from srn.evaluation.run_folder import CONFIG_FILE, EXPORTED_FILE, KEPT_AGENT, WEIGHTS_FILE
from srn.face.scheme import LandmarkScheme
from srn.inference.landmarker import FaceLandmarker
from srn.settings import parsed_json
from srn.synthesis.config import AugmentConfig, MotionConfig


@dataclass(frozen=True)
class Network:
    """Weights to measure.

    Attributes:
        variant: row of the paper's own networks that they belong to, one of `published.VARIANTS`.
        digest: hash of the weights; None for weights that are no file.
        detail: text for the tables, e.g. a training budget.
    """

    variant: str
    landmarker: FaceLandmarker
    digest: str | None = None
    detail: str = ""

    @property
    def scheme(self) -> LandmarkScheme:
        return self.landmarker.localizer.scheme

    @property
    def name(self) -> str:
        return self.landmarker.localizer.name

    @property
    def label(self) -> str:
        """The weights' name without suffix and digest, for the row's name."""
        return self.name.partition(".")[0]


def by_variant(networks: Sequence[Network]) -> dict[tuple[str, str], list[Network]]:
    """Return networks by variant and name of the landmark scheme; several of one variant have a row each.

    Raises:
        InputError: two of one variant and scheme have one name, so that their rows could not be told apart.
    """
    found: dict[tuple[str, str], list[Network]] = {}
    for network in networks:
        others = found.setdefault((network.variant, network.scheme.name), [])
        if any(other.name == network.name for other in others):
            expected = f"one file of {network.variant} weights for {network.scheme.n_points} points"
            raise InputError.at("weights", f"{expected} of each name", f"{network.name} twice")
        others.append(network)
    return found


def variant_of(config: Mapping[str, Any], *, agent: bool = False) -> str:
    """Return the variant that a training run's `config.json` describes.

    An `agent` that occludes the faces makes the run one of HOFS. Other occlusion is that of `augmentation`, or, in a
    run on clips, which does not augment, that of its motion.

    Raises:
        InputError: the run has several differences from the whole network, so that it belongs to no row of the tables.
    """
    model, clips = config.get("model"), config.get("clips")
    painted = config.get("augmentation") if clips is None else clips.get("motion")
    if not isinstance(model, Mapping) or not isinstance(painted, Mapping):
        raise InputError.at(CONFIG_FILE, "a training run's model and augmentation", "another file")
    occlusions = AugmentConfig.occlusions if clips is None else MotionConfig.occlusions
    parts = [f"without-{part}" for part in model.get("without", ())]
    if not model.get("non_local", True):
        parts.append("without-non-local")
    if agent:
        parts.append("hofs")
    elif not any(painted.get(name, 0) for name in occlusions):
        parts.append("without-occlusion")
    if model.get("hourglass", False):
        parts.append("hourglass")
    elif str(model.get("preset", "")).startswith("robust") and not model.get("coarse_shape", True):
        parts.append("mean-shape")
    if len(parts) > 1:
        raise InputError.at(CONFIG_FILE, "a run that leaves one thing out", ", ".join(parts))
    return parts[0] if parts else "full"


def find_runs(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the weights of each trained variant in a folder of runs, and a line for each run left out."""
    found: dict[str, Path] = {}
    notes = []
    for path in sorted(folder.glob(f"*/{CONFIG_FILE}")) if folder.is_dir() else []:
        files = (path.with_name(name) for name in (EXPORTED_FILE, WEIGHTS_FILE))
        weights = next((file for file in files if file.is_file()), None)
        if weights is None:
            notes.append(f"{path.parent}: no weights yet")
            continue
        try:
            values = parsed_json(path.read_bytes())
            agent = path.with_name(KEPT_AGENT).exists()
            variant = str(values.get("variant") or variant_of(values, agent=agent))
        except (ValueError, AttributeError, InputError) as error:
            notes.append(f"{path}: {error}; left out")
            continue
        if variant not in VARIANTS or variant in found:
            reason = "its variant is there already" if variant in found else f"no row for {variant}"
            notes.append(f"{path.parent}: {reason}; left out")
            continue
        found[variant] = weights
    return found, notes
