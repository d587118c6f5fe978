"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Research data sets that may not be redistributed: they lie beside the repository, never inside it."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; a test that wants them is skipped where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the research data sets (../shared/data beside the repository) are not here")
    return SHARED_DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every test, whatever ran before it."""
    return np.random.default_rng(0)
