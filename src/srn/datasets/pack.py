"""Face packs: training faces as small crops with context, in one portable file that loads fast.

A pack is a NumPy `.npz` archive without pickled objects: concatenated JPEG bytes with their offsets, the landmarks in
crop pixels, and the origin of each face. Training always reads a pack, so runs from a folder and from a pack agree.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import CropGeometry, CropSpec
from srn.face.scheme import LandmarkScheme, describe_scheme, described_scheme
from srn.files import write_atomically
from srn.media.pictures import decode_image, encode_image

PACK_CROP = CropSpec(size=240, face_size=120.0)
"""Twice the face box, so that shifts, rotations and smaller scales stay inside the crop."""

PACK_QUALITY = 80
"""JPEG quality; `docs/experiments.md` has the sizes and errors of others."""

_FORMAT = "srn face pack 1"


@dataclass(frozen=True)
class PackedPicture:
    """One crop of a pack as the picture of a `Sample`."""

    pack: FacePack
    index: int

    def load(self) -> npt.NDArray[np.uint8]:
        """Return the crop (size, size, 3) uint8 RGB."""
        return self.pack.image(self.index)


@dataclass(frozen=True)
class FacePack:
    """Training faces, stored as JPEG bytes and decoded one at a time.

    Attributes:
        scheme: numbering of the landmarks.
        landmarks: (F, N, 2) float32, pixels of the packed crops.
        names: (F,) `subset/stem` of each face.
        spec: size of the crops and of the face in them.
        occluded: (F, N) bool, the occluded points where the dataset annotates them (COFW), else None.
    """

    scheme: LandmarkScheme
    landmarks: npt.NDArray[np.float32]
    names: npt.NDArray[np.str_]
    spec: CropSpec
    _bytes: npt.NDArray[np.uint8]
    _offsets: npt.NDArray[np.int64]
    occluded: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.landmarks)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the crop (size, size, 3) uint8 RGB of one face."""
        return decode_image(self._bytes[self._offsets[index] : self._offsets[index + 1]].tobytes(), self.names[index])

    def samples(self, path: str | os.PathLike[str]) -> list[Sample]:
        """Return the faces as samples, coordinates in pixels of the crops; `path` is the pack's file."""
        found = []
        for index, name in enumerate(self.names.tolist()):
            occluded = None if self.occluded is None else self.occluded[index]
            found.append(
                Sample(
                    Path(path) / f"{index + 1:05d}",
                    self.landmarks[index].astype(np.float64),
                    self.scheme,
                    name.rpartition("/")[0],
                    occluded=occluded,
                    source=PackedPicture(self, index),
                )
            )
        return found

    def subset(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> FacePack:
        """Return a pack of some of the faces, in the given order."""
        chosen = np.asarray(indices, dtype=np.int64)
        parts = [self._bytes[self._offsets[i] : self._offsets[i + 1]] for i in chosen]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
        joined = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        occluded = None if self.occluded is None else self.occluded[chosen]
        return FacePack(self.scheme, self.landmarks[chosen], self.names[chosen], self.spec, joined, offsets, occluded)

    def digest(self) -> str:
        """Return a short hash of pictures, landmarks and flags, by which a run records its training faces."""
        flags = b"" if self.occluded is None else self.occluded.tobytes()
        return hashlib.sha256(self._bytes.tobytes() + self.landmarks.tobytes() + flags).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pack atomically."""
        buffer = io.BytesIO()
        parts: dict[str, Any] = {
            "format": np.array(_FORMAT),
            "scheme": np.array(describe_scheme(self.scheme)),
            "frame": np.array([self.spec.size, self.spec.face_size]),
            "landmarks": self.landmarks,
            "names": self.names,
            "bytes": self._bytes,
            "offsets": self._offsets,
        }
        if self.occluded is not None:
            parts["occluded"] = self.occluded
        np.savez(buffer, **parts)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FacePack:
        """Read a pack.

        Raises:
            DataError: the file is missing or no pack.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                if str(archive["format"]) != _FORMAT:
                    raise DataError.at(path, _FORMAT, str(archive["format"]))
                size, face_size = archive["frame"]
                return cls(
                    described_scheme(str(archive["scheme"])),
                    archive["landmarks"],
                    archive["names"],
                    CropSpec(int(size), float(face_size)),
                    archive["bytes"],
                    archive["offsets"],
                    archive.get("occluded"),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, InputError) as error:
            raise DataError.at(path, "a face pack (.npz)", f"{type(error).__name__}: {error}") from error


def pack_faces(
    samples: Sequence[Sample],
    *,
    spec: CropSpec = PACK_CROP,
    quality: int = PACK_QUALITY,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[FacePack, list[str]]:
    """Crop every face with its context.

    Args:
        samples: faces of one scheme.
        spec: size of the crops and of the tight landmark box in them.
        quality: JPEG quality.
        progress: called with (faces done, faces in all).

    Returns:
        The pack, and one line for each picture that could not be read.
    """
    schemes = {sample.scheme.name for sample in samples}
    if len(schemes) != 1:
        raise DataError.at("face pack", "faces of one landmark scheme", ", ".join(sorted(schemes)) or "no face")
    landmarks, names, parts, flags, problems = [], [], [], [], []
    last_path, image = None, None
    for done, sample in enumerate(samples):
        if progress is not None:
            progress(done, len(samples))
        try:
            if sample.path != last_path or image is None:  # several faces of one picture: read it once
                image, last_path = sample.load(), sample.path
        except DataError as error:
            problems.append(f"{error}; left out")
            continue
        crop = CropGeometry.from_box(sample.box, spec)
        parts.append(np.frombuffer(encode_image(crop.crop(image), ".jpg", quality), np.uint8))
        landmarks.append(crop.to_crop(sample.landmarks).astype(np.float32))
        names.append(f"{sample.subset}/{sample.path.stem}")
        flags.append(np.zeros(len(sample.landmarks), bool) if sample.occluded is None else sample.occluded)
    if not parts:
        raise DataError.at("face pack", "at least one readable picture", f"{len(problems)} that are not")
    if progress is not None:
        progress(len(samples), len(samples))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
    occluded = None if all(sample.occluded is None for sample in samples) else np.stack(flags)
    joined = np.concatenate(parts)
    pack = FacePack(samples[0].scheme, np.stack(landmarks), np.array(names), spec, joined, offsets, occluded)
    return pack, problems


def mean_shape(pack: FacePack) -> npt.NDArray[np.float32]:
    """Return the mean face (N, 2) in face units (origin at the centre of the tight box, 1 = the box's size).

    Placed in the face box it is the initial shape of the cascade (section 3.1). It is made symmetric, since half of the
    training faces are mirrored.
    """
    shapes = (pack.landmarks.astype(np.float64) - pack.spec.center) / pack.spec.face_size
    mean = shapes.mean(axis=0)
    return ((mean + mean[pack.scheme.mirror] * [-1, 1]) / 2).astype(np.float32)
