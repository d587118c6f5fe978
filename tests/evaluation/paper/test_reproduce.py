"""Tables measured again: which faces and weights fill which cell, and what is written about it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.folder import DataFolder
from srn.errors import InputError
from srn.evaluation.cache import EvaluationCache
from srn.evaluation.paper import tabulate
from srn.evaluation.paper.networks import Network, find_runs, variant_of
from srn.evaluation.paper.outcome import Cell, Outcome
from srn.evaluation.paper.publish import curves, sheets
from srn.evaluation.paper.published import published
from srn.evaluation.paper.reproduce import VIDEO_NOTE, Reproduction
from srn.evaluation.results import Evaluation, FaceResult
from srn.evaluation.run_folder import KEPT_AGENT, WEIGHTS_FILE
from srn.evaluation.statistics import Interval
from srn.face.metrics import interocular, interpupil
from srn.face.scheme import IBUG_68, WFLW_98
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import read_image, write_image
from srn.media.pts import write_pts
from srn.synthesis.config import RANDOM_PATCH_MOTION, UNOCCLUDED_MOTION, MotionConfig
from srn.synthesis.masked import MaskedVersions

from ...conftest import coordinate_picture

Shape = npt.NDArray[np.float64]
TABLES = published().tables


@pytest.fixture
def truths(face: Shape) -> dict[int, Shape]:
    return {blue: face * (91 + blue / 10) + [120 + blue / 50, 128] for blue in (0, 50, 100, 150, 200)}


@pytest.fixture
def data(tmp_path: Path, truths: dict[int, Shape]) -> Path:
    """300W's test sets with two, one and one face, and one of the challenging faces under an authors' mask."""
    places = {
        0: ("300W/ibug/a", "masked_300W/ibug/a"), 50: ("300W/ibug/b",), 100: ("300W/helen/testset/c",),
        150: ("300W/lfpw/testset/d",),
    }  # fmt: skip
    for blue, names in places.items():
        for name in names:
            write_image(tmp_path / f"{name}.png", coordinate_picture(blue=blue))
            write_pts(tmp_path / f"{name}.pts", truths[blue])
    return tmp_path


@pytest.fixture
def network(true_localizer: Any, truths: dict[int, Shape]) -> Network:
    """5 crop pixels off everywhere: 1/12 of the face's size."""
    landmarker = FaceLandmarker(localizer=true_localizer(truths, (3.0, 4.0)), accuracy="fast")
    return Network("full", landmarker, detail="budget 7")


def per_cent(shape: Shape, normalizer: Any) -> float:
    side = np.sqrt((np.ptp(shape, axis=0) ** 2).sum() / 2)
    return float(5 * side / 60 / normalizer(shape, IBUG_68) * 100)


def row(outcome: Outcome, variant: str, number: int = 0) -> dict[str, Cell]:
    return dict([r for r in outcome.rows if r.variant == variant][number].cells)


def test_table_4_by_hand(data: Path, network: Network, truths: dict[int, Shape]) -> None:
    outcome = Reproduction(DataFolder(data), [network]).table(TABLES["table4"])
    cells = row(outcome, "full")
    for block, normalizer in (("ocular", interocular), ("pupil", interpupil)):
        for part, blues, official in (("challenging", (0, 50), 135), ("common", (100, 150), 554),
                                      ("full", (0, 50, 100, 150), 689)):  # fmt: skip
            cell = cells[f"{block}_{part}"]
            expected = np.mean([per_cent(truths[blue], normalizer) for blue in blues])
            assert cell.value == pytest.approx(expected, rel=0.01)
            assert (cell.faces, cell.official, cell.partial) == (len(blues), official, True)
            assert cell.interval is not None
            assert cell.interval.low <= cell.value <= cell.interval.high  # type: ignore[operator]
    assert row(outcome, "hourglass")["ocular_full"].reason == "no weights: hourglass, 68 points"


