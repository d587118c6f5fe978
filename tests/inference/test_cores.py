"""The cores that a process may use, and the threads of a session."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from srn.errors import InputError
from srn.inference.cores import cpu_quotas, limit_opencv, thread_count, usable_cores
from srn.inference.sessions import open_session


class TestCores:
    def test_affinity_limits_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
        monkeypatch.setattr("srn.inference.cores.cpu_quotas", lambda *_: [])
        assert usable_cores() == 3
        monkeypatch.setattr("srn.inference.cores.cpu_quotas", lambda *_: [1.5, 7.0])
        assert usable_cores() == 2

    def test_opencv_takes_no_more_threads_than_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("srn.inference.cores.usable_cores", lambda: 2)
        before = cv2.getNumThreads()
        try:
            counts = []
            for asked in (1, 8, None):
                limit_opencv(asked)
                counts.append(cv2.getNumThreads())
        finally:
            cv2.setNumThreads(before)
        assert counts == [1, 2, 2]

    @pytest.mark.parametrize("asked", [None, 1, 8, 100_000])
    def test_no_session_has_more_threads_than_cores(
        self, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None
    ) -> None:
        monkeypatch.setattr("srn.inference.cores.usable_cores", lambda: 2)
        options = open_session(tiny_weights.read_bytes(), "a", "b", threads=asked).get_session_options()
        assert options.intra_op_num_threads == (1 if asked == 1 else 2)
        assert options.inter_op_num_threads == 1

    @pytest.mark.parametrize(("version", "limit"), [("1.20.0", None), ("1.25.2", None), ("1.26.0", 50), ("2.0.1", 50)])
    def test_threads_spin_no_longer_than_the_pauses_of_a_run(
        self, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, version: str, limit: int | None
    ) -> None:
        """A version without the limit would spin without end: its threads sleep."""
        monkeypatch.setattr("onnxruntime.__version__", version)
        options = open_session(tiny_weights.read_bytes(), "a", "b", threads=2).get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(limit is not None))
        if limit is not None:
            assert options.get_session_config_entry("session.intra_op.spin_duration_us") == str(limit)

    @pytest.mark.parametrize(
        ("groups", "files", "quotas"),
        [
            ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000\n"}, [1.5]),
            ("0::/a\n", {"cpu.max": "200000 100000"}, [2.0]),
            ("4:memory:/x\n1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, [0.5]),
            ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
            ("", {}, []),
        ],
        ids=["version 2", "a group around", "version 1", "no quota", "no groups"],
    )
    def test_quotas(self, tmp_path: Path, groups: str, files: dict[str, str], quotas: list[float]) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        assert cpu_quotas(groups, tmp_path) == quotas

    def test_more_threads_than_cores_are_as_many_as_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("srn.inference.cores.usable_cores", lambda: 3)
        assert [thread_count(n) for n in (None, 1, 2, 3, 8)] == [3, 1, 2, 3, 3]
        with pytest.raises(InputError, match="threads: expected a whole number of at least 1, found 0"):
            thread_count(0)
