"""Property tests of every parser: whatever the bytes, a file is read or refused with one line that names it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import fuzz
from fuzz import outcome
from parsers import PARSERS, Parser

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=6)
NEEDED = {"cofw.mat": "h5py", "network.onnx": "onnx", "weights.safetensors": "torch", "video": "av"}


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest) -> Parser:
    if request.param in NEEDED:
        pytest.importorskip(NEEDED[request.param])
    return PARSERS[request.param]


def edited(seed: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """The seed with pieces replaced: at a share of its length, a number of bytes by others."""
    content = bytearray(seed)
    for share, length, piece in edits:
        place = round(share * len(content))
        content[place : place + length] = piece
    return bytes(content)


def test_edited_files(parser: Parser, tmp_path: Path) -> None:
    seeds = parser.seeds()
    assert [outcome(parser, parser.pack(seed), tmp_path) for seed in seeds] == ["read"] * len(seeds)

    @EXAMPLES
    @given(st.sampled_from(seeds), EDITS)
    def is_read_or_refused(seed: bytes, edits: list[tuple[float, int, bytes]]) -> None:
        assert outcome(parser, parser.pack(edited(seed, edits)), tmp_path) in ("read", "refused")

    is_read_or_refused()


def test_any_bytes(parser: Parser, tmp_path: Path) -> None:
    @EXAMPLES
    @given(st.binary(max_size=300))
    def is_read_or_refused(content: bytes) -> None:
        assert outcome(parser, parser.pack(content), tmp_path) in ("read", "refused")

    is_read_or_refused()


def test_bytes_of_the_long_fuzz(parser: Parser, tmp_path: Path) -> None:
    chance, seeds = random.Random(1), parser.seeds()
    for _ in range(40):
        content = parser.pack(fuzz.mutated(seeds, chance))
        assert outcome(parser, content, tmp_path) in ("read", "refused"), content.hex()


def test_the_benchmark_counts_what_it_should_find(tmp_path: Path) -> None:
    def parse(path: Path) -> object:
        content = path.read_bytes()
        if content != b"good":
            raise KeyError("a foreign error")
        return content

    broken = Parser("a.bin", parse, lambda: [b"good"])
    found = fuzz.run(broken, 60, 0, tmp_path / "last")
    assert found["faults"] > 40
    assert found["read"] + found["refused"] + found["faults"] == 60
    assert list(found["examples"]) == ["KeyError: 'a foreign error'"]
