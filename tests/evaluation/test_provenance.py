"""The circumstances of a result."""

from __future__ import annotations

import subprocess
from importlib import metadata

import pytest

from srn.evaluation.provenance import commit, facts, versions_text


def test_the_facts_are_complete() -> None:
    assert set(facts()) >= {"command", "date", "hardware", "versions"}
    assert "numpy" in facts()["versions"]


@pytest.mark.parametrize("package", ["onnxruntime-gpu", "opencv-python"])
def test_a_package_that_stands_in_for_another_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are kept are those of its version, too."""
    assert f" {package} " not in versions_text()
    monkeypatch.setattr(metadata, "version", lambda name: "9.9" if name == package else "1.0")
    assert f"{package} 9.9" in versions_text()


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit() == ""
    assert "commit" not in facts()
