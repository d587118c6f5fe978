"""Files are written beside their place and renamed, so that no reader sees half of one; outputs are checked before."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import secrets
import signal
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from srn.errors import InputError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[Any]) -> None:
        # A record lock belongs to this process alone: workers that outlive it for a moment do not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


LOCK_FILE = ".lock"  # in a folder whose files a run of this program writes, or wrote
STANDARD_OUTPUT = Path("-")  # as the path of a file
_STANDARD_OUTPUTS = {str(STANDARD_OUTPUT), "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}


class FileKind(NamedTuple):
    """A sort of file that is written: its name in messages, and the pattern of its first bytes, or of its last."""

    words: str
    head: re.Pattern[bytes]
    is_text: bool = True  # and may go to the standard output
    is_named: bool = True  # the user chose the name, so --force may replace another kind
    end: bytes = b""  # by which the program knows its own files from the user's of the same kind


def _kind(words: str, head: bytes, *, is_text: bool = True, is_named: bool = True, end: bytes = b"") -> FileKind:
    return FileKind(words, re.compile(head, re.DOTALL), is_text, is_named, end)


FACES_JSON = _kind("JSON of faces", rb'\{"images":\[(\{"path":|\{"id":1,"file_name":|\])|\{"path":')
FACES_LINES = _kind("JSON lines of frames", rb'\{"frame":')  # without spaces, which other programs write
FACES_CSV = _kind("a table of landmarks", rb"path,face,point")
FACES_PARQUET = _kind("a Parquet table", rb"PAR1", is_text=False)
POINTS_END = "} \n"  # the blank behind the brace, which no reader minds, tells found points from annotated ones
POINTS = _kind("a .pts file", rb"version", end=POINTS_END.encode())
NUMBERS_JSON = _kind("JSON of numbers", rb'\{\n "(n|name|evaluations|methods|weights|normalizer|command|versions)":')
_SVG = (
    rb'<\?xml version="1.0" encoding="UTF-8"\?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="[^"]*"><style>|'
    rb'<\?xml version="1.0" encoding="utf-8" standalone="no"\?>\n<!DOCTYPE svg PUBLIC [^\n]*\n  "'  # Matplotlib's
)
CHART = _kind("a chart", _SVG + rb"|%PDF-1.4\n%\xac\xdc|\x89PNG.{0,90}Matplotlib")
CHART_FORMATS = (".png", ".svg", ".pdf")  # of which CHART knows the program's own
BOX_CURVE = _kind("a chart or JSON of numbers", CHART.head.pattern + b"|" + NUMBERS_JSON.head.pattern)
SIGN = b"\nwritten by srn."  # behind the end of a picture or a video, where readers look no more
OVERLAY = _kind("a JPEG picture", rb"\xff\xd8\xff", is_text=False, end=SIGN)
COVERED = _kind("a PNG picture", rb"\x89PNG", is_text=False, end=SIGN)
SHEET = _kind("a contact sheet", rb"\x89PNG.{0,60}srn contact sheet", is_text=False)
VIDEO = _kind("a video", rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", is_text=False, end=SIGN)
NETWORK = _kind("an ONNX file", rb"\x08[\x01-\x20]\x12\x03srn", is_text=False)
WEIGHTS = _kind("weights of srn", rb'.{8}\{"__metadata__":\{.*"format":"srn weights ', is_text=False)
PACK = _kind("a pack", rb"PK\x03\x04.{26}format\.npy", is_text=False)
REPORT = _kind("a report page of srn", rb"<!doctype html>.{0,220}<title>Landmarks on ", is_named=False)
TABLES = _kind("the tables of srn reproduce", rb"# The paper's tables, measured again", is_named=False)
HEAD_BYTES = 16_384  # in which a kind shows
# JPEG, PNG, GIF, BMP, TIFF, WebP, AVI, JPEG 2000 and XL, PNM, PSD, EXR; MP4, Matroska, MPEG and TS, FLV, WMV, Ogg, MXF.
_PICTURE_OR_VIDEO = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|RIFF|.{4}(jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a"
    rb"|P[1-7]\s|8BPS|v/1\x01|.{4}(ftyp|moov|mdat|wide)|\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]|(.{4})?G.{187}(.{4})?G"
    rb"|FLV\x01|0&\xb2u|OggS|\x06\x0e\+4",
    re.DOTALL,
)


class Output(NamedTuple):
    """A path that a command will write: the option's name, and its kind. A folder has none.

    `apart` says that a folder may not hold an input, because the names of the files in it come from the input.
    """

    name: str
    path: Path
    kind: FileKind | None = None
    apart: bool = False


def check_outputs(outputs: Iterable[Output], inputs: Iterable[Path], *, force: bool = False) -> None:
    """Check, before any work, that every output can be written and destroys neither an input nor another kind of file.

    Args:
        inputs: files and folders that are read.
        force: whether a file of another kind may be written over, unless it lies in a folder of `inputs`.

    Raises:
        InputError: an output is an input, a file of another kind, the same as another output, or cannot be written.
    """
    read = [path for path in inputs if os.path.exists(path)]  # unlike Path's, it takes any name
    files = {_identity(path) for path in read if path.is_file()}
    folders = [path.resolve() for path in read if path.is_dir()]
    taken: dict[Path, str] = {}
    within: dict[Path, str] = {}  # the folders that outputs need
    for output in outputs:
        if output.kind is not None:
            _check_file(output, output.kind, files, folders, force=force)
        else:
            _check_folder(output, read)
        place = output.path.resolve()
        if output.kind is not None and taken.setdefault(place, output.name) != output.name:
            raise InputError.at(output.name, f"another file than that of {taken[place]}", str(output.path))
        within.setdefault(place if output.kind is None else place.parent, output.name)
    for folder, name in within.items():
        for place in taken.keys() & {folder, *folder.parents}:
            raise InputError.at(name, "a folder that can be made", f"{place}, the file of {taken[place]}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _check_file(
    output: Output, kind: FileKind, files: set[tuple[int, int]], folders: Sequence[Path], *, force: bool
) -> None:
    name, path = output.name, output.path
    if is_standard_output(path):
        if not kind.is_text:
            raise InputError.at(name, f"a file for {kind.words}", "the standard output")
        return
    if os.path.isdir(path):
        raise InputError.at(name, f"a file for {kind.words}", f"{path}, a folder")
    try:
        os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a file in the place of a folder, links in a circle
        raise InputError.at(name, "a file that can be written", f"{path}: {error.strerror}") from error
    if os.path.isfile(path):
        if _identity(path) in files:
            raise InputError.at(name, "another file than the inputs", str(path))
        _check_kind(output, kind, folders, force=force)
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise InputError.at(name, "a file that can be written", f"{path}: no permission")
    if os.path.isfile(path) or not os.path.exists(path):
        _check_place(output, path.resolve().parent)


def _check_kind(output: Output, kind: FileKind, folders: Sequence[Path], *, force: bool) -> None:
    with contextlib.suppress(OSError), output.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        is_kind = kind.head.match(head) is not None
        if not head or (is_kind and _ends_with(file, kind.end)):
            return
        found = f"{kind.words} that srn did not write" if is_kind else "a file of another kind"
        found += " (--force replaces it)" * kind.is_named
        if any(output.path.resolve().is_relative_to(folder) for folder in folders):
            found = "a file of another kind in a folder that is read"
        elif (
            not is_kind
            and _PICTURE_OR_VIDEO.match(head)
            and not (kind in (CHART, BOX_CURVE) and head[:4] == b"\x89PNG")
        ):
            found = "a picture or a video"
        elif force and kind.is_named:
            return
        raise InputError.at(output.name, f"a new file, or {kind.words}", f"{output.path}, {found}")


def _ends_with(file: IO[bytes], end: bytes) -> bool:
    if not end:
        return True
    file.seek(max(file.seek(0, os.SEEK_END) - len(end), 0))
    return file.read() == end


def _check_folder(output: Output, read: Sequence[Path]) -> None:
    _check_place(output, output.path)
    inside = output.path.resolve()
    for path in read if output.apart else ():
        if path.resolve().is_relative_to(inside):
            raise InputError.at(output.name, "a folder without any input", f"{output.path}, which holds {path}")


def _check_place(output: Output, folder: Path) -> None:
    """Check that a folder can be written, or can be made in the nearest one that exists."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InputError.at(output.name, "a folder that can be made", f"{place}, which is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError.at(output.name, "a folder that can be written", f"{place}: no permission")


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return a path without links, as `Path.resolve` does, which fails where links lead in a circle."""
    return Path(os.path.realpath(path))


def is_standard_output(path: str | os.PathLike[str]) -> bool:
    """Whether a path stands for the standard output: `-`, `/dev/stdout`."""
    return os.fspath(path) in _STANDARD_OUTPUTS


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, durable: bool = False) -> None:
    """Write a whole file: it is there complete or not at all. Missing folders are made.

    A previous file's mode is kept, and a symbolic link is followed. Devices and pipes are written into.

    Args:
        path: the file; `-` is the standard output.
        content: its bytes, or its text (stored as UTF-8, line ends unchanged; names of files keep their bytes).
        durable: flush the content to the disk before the rename, so that the file also survives a power failure.

    Raises:
        InputError: the file cannot be written there; a previous file of that name is unchanged.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    with writing_to(path):
        if is_standard_output(path):
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return
        made: tuple[Path, Path] | None = None
        try:
            with interruptions_held():  # or the file could be there, and nobody know of it
                made = beside, target = _made_beside(path)
            with beside.open("wb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            _move(beside, target)
        finally:
            if made is not None:
                _remove(*made)


@contextlib.contextmanager
def growing_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path of the same suffix beside `path`; rename it to `path` on exit, even after an exception.

    For output that takes long and is useful even when it was interrupted. The block has to close the file. An empty
    file is removed instead of renamed. A device or a pipe is given itself.

    Raises:
        InputError: no file can be made there.
    """
    made: tuple[Path, Path] | None = None
    try:
        with writing_to(path), interruptions_held():
            made = beside, target = _made_beside(path)
        yield beside
    finally:
        if made is not None:
            with writing_to(path), interruptions_held():
                if beside != target and beside.exists() and beside.stat().st_size:
                    _move(beside, target)
                _remove(beside, target)


@contextlib.contextmanager
def writing_to(path: str | os.PathLike[str], what: str = "a file") -> Iterator[None]:
    """Turn an `OSError` of the block into an `InputError` that names the output and the reason.

    A standard output that is closed stays what it is: its reader, such as `head`, has had enough.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and (path == "standard output" or is_standard_output(path)):
            raise
        raise InputError.at(
            path, f"{what} that can be written", error.strerror or str(error) or type(error).__name__
        ) from error


def _made_beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Make an empty hidden file of the same suffix and mode beside a file; return it and the file, without links.

    Two processes or threads never share it. A device or a pipe is returned twice.
    """
    given = Path(path)
    target = given.resolve()
    mode = stat.S_IMODE(given.stat().st_mode) if given.is_file() else None
    if (mode is None and given.exists()) or given.is_relative_to("/dev/fd"):
        return given, given
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem[:30]}.{secrets.token_hex(4)}.partial{target.suffix[:16]}")
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode))
    if mode is not None:
        beside.chmod(mode)  # whatever the umask
    return beside, target


def _move(beside: Path, target: Path) -> None:
    if beside != target:
        beside.replace(target)


def _remove(beside: Path, target: Path) -> None:
    if beside != target:
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def interruptions_held() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block, in which things change that belong together."""
    waiting: list[int] = []
    try:
        with contextlib.ExitStack() as handlers:  # it restores the second one also where the first interrupts it
            if threading.current_thread() is threading.main_thread():  # no signal interrupts another
                for number in (signal.SIGINT, signal.SIGTERM):
                    if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):  # as under nohup
                        handlers.callback(signal.signal, number, handler)
                        signal.signal(number, lambda number, _: waiting.append(number))
            yield
    finally:
        if waiting:
            signal.raise_signal(waiting[0])


