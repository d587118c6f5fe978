"""The benchmark of views: its cases, its counting, and its page, on tiny inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference import views
from srn.inference.face_finder import FoundFace, LandmarkBoxFinder
from srn.inference.landmarker import FaceLandmarker
from srn.inference.views import Accuracy
from srn.media.pictures import write_image
from srn.synthesis.wardrobe import MaskWardrobe


@pytest.fixture
def pack(tmp_path: Path, face: np.ndarray) -> FacePack:
    """A hundred faces; every tenth photograph shows two."""
    samples = []
    for number in range(100):
        stem = tmp_path / "helen" / "trainset" / f"{number - number % 10 // 9}_{1 + number % 10 // 9}"
        write_image(stem.with_suffix(".jpg"), np.random.default_rng(number).integers(0, 256, (150, 150, 3), np.uint8))
        samples.append(Sample(stem.with_suffix(".jpg"), face * 60 + [75, 75], IBUG_68, "helen/trainset"))
    return pack_faces(samples)[0]


def test_faces_of_photographs_that_were_trained_on_are_left_out(pack: FacePack) -> None:
    pytest.importorskip("torch")
    import measure_views

    _, faces = measure_views.untrained(pack)
    assert 60 < len(faces) < 96
    assert not {str(name).rpartition("/")[2] for name in faces.names} & {"8_1", "8_2", "18_1", "18_2", "98_1", "98_2"}


def test_each_rule_sees_the_same_cases_and_each_crop_is_run_once(
    pack: FacePack, face: np.ndarray, fake_localizer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    import measure_views
    from remembered import RememberedLocalizer

    monkeypatch.setattr(measure_views, "masked_picture", lambda sample, *_: (np.array(sample.load()), None, "none"))
    some = list(measure_views.cases(pack, pack.subset(np.arange(2)), MaskWardrobe({}, {})))
    assert len({case.condition for case in some}) == 11

    # The network finds the face 6 crop pixels to the right, with an expected error whose confidence is 0.8.
    localizer = fake_localizer(lambda crop: (face * 60 + [53.5, 47.5], None, np.full(68, 0.02)))
    counter = RememberedLocalizer(localizer)
    asked: dict[Accuracy, int] = {"fast": 1, "balanced": 1, "best": 4}
    for accuracy, count in asked.items():
        counter.views = 0
        FaceLandmarker(localizer=counter, accuracy=accuracy).detect(some[0].image, [Box.around(some[0].landmarks)])
        assert counter.views == count
    assert len(localizer.batches) == 4

    class Finder:
        def find(self, image: Any) -> list[FoundFace]:
            return [FoundFace(Box.around(some[0].landmarks), 0.9)]

    before = views.SECOND_PAYS
    rows = measure_views.rows_of_rules(localizer, LandmarkBoxFinder(Finder()), some)
    assert before == views.SECOND_PAYS
    assert rows["fast"]["true box"]["views"] == 1
    assert rows["best"]["true box"]["views"] >= 2
    true = [case for case in some if case.condition == "true box"]
    expected = np.mean([6 / 60 * case.box.size / case.unit * 100 for case in true if case.box is not None])
    assert rows["fast"]["true box"]["nme"] == pytest.approx(expected, rel=0.02)
    assert f"| fast | {expected:.2f}"[:12] in measure_views.table(rows, "rule")
    assert [line.name for line in measure_views.chart(rows).lines][:2] == ["true box", "face finder"]
