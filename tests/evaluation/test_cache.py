"""Kept results: the same numbers, found again, and never those of something else."""

from __future__ import annotations

import dataclasses
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.digests import manifest_digest
from srn.datasets.sample import Sample
from srn.evaluation import cache as module
from srn.evaluation.cache import (
    EvaluationCache,
    cached_evaluate,
    code_digest,
    default_folder,
    file_digest,
    weights_digest,
)
from srn.evaluation.protocol import evaluate
from srn.evaluation.results import Evaluation
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import OnnxLocalizer
from srn.media.pictures import write_image

from ..conftest import coordinate_picture

Shape = npt.NDArray[np.float64]


@pytest.fixture
def truths(face: Shape) -> dict[int, Shape]:
    return {0: face * 100 + [120, 130], 100: face * 110 + [128, 120]}


@pytest.fixture
def samples(tmp_path: Path, truths: dict[int, Shape]) -> list[Sample]:
    made = []
    for blue, shape in truths.items():
        write_image(tmp_path / "set" / f"{blue}.png", coordinate_picture(blue=blue))
        flags = np.arange(68) < 10 if blue else None
        marks = frozenset({"blur"} if blue else ())
        path, video = tmp_path / "set" / f"{blue}.png", "one/a" if blue else None
        made.append(Sample(path, shape, IBUG_68, "one", occluded=flags, attributes=marks, video=video))
    return made


@pytest.fixture
def landmarker(true_localizer: Any, truths: dict[int, Shape]) -> FaceLandmarker:
    return FaceLandmarker(localizer=true_localizer(truths, (3.0, 4.0)), accuracy="fast")


@pytest.fixture
def store(tmp_path: Path) -> EvaluationCache:
    return EvaluationCache(tmp_path / "kept")


