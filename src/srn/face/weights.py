"""The weights that have a name: the shipped ones, and the research weights of the repository's folder `models/`.

`FaceLandmarker("robust-no-occlusion")` and `--weights robust-no-occlusion` load a network by its name, `--hofs agent-0`
an agent.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from srn.errors import WeightsError
from srn.face.onnx_file import PINNED, SHIPPED

LICENSE = "LicenseRef-srn-weights: non-commercial research only"
"""Of all weights of the catalogue."""

MODELS_VARIABLE = "SRN_MODELS"
"""Environment variable with the folder of research weights, where the package is not installed from its repository."""


@dataclass(frozen=True)
class KnownWeights:
    """Weights that have a name.

    Attributes:
        sha256: of the file.
        size: bytes.
        faces: faces (of an agent: transitions; of a tracker: frames) seen in training.
        recipe: what they are, in a few words; `docs/experiments.md` has command and results.
        variant: row of the paper's tables that `srn reproduce` measures them for (`published.VARIANTS`), if any.
        agent: whether they are an agent's (HOFS), not a network that localizes landmarks.
    """

    name: str
    sha256: str
    size: int
    faces: int
    recipe: str
    variant: str = ""
    agent: bool = False

    @property
    def file(self) -> str:
        return f"{self.name}{'.safetensors' if self.agent else '.onnx'}"

    @property
    def shipped(self) -> bool:
        """Whether the installed package holds them."""
        return self.file in PINNED

    def path(self) -> Path | None:
        """Return where the file lies; None if it is not on this machine."""
        return next((folder / self.file for folder in _folders() if (folder / self.file).is_file()), None)

    def is_whole(self, path: Path) -> bool:
        """Read a file and return whether it is that of the catalogue, bit for bit."""
        return path.stat().st_size == self.size and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256

    def file_here(self) -> Path:
        """Return where the file lies; raise `WeightsError` where it is not on this machine."""
        found = self.path()
        if found is None:
            expected = f"{self.file} in the repository's folder models/, or in the folder that {MODELS_VARIABLE} names"
            problem = "no such file: research weights are not in the installed package"
            raise WeightsError.at(self.name, expected, problem)
        return found

    def check(self, path: Path, digest: str | None = None) -> None:
        """Raise `WeightsError` unless a file is that of the catalogue; `digest` is its SHA-256 where that is known."""
        if not (self.is_whole(path) if digest is None else digest == self.sha256):
            raise WeightsError.at(path, f"the file with the SHA-256 {self.sha256[:12]}...", "another content")

    def facts(self) -> dict[str, str | None]:
        """Return `path`, None if they are not on this machine, and `state`: `whole`, `changed` or `not here`."""
        path = self.path()
        state = "not here" if path is None else "whole" if self.is_whole(path) else "changed"
        return {"state": state, "path": None if path is None else str(path)}


CATALOGUE = (
    KnownWeights("robust", PINNED["robust.onnx"], 11_176_148, 2_980_000, "preset robust: the default", "full"),
    KnownWeights(
        "robust-int8", PINNED["robust-int8.onnx"], 6_857_417, 2_980_000, 'robust in 8 bits, for precision="int8"'
    ),
    KnownWeights(
        "fast",
        "55e37020d85767d37ebfc8b0b43dd17cb907462d90a772d658e5e6092e9a9998",
        3_167_946,
        740_000,
        "preset fast, a quarter of robust's cost, for phones and crowds",
    ),
    KnownWeights(
        "fast-int8",
        "1dec9d22602728fa0cdc3bf0560f249b479f88de4b6c1d5bad7e59458fbfcea6",
        2_164_634,
        740_000,
        "fast in 8 bits",
    ),
    KnownWeights(
        "paper",
        "e13f1922538d2f443f6583ad8c7e67f5fde495873d85d67c11644876f69236bc",
        41_717_569,
        408_000,
        "preset paper: the network as published, noise patches only in training (tables 2 and 4)",
        "full",
    ),
    KnownWeights(
        "robust-noise",
        "1ff8f70fdc804d1d31d97a8d578035f165d49fed6a0dd3ca5fe391470277e108",
        10_986_541,
        400_000,
        "preset robust, the paper's noise patches only in training (table 2, like for like)",
        "full",
    ),
    KnownWeights(
        "robust-no-occlusion",
        "9789e82c5408dbc2926e583987af1e9ade640c82ad67af9e485ba69dac2728ce",
        11_017_730,
        200_000,
        "preset robust, no occlusion in training (SRN w/o OFA, tables 3 and 9)",
        "without-occlusion",
    ),
    KnownWeights(
        "robust-hg",
        "2289caffdda1556336b9b3a711b7468e060d5ae1bb7b86011096fd02bbd17a19",
        9_809_838,
        2_530_000,
        "robust with an hourglass for its initial shape, 200,000 faces more (SRN+HG, table 4)",
        "hourglass",
    ),
    KnownWeights(
        "tracker",
        "f599df723f776bcad317cbdc37c6d30fa9cbccd646a5ef9d8483724ecd5e3898",
        11_017_688,
        59_968,
        "the tracker of equation 13, fine-tuned from robust (frames seen)",
    ),
    KnownWeights(
        "tracker-rsf",
        "75a7d2c05602b9162c608c905754bcce9858a769944fa3d905b001de73cee3f7",
        10_987_960,
        3_200,
        "robust-no-occlusion, fine-tuned as a tracker on patches at random landmarks (table 9 in small; frames seen)",
    ),
    KnownWeights(
        "tracker-hofs",
        "904e3232f484d43c88c579ff90bb92b2469769b6b9d5bc30d05de6a126acbe85",
        10_987_960,
        3_200,
        "robust-no-occlusion, fine-tuned as a tracker on patches put by agent-0 (table 9 in small; frames seen)",
    ),
    KnownWeights(
        "agent-0",
        "c0187aece7fedb7d5a642e82a4f5ca74de66f781c774be82e4bbda75f8624161",
        5_258_548,
        12_288,
        "HOFS agent against robust-no-occlusion, seed 0 (transitions)",
        agent=True,
    ),
    KnownWeights(
        "agent-1",
        "b8f651dabbe230399b5dc3d6e4e0f4743d48f75fd0495ea55bf9ba160f575954",
        5_258_548,
        12_288,
        "HOFS agent against robust-no-occlusion, seed 1 (transitions)",
        agent=True,
    ),
    KnownWeights(
        "agent-2",
        "9ac175e95929986e76a1cbd6f28f4b353e73dc05cfddd54959a9c9620ecfa883",
        5_258_548,
        12_288,
        "HOFS agent against robust-no-occlusion, seed 2 (transitions)",
        agent=True,
    ),
)
NETWORKS = tuple(one for one in CATALOGUE if not one.agent)
"""Those of the catalogue that localize landmarks."""


def _folders() -> list[Path]:
    """List where weights may lie: the package's folder, the variable's, and `models/` of the repository."""
    named = os.environ.get(MODELS_VARIABLE)
    return [SHIPPED, *([Path(named)] if named else []), SHIPPED.parents[2] / "models"]


def license_of(content: bytes) -> str | None:
    """Return the licence of a file of the catalogue, by its content; None for any other."""
    digest = hashlib.sha256(content).hexdigest()
    return LICENSE if any(one.sha256 == digest for one in CATALOGUE) else None


def named_weights(weights: str | os.PathLike[str], *, agent: bool = False) -> KnownWeights | None:
    """Return the network or agent of a name; None for a path. A file of that very name goes first.

    Raises:
        WeightsError: there is no such name.
    """
    path = Path(weights)
    if path.suffix or path.name != str(path) or path.exists():
        return None
    named = {one.name: one for one in CATALOGUE if one.agent == agent}
    if path.name not in named:
        kind = "an agent's .safetensors" if agent else "weights as .onnx or .safetensors"
        raise WeightsError.at(path.name, f"{kind}, or one of the names {', '.join(named)}", "neither")
    return named[path.name]


def find_weights(weights: str | os.PathLike[str], *, agent: bool = False) -> Path:
    """Return the path of a network's or an agent's weights, given by path or name. A file of that very name goes first.

    Raises:
        WeightsError: a name of the catalogue whose file is not here or is another one, or an unknown name.
    """
    known = named_weights(weights, agent=agent)
    if known is None:
        return Path(weights)
    found = known.file_here()
    known.check(found)
    return found