def test_boxes_make_rows(data: Path, network: Network, truths: dict[int, Shape]) -> None:
    inits = ("gt-box", "bbs")
    without = Reproduction(DataFolder(data), [network], inits=inits).table(TABLES["table4"])
    assert [r.init for r in without.rows if r.filled] == ["gt-box"]  # nobody has detector boxes
    for place, blue in (("ibug/a", 0), ("ibug/b", 50), ("helen/testset/c", 100), ("lfpw/testset/d", 150)):
        (x0, y0), (x1, y1) = truths[blue].min(axis=0), truths[blue].max(axis=0)
        write_pts(data / "300W" / "bbs" / f"{place}.pts", np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]]) + 4)
    both = Reproduction(DataFolder(data), [network], inits=inits).table(TABLES["table4"])
    assert [r.init for r in both.rows if r.filled] == ["gt-box", "bbs"]
    assert "bbs boxes" in [r.detail for r in both.rows if r.filled][1]
    # Boxes of the true points, as the authors' of the masked faces: the row would be that of gt-box.
    (x0, y0), (x1, y1) = truths[0].min(axis=0), truths[0].max(axis=0)
    write_pts(data / "masked_300W" / "bbs" / "ibug" / "a.pts", np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]]))
    masked = Reproduction(DataFolder(data), [network], inits=inits).table(TABLES["table2"])
    assert [r.init for r in masked.rows if r.filled] == ["gt-box"]
    alone = Reproduction(DataFolder(data), [network], inits=["bbs"]).table(TABLES["table2"])
    reason = "no detector boxes, but those of the true points: Masked 300W"
    assert row(alone, "full")["challenging"].reason == reason


def test_unknown_boxes_are_refused(data: Path, network: Network) -> None:
    with pytest.raises(InputError, match="face boxes: expected one of gt-box, finder, bbs, found 'nose'"):
        Reproduction(DataFolder(data), [network], inits=["nose"])


def test_challenging_faces_alone_are_not_full(data: Path, network: Network) -> None:
    outcome = Reproduction(DataFolder(data), [network]).table(TABLES["table2"])
    cells = row(outcome, "full")
    assert (cells["challenging"].faces, cells["challenging"].official) == (1, 135)
    assert cells["common"].reason == "no data: Masked 300W Common"
    assert cells["full"].reason == "no data: Masked 300W Full"
    assert any("masked_300W/ibug: 1 faces, the official release has 135" in note for note in outcome.notes)
    assert not any(str(data) in note for note in outcome.notes)


def test_masks_made_here(data: Path, fake_localizer: Any, face: Shape) -> None:
    answer = (face * 60 + 47.5, np.full(68, 0.9), None)
    landmarker = FaceLandmarker(localizer=fake_localizer(lambda crop: answer), accuracy="fast")
    for name in ("helen/testset/e", "ibug/f"):  # the clean faces that the authors' mask hides too
        write_image(data / "300W" / f"{name}.png", np.full((256, 256, 3), 90, np.uint8))
        write_pts(data / "300W" / f"{name}.pts", face * 100 + 128)
    write_image(data / "masked_300W" / "ibug" / "f.png", np.full((256, 256, 3), 190, np.uint8))
    write_pts(data / "masked_300W" / "ibug" / "f.pts", face * 100 + 128)
    folder = DataFolder(data, mask=MaskedVersions(data / "made", kind="drawn", seed=3))
    outcome = Reproduction(folder, [Network("full", landmarker)]).table(TABLES["table2"])
    authors, ours = row(outcome, "full"), row(outcome, "full", 1)
    assert (authors["challenging"].faces, ours["challenging"].faces, ours["full"].faces) == (2, 3, 6)
    assert "masks made here (drawn, seed 3)" in [r.detail for r in outcome.rows][1]
    (agreement,) = [note for note in outcome.notes if note.startswith("The same 2 faces")]
    assert "difference +0.00" in agreement  # this localizer ignores the picture
    (covered,) = [note for note in outcome.notes if note.startswith("Points covered")]
    # One of the two authors' pictures differs everywhere, the other nowhere; ours leave brows and eyes free.
    assert "brows 50% and 0%" in covered
    (made,) = (data / "made").iterdir()
    assert (read_image(made / "ibug" / "a.jpg") != read_image(data / "300W" / "ibug" / "a.png")).any()
    # A second run takes the masks that are there.
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    again = DataFolder(data, mask=MaskedVersions(data / "made", kind="drawn", seed=3)).sets("masked-300w")
    assert not isinstance(again, str)
    assert [s.occluded is None for s in again[1].samples] == [False] * 6
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    assert len(list((data / "made").iterdir())) == 1


def test_cells_say_what_they_lack(data: Path, network: Network) -> None:
    work = Reproduction(DataFolder(data), [network])
    assert {c.reason for c in row(work.table(TABLES["table1"]), "full").values()} == {
        "no data: COFW; no weights: full, 29 points", "no data: COFW68", "no data: WFLW; no weights: full, 98 points",
    }  # fmt: skip
    video = row(work.table(TABLES["table5"]), "hofs")["category2"].reason
    assert video == "no data: 300VW; no weights: hofs, 68 points"
    assert row(work.table(TABLES["table9"]), "full")["masked_category1"].reason.startswith("no data: masked 300VW")
    # Ablations compare networks of one budget: the shipped weights are none of them.
    assert "no weights: full" in row(work.table(TABLES["table7"]), "full")["full"].reason