def lock(file: IO[Any], where: str | os.PathLike[str], what: str) -> None:
    """Hold an open file for this process until it is closed; the operating system releases it when the process ends.

    Raises:
        InputError: another process holds it; `where` and `what` say which run it belongs to.
    """
    try:
        _lock(file)
    except OSError as error:
        raise InputError.at(where, f"{what} that no other process holds", "one at work there") from error


def check_own(folder: Path, what: str, written: Iterable[str]) -> None:
    """Raise `InputError` where one of the files that will be written is there, and no lock: it is another's."""
    if not (folder / LOCK_FILE).exists():
        for name in written:
            if os.path.lexists(folder / name):
                raise InputError.at(folder, f"an empty or new folder, or that of {what}", f"another {name}")


@contextlib.contextmanager
def held_folder(folder: Path, what: str, written: Iterable[str], *, stays: bool = True) -> Iterator[None]:
    """Hold a folder, which is made if need be, for the files that this process writes there.

    Its lock file stays unless the block ends well and `stays` is false: the files then tell themselves whose they are.

    Raises:
        InputError: another process holds it, it cannot be written, or a file there is another's (`check_own`).
    """
    check_own(folder, what, written)
    with writing_to(folder, "a folder"):
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / LOCK_FILE).open("a")
    with held:
        lock(held, folder, what)
        yield
        if not stays:
            (folder / LOCK_FILE).unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write a value as indented JSON with a line end, atomically. NaN and infinity, which JSON lacks, become null."""
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(value), parse_constant=lambda name: None), indent=1)
    write_atomically(path, f"{text}\n")


def opened_text(path: str | os.PathLike[str]) -> io.StringIO:
    """Read a file of UTF-8 text as it was written: line ends, and bytes of names that are not UTF-8, are unchanged."""
    return io.StringIO(Path(path).read_bytes().decode("utf-8-sig", "surrogateescape"), newline="")


def csv_text(rows: Iterable[Iterable[object]], *, line_end: str = "\n") -> str:
    """Return rows, the header first, as the text of a CSV table."""
    lines = _Lines()
    csv.writer(lines).writerows(rows)  # with its own line ends it quotes all that stand in names
    return "".join(line.removesuffix("\r\n") + line_end for line in lines)


class _Lines(list[str]):
    write = list[str].append
