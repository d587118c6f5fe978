"""Feed every parser with broken files and count the errors that are not the project's own.

A parser passes if each input is either read or refused with one line that names the file. Each parser runs in a process
of its own, so that a crash of a library is counted as well. The results are `docs/results/fuzz.md` and `.json`.

    python benchmarks/fuzz.py --inputs 200000
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsers import PARSERS, Parser
from results import argument_parser, markdown_page, markdown_table, provenance, write_results
from srn.errors import SrnError
from srn.media.ffmpeg import quiet

_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # folder of files in memory

TOKENS = [
    b"", b"\0", b"\n", b'"', b",", b"[", b"{", b"}", b"]", b":", b"-", b"-1", b"0", b"1e999", b"nan", b"null", b"true",
    b"9" * 400, b"9" * 5000, b"[" * 3000, b"..", b"../../x", b"/etc/passwd", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800",
    b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0" * 4, b"\x80\0\0\0",
]  # fmt: skip
"""Byte strings that break parsers: separators, numbers out of range, deep nesting, paths, broken Unicode, sizes."""


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return a seed with one to eight random edits."""
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        place, length = chance.randrange(len(content) + 1), int(chance.expovariate(0.1)) + 1
        match chance.randrange(7):
            case 0 if content:
                content[place % len(content)] ^= 1 << chance.randrange(8)
            case 1 if content:
                content[place % len(content)] = chance.randrange(256)
            case 2:
                content[place : place + length] = chance.choice(TOKENS)
            case 3:
                content[place:place] = chance.choice(TOKENS)
            case 4:
                del content[place : place + length]
            case 5:
                content[place:place] = content[place : place + length]
            case 6:
                other = chance.choice(seeds)
                start = chance.randrange(len(other) + 1)
                content[place : place + length] = other[start : start + length]
    return bytes(content[: chance.randrange(len(content) + 1)] if chance.random() < 0.1 else content)


def outcome(parser: Parser, content: bytes, folder: Path) -> str:
    """Parse a content: `read`, `refused`, or the fault, i.e. a foreign error or one that does not name the file."""
    path = folder / parser.name
    path.write_bytes(content)
    try:
        parser.parse(path)
    except SrnError as error:
        text = str(error)
        return "refused" if str(folder) in text and "\n" not in text else f"unclear: {text[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "read"


def run(parser: Parser, inputs: int, seed: int, last: Path) -> dict[str, Any]:
    """Parse mutated seeds; `last` holds the input that is being parsed, for the case that the process dies."""
    chance, counts, slowest = random.Random(f"{parser.name}{seed}"), Counter[str](), 0.0
    faults: dict[str, str] = {}
    seeds = parser.seeds()
    quiet()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_MEMORY) as name:
        folder = Path(name)
        for content in map(parser.pack, seeds):
            if outcome(parser, content, folder) != "read":
                raise SystemExit(f"{parser.name}: a seed is not read: {outcome(parser, content, folder)}")
        for _ in range(inputs):
            content = parser.pack(mutated(seeds, chance))
            last.write_bytes(content)
            begin = time.perf_counter()
            found = outcome(parser, content, folder)
            slowest = max(slowest, time.perf_counter() - begin)
            kind = found if found in ("read", "refused") else "faults"
            counts[kind] += 1
            if kind == "faults" and len(faults) < 20:
                faults.setdefault(found, content.hex()[:4000])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"inputs": inputs, **{kind: counts[kind] for kind in ("read", "refused", "faults")},
            "slowest_s": round(slowest, 3), "peak_MiB": peak, "examples": faults}  # fmt: skip


def _in_process(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """Run a parser in a process of its own; a death of the process is one fault."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        last = Path(folder) / "last"
        command = [sys.executable, __file__, "--inputs", str(inputs), "--seed", str(seed), "--in-process", str(last)]
        done = subprocess.run([*command, "--parser", name], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        died = f"the process ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        content = last.read_bytes().hex()[:4000] if last.exists() else ""
        return {"inputs": 0, "read": 0, "refused": 0, "faults": 1, "slowest_s": 0, "peak_MiB": 0,
                "examples": {died: content}}  # fmt: skip


def main() -> None:
    options = argument_parser(__doc__)
    options.add_argument("--inputs", type=int, default=200_000, help="inputs of all parsers together")
    options.add_argument("--parser", choices=PARSERS, help="this parser alone")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--in-process", type=Path, help="file for the input that is being parsed; used by itself")
    arguments = options.parse_args()
    names = [arguments.parser] if arguments.parser else list(PARSERS)
    if arguments.in_process:
        print(json.dumps(run(PARSERS[names[0]], arguments.inputs, arguments.seed, arguments.in_process)))
        return
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        found[name] = _in_process(name, -(-arguments.inputs // len(names)), arguments.seed)
        print(name, {key: value for key, value in found[name].items() if key != "examples"}, flush=True)
        for fault, content in found[name]["examples"].items():
            print(f"  {fault}\n    {content[:200]}", flush=True)
    columns = ("inputs", "read", "refused", "faults", "slowest_s", "peak_MiB")
    rows = [[name, *(f"{row[column]:,}" for column in columns)] for name, row in found.items()]
    total = ["all", *(f"{sum(row[column] for row in found.values()):,}" for column in columns[:4]), "", ""]
    content = {**provenance(1), "parsers": found}
    notes = ["a fault is a foreign error, an error that does not name the file, or a crash of the process"]
    page = markdown_page("Broken files", content, notes, markdown_table(["parser", *columns], [*rows, total]))
    write_results(arguments.out, "fuzz", content, page)


if __name__ == "__main__":
    main()