def test_frames_of_videos_say_how_they_are_localized(data: Path, network: Network, truths: dict[int, Shape]) -> None:
    for video, blues in {"114": (0, 50), "124": (100, 150)}.items():
        for number, blue in enumerate(blues, 1):
            write_image(data / "300VW" / video / "imgs" / f"{number:06d}.png", coordinate_picture(blue=blue))
            write_pts(data / "300VW" / video / "annot" / f"{number:06d}.pts", truths[blue])
    outcome = Reproduction(DataFolder(data), [dataclasses.replace(network, variant="hofs")]).table(TABLES["table5"])
    cell = row(outcome, "hofs")["category1"]
    assert (cell.faces, cell.interval is not None) == (4, True)
    assert VIDEO_NOTE in outcome.notes
    assert cell.part is not None
    # Of two videos, each wholly drawn or not: the interval reaches from one's mean to the other's.
    means = cell.part.errors.reshape(2, 2).mean(axis=1) * 100
    assert cell.interval is not None
    assert [cell.interval.low, cell.interval.high] == pytest.approx([min(means), max(means)])
    assert VIDEO_NOTE not in Reproduction(DataFolder(data), [network]).table(TABLES["table4"]).notes


def test_ablations_fill_their_rows(data: Path, network: Network) -> None:
    less = dataclasses.replace(network, variant="without-g")
    outcome = Reproduction(DataFolder(data), [], [network, less]).table(TABLES["table7"])
    assert row(outcome, "without-g")["challenging"].value is not None
    assert row(outcome, "without-f")["challenging"].value is None
    assert "budget 7" in outcome.rows[0].detail


def test_two_weights_for_one_row_are_refused(data: Path, network: Network) -> None:
    with pytest.raises(InputError, match="one file of full weights for 68 points of each name, found fake twice"):
        Reproduction(DataFolder(data), [network, network])


def test_several_weights_have_a_row_each(data: Path, network: Network, true_localizer: Any, truths: Any) -> None:
    exact = true_localizer(truths, (0.0, 0.0))
    exact.name = "exact.onnx@1f"
    both = [network, Network("full", FaceLandmarker(localizer=exact, accuracy="fast"))]
    outcome = Reproduction(DataFolder(data), both).table(TABLES["table4"])
    labels = [r.label for r in outcome.rows]
    assert labels == ["ours: fake", "ours: exact", "ours, for SRN+HG"]
    first, second = (r.cells["ocular_full"].value for r in outcome.rows[:2])
    assert first == pytest.approx(row(outcome, "full")["ocular_full"].value)
    assert second is not None
    assert second < 0.1


def test_every_set_is_measured_once_and_kept(data: Path, network: Network, tmp_path: Path) -> None:
    network = dataclasses.replace(network, digest="w")
    work = Reproduction(DataFolder(data), [network], cache=EvaluationCache(tmp_path / "kept"))
    first = work.table(TABLES["table4"])
    batches = len(network.landmarker.localizer.batches)  # type: ignore[attr-defined]
    work.table(TABLES["table4"])
    again = Reproduction(DataFolder(data), [network], cache=EvaluationCache(tmp_path / "kept")).table(TABLES["table4"])
    assert len(network.landmarker.localizer.batches) == batches  # type: ignore[attr-defined]
    assert row(again, "full") == row(first, "full")


def test_speed_needs_no_data(tmp_path: Path, fake_localizer: Any, face: Shape) -> None:
    localizer = fake_localizer(lambda crop: (face * 60 + 47.5, None, None))
    landmarker = FaceLandmarker(localizer=localizer, flip_average=True)
    outcome = Reproduction(DataFolder(tmp_path), [Network("full", landmarker)]).table(TABLES["table6"])
    assert localizer.batches == [1] * 16  # one face, one view, not mirrored; 15 times, with one that does not count
    cell = row(outcome, "full")["fps"]
    assert cell.value is not None
    assert cell.value > 0
    assert not cell.partial
    assert "one view, on" in outcome.rows[0].detail


MODEL = {"without": [], "non_local": True, "hourglass": False}
AUGMENTATION = {"noise_patch": 0.1, "occluders": 0.4, "masks": 0.2}
NO_OCCLUSION = {"noise_patch": 0, "occluders": 0, "masks": 0}


