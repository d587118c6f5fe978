"""The circumstances of a result."""

from __future__ import annotations

import subprocess

import pytest

from srn.evaluation.provenance import commit, facts


def test_the_facts_are_complete() -> None:
    assert set(facts()) >= {"command", "date", "hardware", "versions"}
    assert "numpy" in facts()["versions"]


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert commit() == ""
    assert "commit" not in facts()
