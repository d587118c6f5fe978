"""Face packs: training faces as small crops with context, in one portable file that loads fast.

A pack is a NumPy `.npz` archive without pickled objects: concatenated JPEG bytes with their offsets, the landmarks in
crop pixels, and the origin of each face. Training always reads a pack, so runs from a folder and from a pack agree.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import CropGeometry, CropSpec, ImageArray
from srn.face.scheme import LandmarkScheme, describe_scheme, described_scheme
from srn.files import write_atomically
from srn.media.arrays import read_npz
from srn.media.pictures import decode_image, encode_image

PACK_CROP = CropSpec(size=240, face_size=120.0)
"""Twice the face box, so that shifts, rotations and smaller scales stay inside the crop."""

PACK_QUALITY = 80
"""JPEG quality; `docs/experiments.md` has the sizes and errors of others."""

_FORMAT = "srn face pack 1"


@dataclass(frozen=True)
class FacePack:
    """Training faces, stored as JPEG bytes and decoded one at a time.

    Attributes:
        scheme: numbering of the landmarks.
        landmarks: (F, N, 2) float32, pixels of the packed crops.
        names: (F,) `subset/stem` of each face.
        spec: size of the crops and of the face in them.
        occluded: (F, N) bool, the occluded points where the dataset annotates them (COFW).
        where: name of the pack in messages.
        videos: (F,) the video that each face is a frame of, "" for a picture; None without videos.
    """

    scheme: LandmarkScheme
    landmarks: npt.NDArray[np.float32]
    names: npt.NDArray[np.str_]
    spec: CropSpec
    _bytes: npt.NDArray[np.uint8]
    _offsets: npt.NDArray[np.int64]
    occluded: npt.NDArray[np.bool_] | None = None
    where: str = "pack"
    videos: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.landmarks)

    def _code(self, index: int) -> npt.NDArray[np.uint8]:
        return self._bytes[self._offsets[index] : self._offsets[index + 1]]

    def image(self, index: int) -> ImageArray:
        """Return the crop (size, size, 3) uint8 RGB of one face."""
        where, size = f"{self.where}: {self.names[index]}", self.spec.size
        image = decode_image(self._code(index).tobytes(), where)
        if image.shape != (size, size, 3):
            raise DataError.at(where, f"a crop of {size} x {size}", f"{image.shape[1]} x {image.shape[0]}")
        return image

    def samples(self, path: Path) -> list[Sample]:
        """Return the faces as samples, coordinates in pixels of the crops; `path` is the pack's file."""
        return [
            Sample(
                path / f"{index + 1:05d}",
                self.landmarks[index].astype(np.float64),
                self.scheme,
                name.rpartition("/")[0],
                occluded=None if self.occluded is None else self.occluded[index],
                source=partial(self.image, index),
                video=None if self.videos is None else str(self.videos[index]) or None,
            )
            for index, name in enumerate(self.names.tolist())
        ]

    def subset(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> FacePack:
        """Return a pack of some of the faces, in the given order."""
        chosen = np.asarray(indices, dtype=np.int64)
        codes = _joined([self._code(index) for index in chosen])
        occluded = None if self.occluded is None else self.occluded[chosen]
        videos = None if self.videos is None else self.videos[chosen]
        return FacePack(
            self.scheme, self.landmarks[chosen], self.names[chosen], self.spec, *codes, occluded, self.where, videos
        )

    def digest(self) -> str:
        """Return a short hash of pictures, landmarks and flags, by which a run records its training faces."""
        flags = b"" if self.occluded is None else self.occluded.tobytes()
        return hashlib.sha256(self._bytes.tobytes() + self.landmarks.tobytes() + flags).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the pack atomically."""
        buffer = io.BytesIO()
        optional: dict[str, Any] = {"occluded": self.occluded, "videos": self.videos}
        np.savez(
            buffer,
            format=np.array(_FORMAT),
            scheme=np.array(describe_scheme(self.scheme)),
            frame=np.array([self.spec.size, self.spec.face_size]),
            landmarks=self.landmarks,
            names=self.names,
            bytes=self._bytes,
            offsets=self._offsets,
            **{name: values for name, values in optional.items() if values is not None},
        )
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FacePack:
        """Read a pack; raise `DataError` where the file is missing or no pack."""
        expected = "a face pack (.npz)"
        arrays = read_npz(path, expected)
        with DataError.reading(path, expected):
            if str(arrays["format"]) != _FORMAT:
                raise DataError.at(path, _FORMAT, str(arrays["format"]))
            size, face_size = arrays["frame"].tolist()
            spec, scheme = CropSpec(int(size), float(face_size)), described_scheme(str(arrays["scheme"]))
            landmarks, names, code, offsets = (arrays[key] for key in ("landmarks", "names", "bytes", "offsets"))
            occluded, videos = arrays.get("occluded"), arrays.get("videos")
            faces, n = len(names), scheme.n_points
            forms = [
                (names, "U", (faces,)), (landmarks, "f", (faces, n, 2)), (code, "u", (len(code),)),
                (offsets, "i", (faces + 1,)), *([] if occluded is None else [(occluded, "b", (faces, n))]),
                *([] if videos is None else [(videos, "U", (faces,))]),
            ]  # fmt: skip
            if any(array.dtype.kind != kind or array.shape != shape for array, kind, shape in forms):
                raise ValueError(f"arrays that do not belong to {faces} faces of {n} points")
            if not np.isfinite(landmarks).all() or (np.diff([0, *offsets, len(code)]) < 0).any():
                raise ValueError("landmarks that are not finite, or pictures that overlap")
            return cls(scheme, landmarks, names, spec, code, offsets, occluded, str(path), videos)


def pack_faces(
    samples: Sequence[Sample],
    *,
    quality: int = PACK_QUALITY,
    progress: Callable[[], None] = lambda: None,
) -> tuple[FacePack, list[str]]:
    """Crop every face with its context (`PACK_CROP`).

    Args:
        samples: faces of one scheme.
        quality: JPEG quality.
        progress: called after each face.

    Returns:
        The pack, and one line for each picture that could not be read.

    Raises:
        DataError: no readable face, or faces of several landmark schemes.
    """
    firsts = {sample.scheme.name: sample.path for sample in reversed(samples)}
    if len(firsts) != 1:
        found = ", ".join(f"{name} ({path})" for name, path in sorted(firsts.items())) or "no face"
        raise DataError.at("face pack", "faces of one landmark scheme", found)
    kept: list[Sample] = []
    landmarks, codes, problems = [], [], []
    last_path, image = None, None
    for sample in samples:
        progress()
        try:
            image, last_path = sample.load(image if sample.path == last_path else None), sample.path
        except DataError as error:
            problems.append(f"{error}; left out")
            continue
        crop = CropGeometry.from_box(sample.box, PACK_CROP)
        codes.append(np.frombuffer(encode_image(crop.crop(image), ".jpg", quality), np.uint8))
        landmarks.append(crop.to_crop(sample.landmarks).astype(np.float32))
        kept.append(sample)
    if not kept:
        raise DataError.at("face pack", "at least one readable picture", f"{len(problems)} that are not")
    names = np.array([f"{sample.subset}/{sample.path.stem}" for sample in kept])
    occluded = None
    if any(sample.occluded is not None for sample in samples):
        none = np.zeros(landmarks[0].shape[0], bool)
        occluded = np.stack([none if sample.occluded is None else sample.occluded for sample in kept])
    videos = np.array([sample.video or "" for sample in kept]) if any(sample.video for sample in kept) else None
    arrays = (np.stack(landmarks), names, PACK_CROP, *_joined(codes))
    return FacePack(kept[0].scheme, *arrays, occluded, videos=videos), problems


def _joined(codes: Sequence[npt.NDArray[np.uint8]]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of all pictures, and where each begins and the last ends."""
    offsets = np.concatenate([[0], np.cumsum([len(code) for code in codes], dtype=np.int64)])
    return np.concatenate(codes) if codes else np.zeros(0, np.uint8), offsets


def joined_packs(packs: Sequence[FacePack]) -> FacePack:
    """Return one pack with the faces of all, in their order. Faces without flags count as unoccluded beside others'.

    Raises:
        DataError: the packs differ in landmark scheme or crop.
    """
    first = packs[0]
    for pack in packs[1:]:
        if (pack.scheme, pack.spec) != (first.scheme, first.spec):
            found = [f"{one.scheme.name} in crops of {one.spec.size}, {one.spec.face_size:g}" for one in (first, pack)]
            raise DataError.at(pack.where, found[0], found[1])
    occluded = None
    if any(pack.occluded is not None for pack in packs):
        flags = [np.zeros(pack.landmarks.shape[:2], bool) if pack.occluded is None else pack.occluded for pack in packs]
        occluded = np.concatenate(flags)
    landmarks, names = (np.concatenate([getattr(pack, field) for pack in packs]) for field in ("landmarks", "names"))
    codes = _joined([pack._code(index) for pack in packs for index in range(len(pack))])
    videos = None
    if any(pack.videos is not None for pack in packs):
        none = [np.zeros(len(pack), "U1") if pack.videos is None else pack.videos for pack in packs]
        videos = np.concatenate(none)
    return FacePack(first.scheme, landmarks, names, first.spec, *codes, occluded, videos=videos)


def mean_shape(pack: FacePack) -> npt.NDArray[np.float32]:
    """Return the mean face (N, 2) in face units (origin at the centre of the tight box, 1 = the box's size).

    Placed in the face box it is the initial shape of the cascade (section 3.1). It is made symmetric, since half of the
    training faces are mirrored.
    """
    shapes = (pack.landmarks.astype(np.float64) - pack.spec.center) / pack.spec.face_size
    mean = shapes.mean(axis=0)
    return ((mean + mean[pack.scheme.mirror] * [-1, 1]) / 2).astype(np.float32)
