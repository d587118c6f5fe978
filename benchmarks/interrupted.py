"""Run `srn` in a process of its own, interrupt it at a moment, and compare what it leaves with what it should.

A process is forked from this one, which has the libraries loaded, so that a run takes a part of a second. Moments are
counted in the processor time of the run: other work on the machine does not shift them.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from srn.errors import SrnError
from srn.files import write_atomically

REMAINS = re.compile(r"\..*\.[0-9a-f]{8}\.partial(\.\w+)?")
"""Names of the files that a process killed while writing leaves; every command passes them over."""

JOURNAL = re.compile(r"\..*\.partial\.jsonl")
"""Names of the journals of `srn detect`, whose torn last line is dropped by the run that goes on."""

TABLES = ("manifest.csv", "masks.csv")
"""Tables of a folder's files: they go before the files are replaced, and come after them."""

MOST_LOSS = 1.0
"""Mean difference, in grey levels, of two frames that the encoder of a video was given alike."""

POLL = 0.004
"""Seconds between two looks at a process."""

LONGEST = 300.0
"""Seconds after which a run counts as one that never ends: it is aborted, and says where it was."""

GRACE = 10.0
"""Seconds in which an aborted run says where it was: a second signal would end it in the middle of that."""

WITHOUT_RESULTS = (".lock", "bystander.txt")
TIMES = ("faces_per_s", "waiting_share", "transitions_per_s", "network_share")
"""Columns of a log that hold times."""

Tree = dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A run that is over.

    Attributes:
        code: exit code; that of a signal is negative.
        seconds: processor time.
        said: all that it printed on the standard error stream.
        struck: whether the signal reached it before its end.
    """

    code: int
    seconds: float
    said: str
    struck: bool


@dataclasses.dataclass(frozen=True)
class Strike:
    """A signal, sent to a run after some seconds of processor time.

    Attributes:
        to_group: also to its child processes, as a terminal's Ctrl-C is and `systemctl stop`.
    """

    number: signal.Signals
    after: float
    to_group: bool = False


def forked(work: Callable[[], object], folder: Path) -> int:
    """Start a process in a folder and a group of its own; it ends after the work. Returns its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        faulthandler.enable(os.dup(2))  # where one that never ends is; the second stream may be silenced
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError


def _in_fork(work: Callable[[], bool], folder: Path) -> bool:
    """Run what starts threads, such as a decoder, in a process of its own: forks of one with threads may hang."""
    _, status = os.waitpid(forked(lambda: sys.exit(not work()), folder), 0)
    return status == 0


def run_srn(words: Sequence[str], folder: Path, strike: Strike | None = None, *, fresh: bool = False) -> Ended:
    """Run a command in a folder, and interrupt it; a `fresh` process loads the libraries itself."""
    if fresh:
        with Path(f"{folder}.stdout").open("wb") as out, Path(f"{folder}.stderr").open("wb") as err:
            command = [sys.executable, "-m", "srn", *words]
            number = subprocess.Popen(command, cwd=folder, process_group=0, stdout=out, stderr=err).pid
    else:
        number = forked(lambda: _command(words), folder)
    end = time.monotonic() + LONGEST
    struck = strike is not None and _struck(number, strike, end)
    while not _is_over(number):
        if time.monotonic() > end:
            os.kill(number, signal.SIGABRT)
            end += GRACE
        time.sleep(POLL)
    _, status, usage = os.wait4(number, 0)
    said = Path(f"{folder}.stderr").read_text(errors="replace").replace(f"{sys.prefix}/", "")  # of any machine
    return Ended(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, said, struck)


def _command(words: Sequence[str]) -> None:
    from srn.__main__ import main

    sys.argv = ["srn", *words]
    main()


def _is_over(number: int) -> bool:
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _struck(number: int, strike: Strike, end: float) -> bool:
    """Wait for a process's moment and send the signal; False where it ended before, or never comes to it."""
    clock = (~number << 3) | 2  # Linux: the processor time of another process
    while not _is_over(number) and time.monotonic() < end:
        if time.clock_gettime(clock) >= strike.after:
            (os.killpg if strike.to_group else os.kill)(number, strike.number)
            return True
        time.sleep(POLL)
    return False


