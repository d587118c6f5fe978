"""Face packs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.pack import PACK_CROP, FacePack, joined_packs, mean_shape, pack_faces
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import CropSpec
from srn.face.scheme import COFW_29, IBUG_68
from srn.media.pictures import write_image

Shape = npt.NDArray[np.float64]


@pytest.fixture
def samples(tmp_path: Path, face: Shape, rng: np.random.Generator) -> list[Sample]:
    """Four faces in three pictures (smooth gradients), all different."""
    y, x = np.mgrid[:150, :200]
    for index in range(3):
        picture = np.stack([x, y, np.full_like(x, 60 * index)], -1).astype(np.uint8)
        write_image(tmp_path / f"{index}.png", picture)
    places = [(0, 70, 60, 50), (0, 120, 90, 40), (1, 100, 75, 90), (2, 60, 80, 30)]
    return [
        Sample(
            tmp_path / f"{index}.png",
            (face + rng.normal(0, 0.02, face.shape)) * size + [x, y],
            IBUG_68,
            "afw" if index else "ibug",
        )
        for index, x, y, size in places
    ]


@pytest.fixture
def pack(samples: list[Sample]) -> FacePack:
    packed, problems = pack_faces(samples, quality=98)
    assert problems == []
    return packed


def test_landmarks_and_pixels_by_hand(samples: list[Sample], pack: FacePack) -> None:
    for index, sample in enumerate(samples):
        low, high = sample.landmarks.min(axis=0), sample.landmarks.max(axis=0)
        scale = 120 / np.sqrt(((high - low) ** 2).sum() / 2)  # the face box's side becomes 120 of 240 pixels
        expected = (sample.landmarks - (low + high) / 2) * scale + 119.5
        np.testing.assert_allclose(pack.landmarks[index], expected, atol=1e-4)
        crop = pack.image(index)
        assert crop.shape == (240, 240, 3)
        # Red is x and green is y in these pictures: the crop's centre shows the centre of the box.
        center = crop[118:122, 118:122, :2].reshape(-1, 2).mean(axis=0)
        np.testing.assert_allclose(center, (low + high) / 2, atol=2)
    assert pack.names.tolist() == ["ibug/0", "ibug/0", "afw/1", "afw/2"]
    assert pack.spec == PACK_CROP == CropSpec(240, 120)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path, pack: FacePack) -> None:
    pack.save(tmp_path / "faces.npz")
    loaded = FacePack.load(tmp_path / "faces.npz")
    assert len(loaded) == 4
    assert loaded.scheme is IBUG_68
    assert loaded.spec == pack.spec
    assert loaded.names.tolist() == pack.names.tolist()
    np.testing.assert_array_equal(loaded.landmarks, pack.landmarks)
    for index in range(4):
        np.testing.assert_array_equal(loaded.image(index), pack.image(index))
    assert loaded.digest() == pack.digest()


def test_annotated_occlusion_is_kept(samples: list[Sample], pack: FacePack, tmp_path: Path) -> None:
    hidden = np.arange(68) % 3 == 0
    flagged, _ = pack_faces([samples[0], dataclasses.replace(samples[1], occluded=hidden)], quality=98)
    flagged.save(tmp_path / "faces.npz")
    for one in (flagged, FacePack.load(tmp_path / "faces.npz")):
        assert one.occluded is not None
        np.testing.assert_array_equal(one.occluded, [np.zeros(68, bool), hidden])
        part = one.subset([1])
        assert part.occluded is not None
        np.testing.assert_array_equal(part.occluded, [hidden])
    plain = pack.subset([0, 1])
    assert plain.occluded is None
    assert plain.digest() != flagged.digest()


def test_frames_keep_their_video(samples: list[Sample], pack: FacePack, tmp_path: Path) -> None:
    frames, _ = pack_faces([dataclasses.replace(s, video=v) for s, v in zip(samples, ("a", "a", None), strict=False)])
    frames.save(tmp_path / "frames.npz")
    for one in (frames, FacePack.load(tmp_path / "frames.npz")):
        assert [sample.video for sample in one.samples(Path("pack"))] == ["a", "a", None]
        assert [sample.video for sample in one.subset([2, 1]).samples(Path("pack"))] == [None, "a"]
    assert pack.videos is None
    both = joined_packs([pack.subset([0]), frames])
    assert [sample.video for sample in both.samples(Path("pack"))] == [None, "a", "a", None]


def test_a_subset_keeps_its_order(tmp_path: Path, pack: FacePack) -> None:
    part = pack.subset([3, 0])
    part.save(tmp_path / "part.npz")
    for chosen in (part, FacePack.load(tmp_path / "part.npz")):
        assert chosen.names.tolist() == ["afw/2", "ibug/0"]
        np.testing.assert_array_equal(chosen.landmarks, pack.landmarks[[3, 0]])
        np.testing.assert_array_equal(chosen.image(0), pack.image(3))
        np.testing.assert_array_equal(chosen.image(1), pack.image(0))
    assert len(pack.subset([])) == 0


def test_the_digest_tells_packs_apart(samples: list[Sample], pack: FacePack) -> None:
    again, _ = pack_faces(samples, quality=98)
    other_pixels, _ = pack_faces(samples, quality=60)
    moved = FacePack(pack.scheme, pack.landmarks + 1, pack.names, pack.spec, pack._bytes, pack._offsets)
    packs = [pack, other_pixels, moved, pack.subset([0, 1, 2]), pack.subset([1, 0, 2, 3])]
    assert again.digest() == pack.digest()
    assert len({p.digest() for p in packs}) == len(packs)


def test_a_bad_picture_is_named_and_the_others_packed(tmp_path: Path, samples: list[Sample]) -> None:
    (tmp_path / "1.png").write_bytes(b"broken")
    calls: list[int] = []
    packed, problems = pack_faces(samples, progress=lambda: calls.append(1))
    assert packed.names.tolist() == ["ibug/0", "ibug/0", "afw/2"]
    (problem,) = problems
    assert problem.startswith(f"{tmp_path / '1.png'}: expected a picture")
    assert problem.endswith("; left out")
    assert len(calls) == 4


def test_a_face_outside_its_picture_is_named_and_another_of_it_packed(samples: list[Sample]) -> None:
    away = dataclasses.replace(samples[0], landmarks=samples[0].landmarks * 1e9)
    packed, problems = pack_faces([samples[0], away, samples[0]])
    assert len(packed) == 2
    (problem,) = problems
    assert ": expected a face in the picture of " in problem
    assert problem.endswith("; left out")


def test_nothing_to_pack(tmp_path: Path, samples: list[Sample], face: Shape) -> None:
    with pytest.raises(DataError, match="expected faces of one landmark scheme, found no face"):
        pack_faces([])
    other = Sample(tmp_path / "0.png", face[:29], COFW_29, "cofw")
    found = rf"cofw29 \({re.escape(str(other.path))}\), ibug68 \({re.escape(str(samples[0].path))}\)"
    with pytest.raises(DataError, match=f"expected faces of one landmark scheme, found {found}"):
        pack_faces([*samples, other])
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="expected at least one readable picture, found 1 that are not"):
        pack_faces([samples[2]])


@pytest.fixture
def broken(tmp_path: Path, pack: FacePack) -> dict[str, Path]:
    pack.save(tmp_path / "good.npz")
    content = (tmp_path / "good.npz").read_bytes()
    files = {"text": b"hello", "empty": b"", "half": content[: len(content) // 2]}
    for name, data in files.items():
        (tmp_path / f"{name}.npz").write_bytes(data)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "array.npz.npy", np.zeros(3))
    np.savez(tmp_path / "old.npz", format=np.array("srn face pack 0"))
    paths = {name: tmp_path / f"{name}.npz" for name in (*files, "other", "old", "missing")}
    return paths | {"array": tmp_path / "array.npz.npy"}


@pytest.mark.parametrize("kind", ["text", "empty", "half", "other", "old", "array", "missing"])
def test_what_is_no_pack_is_named(broken: dict[str, Path], kind: str) -> None:
    with pytest.raises(DataError) as caught:
        FacePack.load(broken[kind])
    assert str(caught.value).startswith(f"{broken[kind]}: expected ")
    assert "\n" not in str(caught.value)


def test_no_pickled_object_is_ever_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "trap.npz", format=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"trap\.npz: expected a face pack"):
        FacePack.load(tmp_path / "trap.npz")


def test_mean_shape_against_a_plain_loop(samples: list[Sample], pack: FacePack) -> None:
    total = np.zeros((68, 2))
    for sample in samples:
        low, high = sample.landmarks.min(axis=0), sample.landmarks.max(axis=0)
        normalized = (sample.landmarks - (low + high) / 2) / np.sqrt(((high - low) ** 2).sum() / 2)
        for index in range(68):
            mirrored = normalized[IBUG_68.mirror[index]]
            total[index] += (normalized[index] + [-mirrored[0], mirrored[1]]) / 2
    np.testing.assert_allclose(mean_shape(pack), total / 4, atol=1e-6)


def test_mean_shape_is_symmetric(pack: FacePack) -> None:
    mean = mean_shape(pack)
    for left, right in IBUG_68.mirror_pairs:
        assert mean[left, 0] < 0 < mean[right, 0]
        np.testing.assert_allclose(mean[left] * [-1, 1], mean[right], atol=1e-7)
    alone = np.flatnonzero(IBUG_68.mirror == np.arange(68))
    np.testing.assert_allclose(mean[alone, 0], 0, atol=1e-7)


def test_joined_parts_are_the_whole(samples: list[Sample], pack: FacePack) -> None:
    assert joined_packs([pack.subset([0]), pack.subset([]), pack.subset([1, 2, 3])]).digest() == pack.digest()
    hidden = np.arange(68) % 3 == 0
    flagged, _ = pack_faces([dataclasses.replace(samples[0], occluded=hidden)], quality=98)
    both = joined_packs([pack.subset([1]), flagged])
    assert both.occluded is not None
    np.testing.assert_array_equal(both.occluded, [np.zeros(68, bool), hidden])
    np.testing.assert_array_equal(both.image(1), flagged.image(0))


def test_packs_of_other_crops_are_not_joined(pack: FacePack) -> None:
    other = dataclasses.replace(pack, spec=CropSpec(128, 64.0), where="small.npz")
    with pytest.raises(
        DataError, match=r"small\.npz: expected ibug68 in crops of 240, 120, found ibug68 in crops of 128, 64"
    ):
        joined_packs([pack, other])
