"""The documents: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "srn"


def rows() -> list[tuple[str, str]]:
    """Second and third column of the paper map's first table: names, and the modules that hold them."""
    lines = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return [(row[1], row[2]) for row in cells if len(row) == 3 and "`" in row[2]]


@pytest.mark.parametrize(("names", "modules"), rows(), ids=[names[:40] for names, _ in rows()])
def test_the_paper_map_names_what_is_there(names: str, modules: str) -> None:
    files = [SOURCE / f"{module.replace('.', '/')}.py" for module in re.findall(r"`([a-z_0-9.]+)`", modules)]
    assert files
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for name in re.findall(r"`([^`]+)`", names):
        if name.startswith("srn ") or name.endswith(".toml"):  # commands, data
            continue
        word = re.split(r"[. (=]", name.lstrip("."))
        assert re.search(rf"\b{word[-1] if word[-1].isidentifier() else word[0]}\b", text), f"{name} in {modules}"


@pytest.mark.parametrize(
    "document", sorted(p.relative_to(ROOT).as_posix() for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
)
def test_links_lead_somewhere(document: str) -> None:
    place = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / document).read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (place / target).exists(), target