def tree(folder: Path) -> Tree:
    """Read all files of a folder by their paths; TensorBoard's, which holds no result, is left out."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "tensorboard" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def remains(found: Tree) -> list[str]:
    return [name for name in found if REMAINS.fullmatch(Path(name).name)]


def results(found: Tree) -> Tree:
    """Leave out remains and files that hold no result; give the others in the form in which they are compared."""
    left = {*remains(found), *(name for name in found if Path(name).name in WITHOUT_RESULTS)}
    return {name: _comparable(name, content) for name, content in found.items() if name not in left}


def unequal(found: Tree, whole: Tree, folder: Path) -> list[str]:
    """Name the results of an undisturbed run that are other ones, or not there.

    Videos are compared by their frames, since their encoder does not give the same bytes twice.
    """
    found, whole = results(found), results(whole)
    return sorted(name for name in whole if name not in found or not _equal(name, found[name], whole[name], folder))


def _equal(name: str, one: bytes, other: bytes, folder: Path) -> bool:
    if name.endswith(".mp4"):
        return _in_fork(lambda: _same_video(one, other, folder), folder)
    return one == other


def _same_video(one: bytes, other: bytes, folder: Path) -> bool:
    """Tell whether two videos have frames of the same times, and pictures alike but for the loss of the encoder."""
    from srn.media.video_reading import open_video

    frames = []
    for content in (one, other):
        path = folder / "looked-at.mp4"
        path.write_bytes(content)
        frames.append([(frame.time_s, frame.image.astype(float)) for frame in open_video(path)])
    return len(frames[0]) == len(frames[1]) and all(
        here == there and abs(a - b).mean() < MOST_LOSS for (here, a), (there, b) in zip(*frames, strict=True)
    )


def _comparable(name: str, content: bytes) -> bytes:
    """Leave out the columns of a log that hold times; sort the header of weights, whose order is random."""
    if Path(name).suffix == ".safetensors":
        start = 8 + int.from_bytes(content[:8], "little")
        try:
            return json.dumps(json.loads(content[8:start]), sort_keys=True).encode() + content[start:]
        except ValueError:  # broken
            return content
    if Path(name).name != "log.csv":
        return content
    rows = [line.split(",") for line in content.decode().splitlines()]
    kept = [index for index, column in enumerate(rows[0]) if column not in TIMES] if rows else []
    return "\n".join(",".join(row[index] for index in kept if index < len(row)) for row in rows).encode()


def faults(found: Tree, before: Tree, whole: Tree, *, stopped: bool, folder: Path) -> list[str]:
    """Name what an interrupted run did wrong: files lost or broken, and remains where it could end in order.

    Args:
        found, before, whole: the files that it left, those of before, and those of an undisturbed run.
        stopped: whether it was killed, without a chance to end in order.
        folder: place for a file to look at.
    """
    lost = [f"lost: {name}" for name in before if name not in found and Path(name).name not in TABLES]
    changed = [f"changed: {name}" for name in before if Path(name).name in WITHOUT_RESULTS and
               name in found and found[name] != before[name]]  # fmt: skip
    left = [] if stopped else [f"remains: {name}" for name in remains(found)]
    broken = []
    for name, content in results(found).items():
        if content not in (results(before).get(name), results(whole).get(name)):
            reason = _broken(name, found[name], folder)
            broken += [f"broken: {name}: {reason}"] if reason else []
    return [*lost, *changed, *left, *broken, *_belied(results(found), results(before), results(whole))]


def _belied(found: Tree, *known: Tree) -> list[str]:
    """Name the tables that describe other files than those beside them."""
    lines = []
    for name in found:
        if Path(name).name in TABLES:
            beside = [other for other in found if other.startswith(f"{Path(name).parent.as_posix()}/")]
            if not any(all(found[other] == files.get(other) for other in beside) for files in known):
                lines.append(f"broken: {name}: not the table of the files beside it")
    return lines


def _broken(name: str, content: bytes, folder: Path) -> str | None:
    """Tell why a file that is neither the old nor the new one is broken; None where it is whole but of less content."""
    path = folder / f"looked-at{Path(name).suffix}"
    path.write_bytes(content)
    try:
        match path.suffix:
            case ".json":
                json.loads(content)
            case ".jsonl":
                *lines, torn = content.split(b"\n")
                if not JOURNAL.fullmatch(Path(name).name) and (torn or not lines):
                    return "the last line is torn"
                for line in lines:
                    json.loads(line)
            case ".csv":
                _whole_rows(content.decode())
            case ".safetensors":
                from srn.model.checkpoint import load_tensors

                load_tensors(path)  # with its digest
            case ".mp4":
                from srn.media.video_reading import open_video

                return None if _in_fork(lambda: bool(list(open_video(path))), folder) else "no video"
            case _:
                return "neither the old file nor the new one"
    except (SrnError, ValueError) as error:
        return str(error)
    return None


def _whole_rows(text: str) -> None:
    """Raise `ValueError` where a table of a killed run is torn before its last row, which a resumed run drops."""
    *rows, torn = text.split("\n")
    if len({row.count(",") for row in rows}) > 1 or torn.count(",") > rows[0].count(","):
        raise ValueError("torn rows")


def prepared(folder: Path, before: Tree) -> Path:
    """Make a folder with files."""
    folder.mkdir(parents=True)
    for name, content in before.items():
        write_atomically(folder / name, content)
    return folder
