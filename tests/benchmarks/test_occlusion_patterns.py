"""Where faces are hidden: groups and rates by hand, and the whole script on a tiny pack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from measure_occlusion_patterns import groups, joined_points, main, statistics
from occlusion_flags import TRAINING
from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image
from srn.synthesis.patterns import OcclusionPatterns


def test_groups_by_hand() -> None:
    row = np.stack([np.array([0.0, 1, 2, 3, 50, 51, 52, 53]), np.zeros(8)], 1)
    joined = joined_points(row)
    np.testing.assert_array_equal(joined, joined.T)
    assert not joined.diagonal().any()
    assert not joined[:4, 4:].any()
    for hidden, expected in (([], 0), ([0], 1), ([0, 1], 1), ([0, 1, 2, 5], 2), ([3, 4], 2), (range(8), 2)):
        assert groups(np.isin(np.arange(8), list(hidden)), joined) == expected


def test_statistics_by_hand() -> None:
    shape = np.random.default_rng(0).uniform(0, 100, (68, 2))
    hidden, certain = np.zeros((4, 68), bool), np.ones((4, 68), bool)
    hidden[0] = True
    hidden[1, list(IBUG_68.part("eyes"))] = True
    certain[2, list(IBUG_68.part("eyes"))] = False
    told = statistics(hidden, certain, joined_points(shape))
    assert told["faces"] == "4"
    assert told["with a hidden point"] == "50%"
    assert told["points hidden"] == f"{80 / (4 * 68 - 12):.1%}"
    assert (told["eyes"], told["mouth"]) == (f"{2 / 3:.1%}", "25.0%")
    assert told["of these faces: hidden points, quartiles"] == "26, 40, 54"


def test_the_script_prints_and_keeps_patterns(
    tmp_path: Path, face: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = []
    for name in "ab":
        picture = tmp_path / f"{name}.png"
        write_image(picture, np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        samples.append(Sample(picture, face * 60 + [75, 75], IBUG_68, "afw"))
    pack_faces(samples)[0].save(tmp_path / "pack.npz")
    entry = {"hidden": [3, 4], "doubtful": [5], "part": TRAINING}
    flags = {"afw/a": entry, "afw/b": entry | {"hidden": []}}
    (tmp_path / "flags.json").write_text(json.dumps({"faces": flags}))
    given = [str(tmp_path / "pack.npz"), str(tmp_path / "flags.json"), "--crops", "4", "--keep", str(tmp_path)]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "| with a hidden point | 50% |" in printed
    assert "occluders by flags: 0.00% of the hidden points stay visible" in printed
    kept = OcclusionPatterns.load(tmp_path / "flags.npz")
    assert [np.flatnonzero(row).tolist() for row in kept.hidden] == [[3, 4], []]

    (tmp_path / "flags.json").write_text(json.dumps({"faces": {"afw/z": entry}}))
    assert main(given) == 2
    assert "flags.json: expected flagged faces of" in capsys.readouterr().err
