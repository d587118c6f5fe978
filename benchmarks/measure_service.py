"""Load `srn serve` on this machine; write `docs/results/service.md` and `service.json`.

    python benchmarks/measure_service.py [--picture FILE] [--seconds 20] [--clients 1 4 16] [--crowd 1000]

The service runs in a process of its own on the loopback address. Each client asks again as soon as it has its answer,
with one of several pictures that differ in the place of the face, and compares the answer with the library's. The
library is called directly in the same run, with as many pictures at once as there are clients, and decodes them.
`--crowd` clients at once follow, for `--crowd-seconds`: every answer must be there and belong to its picture.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.evaluation.timing import load_average
from srn.media.pictures import decode_image, encode_image, read_image

PICTURES = 8
STEP = 3
"""Pixels that the face moves from picture to picture."""
TOLERANCE = 0.05
"""Pixels by which an answer may differ from the library's: batches differ in the last bits."""
PORTRAIT = Path(__file__).parents[1] / "tests" / "data" / "astronaut.jpg"


@dataclass
class Tally:
    """What the clients of one load got."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: int = 0
    lost: int = 0

    def row(self, name: str, elapsed: float, direct: float) -> dict[str, Any]:
        rate = len(self.seconds) / elapsed
        p50, p99 = np.quantile(self.seconds, (0.5, 0.99)) * 1000 if self.seconds else (np.nan, np.nan)
        return {
            "clients": name, "answers": len(self.seconds), "rate": rate, "share": rate / direct, "p50_ms": float(p50),
            "p99_ms": float(p99), "refused": self.refused, "wrong": self.wrong, "lost": self.lost,
        }  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A picture, and the landmarks (N, 2) that the library finds on it."""

    content: bytes
    landmarks: np.ndarray


def questions(picture: Path, landmarker: FaceLandmarker) -> list[Question]:
    """Move a portrait a little for each question, so that no two have the same answer."""
    image = read_image(picture)
    made = []
    for number in range(PICTURES):
        moved = np.roll(image, number * STEP, axis=1)
        content = encode_image(moved, ".png")
        (face,) = landmarker.detect(decode_image(content, "picture"))
        made.append(Question(content, face.landmarks))
    return made


def direct_rate(landmarker: FaceLandmarker, asked: Sequence[Question], seconds: float, together: int) -> float:
    """Call the library for some time, with so many pictures at once; pictures a second."""
    begin, done = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        landmarker.detect_batch([decode_image(one.content, "picture") for one in asked[:together]])
        done += len(asked[:together])
    return done / (time.perf_counter() - begin)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> tuple[int, bytes]:
    """Send one request over an open connection; return status and body."""
    head = f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def client(port: int, number: int, asked: Sequence[Question], end: float, tally: Tally) -> None:
    """Ask until the end; every answer is compared."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = number
    try:
        while time.perf_counter() < end:
            question, turn = asked[turn % len(asked)], turn + 1
            begin = time.perf_counter()
            status, body = await ask(reader, writer, question.content)
            if status in (429, 503):
                tally.refused += 1
                await asyncio.sleep(0.5)
                continue
            tally.seconds.append(time.perf_counter() - begin)
            faces = json.loads(body)["faces"] if status == 200 else []
            near = len(faces) == 1 and np.abs(np.array(faces[0]["landmarks"]) - question.landmarks).max() <= TOLERANCE
            tally.wrong += not near
    except (OSError, asyncio.IncompleteReadError):
        tally.lost += 1
    finally:
        writer.close()


async def load(port: int, clients: int, asked: Sequence[Question], seconds: float) -> tuple[Tally, float]:
    """Let clients ask for some time; return what they got and how long it took."""
    tally, begin = Tally(), time.perf_counter()
    await asyncio.gather(*(client(port, n, asked, begin + seconds, tally) for n in range(clients)))
    return tally, time.perf_counter() - begin


def started(queue: int, threads: int) -> tuple[subprocess.Popen[str], int]:
    """Start the service; return its process and port."""
    command = [sys.executable, "-m", "srn", "serve", "--port", "0", "--queue", str(queue), "--threads", str(threads)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*command, "--seconds", "300"], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    line = process.stderr.readline()
    return process, int(line.split()[0].rsplit(":", 1)[1])


def run(options: argparse.Namespace) -> None:
    landmarker = FaceLandmarker(threads=options.threads)
    asked = questions(options.picture, landmarker)
    process, port = started(options.crowd + 10, options.threads)
    rows = []
    try:
        direct_rate(landmarker, asked, 1.0, PICTURES)
        asyncio.run(load(port, 4, asked, 1.0))
        for clients in options.clients:
            before = direct_rate(landmarker, asked, options.seconds / 2, clients)
            tally, elapsed = asyncio.run(load(port, clients, asked, options.seconds))
            direct = (before + direct_rate(landmarker, asked, options.seconds / 2, clients)) / 2
            rows.append({**tally.row(str(clients), elapsed, direct), "direct": direct})
            print(rows[-1], flush=True)
        if options.crowd:
            tally, elapsed = asyncio.run(load(port, options.crowd, asked, options.crowd_seconds))
            rows.append(tally.row(str(options.crowd), elapsed, rows[-1]["direct"]))
            print(rows[-1], flush=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    content = {**provenance(options.threads), "load": load_average(), "picture": options.picture.name, "rows": rows}
    write_results(options.out, "service", content, page(content))


def page(content: dict[str, Any]) -> str:
    columns = (
        "clients", "answers", "pictures/s", "the library, pictures/s", "share", "p50, ms", "p99, ms",
        "told to come again", "wrong answers", "lost connections",
    )  # fmt: skip
    cells = [
        [
            row["clients"], str(row["answers"]), f"{row['rate']:.1f}",
            f"{row['direct']:.1f}" if "direct" in row else "–", f"{row['share']:.2f}", f"{row['p50_ms']:.0f}",
            f"{row['p99_ms']:.0f}", str(row["refused"]), str(row["wrong"]), str(row["lost"]),
        ]
        for row in content["rows"]
    ]  # fmt: skip
    notes = [
        f"picture: {content['picture']}, as PNG, {PICTURES} times with the face elsewhere",
        f"load average at the end: {content['load']:.1f}",
        "each client asks again as soon as it has its answer; clients, service and library share the machine",
        "the library: detect_batch with decoding, called directly before and after each load",
        f"a wrong answer: another number of faces than one, or a point off by more than {TOLERANCE} pixels",
    ]
    return markdown_page("The service under load", content, notes, markdown_table(columns, cells))


def parser() -> argparse.ArgumentParser:
    result = argument_parser(__doc__)
    result.add_argument("--picture", type=Path, default=PORTRAIT)
    result.add_argument("--seconds", type=float, default=20.0)
    result.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    result.add_argument("--crowd", type=int, default=1000)
    result.add_argument("--crowd-seconds", type=float, default=60.0)
    return result


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