@pytest.mark.parametrize(
    ("model", "augmentation", "variant"),
    [
        ({}, AUGMENTATION, "full"),
        ({"without": ["g"]}, AUGMENTATION, "without-g"),
        ({"without": ["mu"]}, AUGMENTATION, "without-mu"),
        ({"non_local": False}, AUGMENTATION, "without-non-local"),
        ({"hourglass": True}, AUGMENTATION, "hourglass"),
        ({"preset": "robust-hg", "hourglass": True, "coarse_shape": False}, AUGMENTATION, "hourglass"),
        ({"preset": "robust", "coarse_shape": False}, AUGMENTATION, "mean-shape"),
        ({"preset": "paper", "coarse_shape": False}, AUGMENTATION, "full"),
        ({}, NO_OCCLUSION, "without-occlusion"),
        ({}, {**NO_OCCLUSION, "noise_patch": 1.0}, "full"),
        ({}, {**NO_OCCLUSION, "behind": 0.1}, "full"),
        ({}, {**NO_OCCLUSION, "patterns": 0.3, "pattern_file": "patterns.npz"}, "full"),
    ],
)
def test_what_a_run_is(model: dict[str, Any], augmentation: dict[str, Any], variant: str) -> None:
    assert variant_of({"model": {**MODEL, **model}, "augmentation": augmentation}) == variant


def test_a_run_with_an_agent_is_hofs() -> None:
    """It is no network with randomly synthesized occlusion, and its row is not that of SRN."""
    for augmentation in (AUGMENTATION, NO_OCCLUSION):
        run = {"model": MODEL, "augmentation": augmentation, "hard_share": 0.5}
        assert variant_of(run, agent=True) == "hofs"
    assert variant_of({"model": MODEL, "augmentation": NO_OCCLUSION, "hard_share": 0.5}) == "without-occlusion"


def test_a_tracker_is_occluded_by_its_motion() -> None:
    """The augmentation in its recipe is that of pictures, and is not used."""

    def run(augmentation: dict[str, Any], motion: MotionConfig) -> dict[str, Any]:
        return {"model": MODEL, "augmentation": augmentation, "clips": {"motion": motion.to_dict(), "hard_share": 0.5}}

    assert variant_of(run(AUGMENTATION, UNOCCLUDED_MOTION)) == "without-occlusion"
    assert variant_of(run(NO_OCCLUSION, RANDOM_PATCH_MOTION)) == "full"
    assert variant_of(run(NO_OCCLUSION, UNOCCLUDED_MOTION), agent=True) == "hofs"


def test_a_run_that_leaves_out_two_things_has_no_row() -> None:
    with pytest.raises(InputError, match="a run that leaves one thing out, found without-g, without-non-local"):
        variant_of({"model": {**MODEL, "without": ["g"], "non_local": False}, "augmentation": AUGMENTATION})


