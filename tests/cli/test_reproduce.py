"""`srn reproduce`: what it writes and prints, its mistakes, and the trainings it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.files import TABLES

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, annotated_file: Callable[..., Path]) -> Path:
    """300W with a test face of each kind."""
    for name, blue in (("ibug/a", 0), ("helen/testset/b", 100), ("lfpw/testset/c", 200)):
        annotated_file(tmp_path / "data" / "300W" / f"{name}.png", blue)
    return tmp_path / "data"


@pytest.fixture
def reproduce(srn: Run, root: Path, tmp_path: Path) -> Run:
    def run(*arguments: object) -> Any:
        return srn(
            "reproduce", root, *arguments, "--out", tmp_path / "out", "--cache", tmp_path / "cache",
            "--accuracy", "fast", "--no-flip-average", "--weights", "robust",
        )  # fmt: skip

    return run


def test_a_table(reproduce: Run, knowing: Any, tmp_path: Path) -> None:
    ran = reproduce("table4")
    assert ran.code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "table4.md", "table4.csv", "table4.json", "table4_curves.svg",
    }  # fmt: skip
    page = (tmp_path / "out" / "README.md").read_text()
    assert TABLES.head.match(page.encode())  # the next run replaces it
    assert "- command: srn reproduce " in page
    assert "- hardware: " in page
    assert "| MDM [8] | 8.87 |" in page
    values = json.loads((tmp_path / "out" / "table4.json").read_text())
    ours = {c["column"]: c for c in values["cells"] if c["kind"] == "ours" and c["method"] == "SRN"}
    assert ours["ocular_full"]["faces"] == 3
    assert ours["ocular_full"]["value"] < 1  # this localizer knows
    assert "SRN+HG, inter-ocular Full: no weights: hourglass, 68 points\n" in ran.out


def test_figures_say_what_they_lack(reproduce: Run, knowing: Any, tmp_path: Path) -> None:
    ran = reproduce("figure7", "figure8")
    assert ran.code == 0
    assert "figure7: no data: 300VW" in ran.out
    assert "figure8: no data: 300VW" in ran.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md"}


def test_everything_at_once(
    reproduce: Run, use_localizer: Callable[[Any], None], fake_localizer: Any, face: Shape, tmp_path: Path
) -> None:
    use_localizer(fake_localizer(lambda crop: (face * 60 + 47.5, None, None)))
    ran = reproduce("all", "--limit", "2")
    assert ran.code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"table{n}.md" for n in range(1, 10)} <= names
    assert {"table2_curves.svg", "figure6a.jpg"} <= names  # masks are drawn where there are no templates
    page = (tmp_path / "out" / "README.md").read_text()
    assert page.count("\n## Table ") == 9
    assert "masks made here (drawn, seed 0)" in page
    assert "figure8: no data: 300VW" in page


def test_mistakes(reproduce: Run, knowing: Any, srn: Run, tmp_path: Path) -> None:
    assert reproduce("table10").mistake.endswith("found 'table10'")
    assert reproduce("table7", "--train").mistake == (
        "--train: expected --budget FACES, the faces that each variant sees, found none"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("# My project")
    taken = srn("reproduce", tmp_path, "table4", "--out", tmp_path / "mine").mistake
    assert taken == (
        "--out: expected a new file, or the tables of srn reproduce, "
        f"found {tmp_path / 'mine' / 'README.md'}, a file of another kind"
    )
    away = srn("reproduce", "table4", "--data", tmp_path / "nowhere", "--out", tmp_path / "o", "--weights", "robust")
    alone = srn("reproduce", "table4", "--out", tmp_path / "o")
    assert alone.mistake == "DATA WHAT: expected a folder of datasets, and what to measure, found only 'table4'"
    assert "expected a folder that holds datasets" in away.mistake


def test_a_table_without_variants_is_not_trained(reproduce: Run) -> None:
    pytest.importorskip("torch")
    mistake = reproduce("table4", "--train", "--budget", "9").mistake
    assert "expected one of table7, table8, table9, found table4" in mistake


def test_help_has_an_example(srn: Run) -> None:
    ran = srn("reproduce", "--help")
    assert ran.code == 0
    assert "srn reproduce datasets table4 table2" in " ".join(ran.out.split())


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, bool]]:
    """Takes the place of the training loop: what was trained, and whether it was resumed."""
    loop = pytest.importorskip("srn.training.loop", reason="training needs PyTorch")
    done: list[tuple[str, Any, bool]] = []

    def train(config: Any, pack: Any, out: Path, *, resume: bool, **others: Any) -> Path:
        out.mkdir(parents=True, exist_ok=True)
        config.save(out / "config.json")
        (out / "state.safetensors").write_bytes(b"")
        done.append((out.name, config, resume))
        return out / "weights.safetensors"

    monkeypatch.setattr(loop, "train", train)
    return done


def test_variants_are_trained_with_one_budget_and_seed(
    reproduce: Run, knowing: Any, trainings: list[tuple[str, Any, bool]], root: Path, annotated_file: Any
) -> None:
    annotated_file(root / "300W" / "afw" / "t.png", 0)
    ran = reproduce("table7", "table8", "--train", "--budget", "640", "--seed", "5")
    assert ran.code == 0
    configs = {name: config for name, config, _ in trainings}
    assert list(configs) == ["full", "without-g", "without-f", "without-d", "without-mu", "without-non-local"]
    assert {(c.faces, c.seed, c.batch_size, c.augmentation) for c in configs.values()} == {
        (640, 5, configs["full"].batch_size, configs["full"].augmentation)
    }
    assert {name: (c.model.without, c.model.non_local) for name, c in configs.items()} == {
        "full": ((), True), "without-g": (("g",), True), "without-f": (("f",), True), "without-d": (("d",), True),
        "without-mu": (("mu",), True), "without-non-local": ((), False),
    }  # fmt: skip
    # Interrupted runs go on; runs of another budget are not touched.
    trainings.clear()
    reproduce("table8", "--train", "--budget", "640", "--seed", "5")
    assert [(name, resumed) for name, _, resumed in trainings] == [("full", True), ("without-non-local", True)]
    other = reproduce("table8", "--train", "--budget", "320", "--seed", "5")
    assert "expected no run, or one of the same budget, seed and preset, found another run" in other.mistake


def test_table_9_without_occluded_faces(
    reproduce: Run, knowing: Any, trainings: list[tuple[str, Any, bool]], root: Path, annotated_file: Any
) -> None:
    annotated_file(root / "300W" / "afw" / "t.png", 0)
    reproduce("table9", "--train", "--budget", "64")
    bare = {name: config.augmentation for name, config, _ in trainings}
    assert list(bare) == ["full", "without-occlusion"]
    assert (bare["without-occlusion"].noise_patch, bare["without-occlusion"].masks) == (0, 0)
    assert bare["full"].masks > 0