def same(a: Evaluation, b: Evaluation) -> None:
    assert a.to_dict() == b.to_dict()
    for one, other in zip(a.results, b.results, strict=True):
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_folder_that_cannot_be_written_costs_no_result(
    landmarker: FaceLandmarker, samples: list[Sample], tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("a file")
    said: list[str] = []
    found, known = cached_evaluate(
        landmarker, samples, cache=EvaluationCache(tmp_path / "kept"), digest="w", tell=said.append
    )
    assert (len(found.results), known, len(said)) == (len(samples), False, 1)
    assert said[0].startswith(f"not kept: {tmp_path / 'kept'}")


def test_the_second_time_nothing_is_measured(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache
) -> None:
    first, known = cached_evaluate(landmarker, samples, cache=store, digest="w")
    assert not known
    batches = len(landmarker.localizer.batches)  # type: ignore[attr-defined]
    second, known = cached_evaluate(landmarker, samples, cache=store, digest="w")
    assert known
    assert len(landmarker.localizer.batches) == batches  # type: ignore[attr-defined]
    same(first, second)
    same(first, evaluate(landmarker, samples))


def test_missed_faces_are_kept_as_missed(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker, "find", lambda image: [])
    first, _ = cached_evaluate(landmarker, samples, cache=store, digest="w", init="finder")
    second, known = cached_evaluate(landmarker, samples, cache=store, digest="w", init="finder")
    assert known
    assert (second.missed, second.results[0].landmarks) == (2, None)
    same(first, second)


def test_another_normalizer_needs_no_measuring(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache
) -> None:
    cached_evaluate(landmarker, samples, cache=store, digest="w")
    other, known = cached_evaluate(landmarker, samples, cache=store, digest="w", normalizer="bbox")
    assert known
    measured = evaluate(landmarker, samples, normalizer="bbox")
    np.testing.assert_array_equal(other.errors, measured.errors)
    assert other.mean_shape_nme == pytest.approx(measured.mean_shape_nme)


def test_what_changes_the_numbers_changes_the_key(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed = [dataclasses.replace(s, detector_box=Box(*(s.box.as_array() + 3).tolist())) for s in samples]

    def known(faces: list[Sample] = boxed, tool: FaceLandmarker = landmarker, **options: Any) -> bool:
        return cached_evaluate(tool, faces, cache=store, **{"digest": "w", **options})[1]

    assert not known()
    assert known()
    assert not known(digest="other weights")
    assert not known(init="bbs")
    assert not known(faces=boxed[:1])
    assert not known(faces=boxed[::-1])
    assert not known(faces=[dataclasses.replace(boxed[0], landmarks=boxed[0].landmarks + 1e-6), boxed[1]])
    assert not known(faces=[dataclasses.replace(boxed[0], attributes=frozenset({"pose"})), boxed[1]])
    assert not known(faces=[dataclasses.replace(boxed[0], occluded=np.zeros(68, bool)), boxed[1]])
    localizer = landmarker.localizer
    assert not known(tool=FaceLandmarker(localizer=localizer, accuracy="best"))
    assert not known(tool=FaceLandmarker(localizer=localizer, accuracy="fast", flip_average=True))
    assert known()
    monkeypatch.setattr(module, "code_digest", lambda: "other code")
    assert not known()


def test_a_picture_that_changed_is_measured_anew(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache
) -> None:
    cached_evaluate(landmarker, samples, cache=store, digest="w")
    facts = samples[0].path.stat()
    os.utime(samples[0].path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000_000))
    assert not cached_evaluate(landmarker, samples, cache=store, digest="w")[1]


def test_finders_count_only_where_they_find(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmarker, "find", lambda image: [])
    cached_evaluate(landmarker, samples, cache=store, digest="w", finder="a")
    assert cached_evaluate(landmarker, samples, cache=store, digest="w", finder="b")[1]
    cached_evaluate(landmarker, samples, cache=store, digest="w", finder="a", init="finder")
    assert not cached_evaluate(landmarker, samples, cache=store, digest="w", finder="b", init="finder")[1]


def test_results_of_unread_pictures_and_of_unknown_weights_are_not_kept(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache
) -> None:
    cached_evaluate(landmarker, samples, cache=store, digest=None)
    assert not store.folder.exists()
    samples[0].path.write_bytes(b"no picture")
    result, _ = cached_evaluate(landmarker, samples, cache=store, digest="w")
    assert len(result.problems) == 1
    assert not store.folder.exists()


def test_a_broken_file_is_measured_anew(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache
) -> None:
    cached_evaluate(landmarker, samples, cache=store, digest="w")
    (file,) = store.folder.iterdir()
    whole = file.read_bytes()
    for content in (b"", b"nonsense", whole[:200]):
        file.write_bytes(content)
        assert not cached_evaluate(landmarker, samples, cache=store, digest="w")[1]
    expected = [result.nme for result in cached_evaluate(landmarker, samples, cache=None, digest="w")[0].results]
    for place in range(7, len(whole), 601):  # some bytes of an archive, such as its dates, change nothing
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found, _ = cached_evaluate(landmarker, samples, cache=store, digest="w")
        assert [result.nme for result in found.results] == expected
    assert cached_evaluate(landmarker, samples, cache=store, digest="w")[1]


def test_faces_named_from_another_folder_keep_their_new_names(
    landmarker: FaceLandmarker, samples: list[Sample], store: EvaluationCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_evaluate(landmarker, samples, cache=store, digest="w")
    monkeypatch.chdir(samples[0].path.parent)
    near = [dataclasses.replace(sample, path=Path(sample.path.name)) for sample in samples]
    result, known = cached_evaluate(landmarker, near, cache=store, digest="w")
    assert known
    assert [one.path for one in result.results] == [Path("0.png"), Path("100.png")]


def test_digests(tmp_path: Path, landmarker: FaceLandmarker, samples: list[Sample]) -> None:
    file = tmp_path / "weights.onnx"
    file.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert weights_digest(landmarker) is None
    assert weights_digest(landmarker, file) == file_digest(file) == digest
    landmarker.localizer = object.__new__(OnnxLocalizer)
    landmarker.localizer.path = file
    assert weights_digest(landmarker) == digest
    assert code_digest() == code_digest()
    assert manifest_digest(samples) == manifest_digest(list(samples))


def test_constants_in_files_are_part_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a found face is looked for is written in `inference/box_fit.json`."""
    for room in module._MEASURING_CODE:
        (tmp_path / room).mkdir()
    monkeypatch.setattr(resources, "files", lambda name: tmp_path)
    before = code_digest.__wrapped__()
    (tmp_path / "inference" / "box_fit.json").write_text('{"centerface": {"dx": 0.1}}')
    first = code_digest.__wrapped__()
    (tmp_path / "inference" / "box_fit.json").write_text('{"centerface": {"dx": 0.2}}')
    assert len({before, first, code_digest.__wrapped__()}) == 3


def test_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "srn" / "evaluations"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "srn" / "evaluations"
