"""A page of another kind is never replaced; one's own is."""

from __future__ import annotations

from pathlib import Path

import pytest

from srn.errors import InputError
from srn.evaluation.pages import check_page


def test_only_its_own_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    check_page("--out", tmp_path / "new" / "README.md", "# Ours")
    for content in ("", "# Ours\n\nmore"):
        page.write_text(content)
        check_page("--out", page, "# Ours")
    page.write_text("# My project\n" + "x" * 5000 + "# Ours")
    with pytest.raises(InputError, match=r"--out: expected a folder without another README.md, found .*README"):
        check_page("--out", page, "# Ours")
    page.unlink()
    page.mkdir()
    with pytest.raises(InputError, match=r"a folder without another README.md, found .*README.md, a folder"):
        check_page("--out", page, "# Ours")