def test_runs_are_found(tmp_path: Path) -> None:
    def run(name: str, config: object, *files: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        for file in files:
            (tmp_path / name / file).write_bytes(b"")

    whole = {"model": MODEL, "augmentation": AUGMENTATION}
    run("a", whole, "weights.safetensors", "weights.onnx")
    run("b", {**whole, "model": {**MODEL, "without": ["f"]}}, "weights.safetensors")
    run("c", whole, "weights.onnx")
    run("d", {**whole, "model": {**MODEL, "without": ["g"]}})
    run("e", "{not json", "weights.onnx")
    run("f", whole, WEIGHTS_FILE, KEPT_AGENT)
    run("g", '{"variant": "without-g", "variant": "without-d"}', "weights.onnx")
    found, notes = find_runs(tmp_path)
    assert found == {
        "full": tmp_path / "a" / "weights.onnx", "without-f": tmp_path / "b" / "weights.safetensors",
        "hofs": tmp_path / "f" / "weights.safetensors",
    }  # fmt: skip
    assert [Path(note.split(":")[0]).name for note in notes] == ["c", "d", "config.json", "config.json"]
    assert notes[-1] == f"{tmp_path / 'g' / 'config.json'}: the name 'variant' twice; left out"
    assert find_runs(tmp_path / "nowhere") == ({}, [])


# --- what is written


@pytest.fixture
def outcome(data: Path, network: Network) -> Outcome:
    return Reproduction(DataFolder(data), [network]).table(TABLES["table4"])


def test_markdown(outcome: Outcome) -> None:
    text = tabulate.markdown(outcome)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "| MDM [8] | 8.87 | 3.74 | 4.78 | – | – | – |" in text
    assert "| SRN (the paper) | 5.86 | 3.08 | 3.62 | 7.69 | 3.97 | 4.70 |" in text
    (ours,) = [line for line in lines if "**ours: fake**<br>beside SRN; " in line]
    cell = row(outcome, "full")["ocular_challenging"]
    assert cell.value is not None
    assert f"**{cell.value:.2f}**" in ours
    assert f"(2 of 135); {cell.value - 5.86:+.2f}" in ours
    assert "no weights: hourglass, 68 points" in text
    page = tabulate.document([outcome], {"command": "srn reproduce"}, ["figure6: none"])
    assert text.rstrip() in page
    assert "- [8] Trigeorgis" in page
    assert "[13]" not in page  # not in this table
    assert "- figure6: none" in page


def test_csv_and_json_hold_the_same_cells(outcome: Outcome) -> None:
    rows = list(csv.DictReader(io.StringIO(tabulate.to_csv(outcome))))
    assert tuple(rows[0]) == tabulate.CSV_FIELDS
    values = json.loads(tabulate.to_json(outcome, {"commit": "abc"}))
    assert values["commit"] == "abc"
    assert len(values["cells"]) == len(rows)
    assert sum(cell["kind"] == "published" for cell in values["cells"]) == 54
    ours = [c for c in values["cells"] if c["kind"] == "ours" and c["column"] == "pupil_full"]
    full, hourglass = (next(c for c in ours if c["method"] == method) for method in ("SRN", "SRN+HG"))
    assert full["published"] == 4.70
    assert full["difference"] == pytest.approx(full["value"] - 4.70)
    assert (full["faces"], full["official_faces"]) == (4, 689)
    assert "value" not in hourglass
    assert hourglass["reason"] == "no weights: hourglass, 68 points"


ONE_MISSED = Evaluation(
    tuple(FaceResult(Path("a.jpg"), "test", error, 0.3) for error in (0.03, np.inf)), "interocular", "finder", "w"
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(Interval(3.456, 3.1, 3.9), 689, 689), "3.46 [3.10, 3.90]"),
        (Cell(Interval(3.456, 3.1, 3.9), 30, 135), "3.46 [3.10, 3.90] (30 of 135)"),
        (Cell(Interval(31.5, np.nan, np.nan)), "31.50"),
        (Cell(reason="no data: COFW"), "no data: COFW"),
        (Cell(Interval(3.456, 3.1, 3.9), 2, 2, part=ONE_MISSED), "3.46 [3.10, 3.90] (1 missed)"),
        (Cell(Interval(3.456, 3.1, 3.9), 2, 9, part=ONE_MISSED), "3.46 [3.10, 3.90] (2 of 9) (1 missed)"),
    ],
)
def test_a_cell_in_words(cell: Cell, text: str) -> None:
    assert tabulate.cell_text(cell) == text


def test_curves_mark_published_failure_rates(outcome: Outcome) -> None:
    charts = curves(outcome)
    assert [(chart.x_label.partition(":")[0], len(chart.lines)) for chart in charts] == [
        (column.label, 1) for column in outcome.table.columns
    ]
    part = next(r for r in outcome.rows if r.filled).curves["ocular_full"]
    table = TABLES["table3"]
    plain = Outcome(table, (dataclasses.replace(outcome.rows[0], cells={"nme": Cell(part=part)}),))
    (drawn,) = curves(plain)
    assert all(f">{name}</text>" in drawn.svg() for name in ("SDM", "ODN", "SRN (w/o OFA)"))
    assert curves(Outcome(table, ())) == []


def test_curves_of_several_networks_share_a_chart_for_each_set(outcome: Outcome) -> None:
    """Sets and normalizers that are told by the colour alone cannot be told apart."""
    row = next(row for row in outcome.rows if row.filled)
    two = Outcome(outcome.table, (row, dataclasses.replace(row, weights=("other",))))
    for chart in curves(two):
        names = [line.name for line in chart.lines]
        assert len(names) == 2
        assert names[1].startswith("ours: other, ")
        assert all(name.endswith("(n = 4)") == ("Full" in chart.x_label) for name in names)


def test_sheets(data: Path, network: Network) -> None:
    work = Reproduction(DataFolder(data), [network])
    drawn, notes = sheets(work, "masked-300w")
    assert list(drawn) == ["the authors' pictures"]
    assert notes == []
    assert sheets(work, "300vw", clips=True) == ({}, ["no data: 300VW"])
    nobody = Reproduction(DataFolder(data), [])
    assert sheets(nobody, "300w") == ({}, ["no weights: full, 68 points"])
    assert WFLW_98.n_points == 98
