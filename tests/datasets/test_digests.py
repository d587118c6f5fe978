"""Hashes of faces and of files; those of an evaluation's key are tested with its cache."""

from __future__ import annotations

from pathlib import Path

from srn.datasets.digests import files_digest


def test_names_and_content_of_files_decide(tmp_path: Path) -> None:
    def digest(**content: bytes) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        (root / "inner").mkdir(parents=True)
        for name, data in content.items():
            (root / "inner" / name).write_bytes(data)
        return files_digest(root, (root / "inner").iterdir())

    one = digest(a=b"1", b=b"2")
    assert one == digest(b=b"2", a=b"1")  # wherever the folder lies, in whatever order its files come
    others = [digest(a=b"1"), digest(a=b"2", b=b"1"), digest(a=b"1", c=b"2"), digest(a=b"1b2"), digest(a=b"12", b=b"")]
    assert len({one, *others}) == 6
