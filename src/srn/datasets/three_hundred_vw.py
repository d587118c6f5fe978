"""300VW (Shen et al. 2015) and any videos in its layouts (`docs/datasets.md`). Frame 1 is a video's first."""

from __future__ import annotations

import os
import pickletools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from srn.datasets.clip import Clip, FrameFolder, FrameSource, VideoFile
from srn.datasets.manifest import mark_occluded_frames, read_visible
from srn.datasets.report import ReadingReport, check_landmarks, check_picture
from srn.datasets.sample import TRAIN
from srn.errors import DataError
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.media.arrays import read_npy_header
from srn.media.limits import read_limited
from srn.media.number_text import whole_number_in
from srn.media.pts import read_pts
from srn.settings import parsed_json

_VIDEOS = {
    TRAIN: """001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035 037 039
        041 043 044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205 223 225""",
    "category 1": """114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525
        537 538 540 541 546 547 548""",
    "category 2": "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553",
    "category 3": "410 411 516 517 526 528 529 530 531 533 557 558 559 562",
}
OFFICIAL_VIDEOS = {part: tuple(names.split()) for part, names in _VIDEOS.items()}
"""Videos of each part. The test categories are well-lit, unconstrained, and arbitrary conditions."""

CATEGORIES = tuple(OFFICIAL_VIDEOS)[1:]

EXCLUSION_FILES = ("excluded_frames.json", "broken_frames.npy")
_PART_OF = {video: part for part, videos in OFFICIAL_VIDEOS.items() for video in videos}
_NAMES_IN_ARRAYS = re.compile(r"numpy\.(ndarray|dtype|_?core\.multiarray\._reconstruct)")
_FRAME_FOLDERS = ("imgs", "extraction", "frames")


def read_excluded_frames(file: Path) -> dict[str, tuple[int, ...]]:
    """Read the frames that the protocol excludes, by video; frames count from 1.

    A `.json` file holds `{"410": [148, 150, ...], ...}`. `.npy`, in which the list is distributed, holds the same as a
    pickled dict in an array; it is read without unpickling. `DataError` is raised where the file is missing or holds
    something else.
    """
    with DataError.reading(file, "frame numbers by video: {'410': [148, 150], ...}"):
        content = parsed_json(read_limited(file)) if file.suffix.lower() == ".json" else _dict_in_array(file)
        return {str(video): tuple(sorted(whole_number_in(n) for n in numbers)) for video, numbers in content.items()}


def _dict_in_array(file: Path) -> Any:
    """Return the object in a `.npy` file of one element."""
    with file.open("rb") as stream:
        shape, _, kind = read_npy_header(stream)
        if shape != () or not kind.hasobject:
            raise ValueError(f"an array {shape} of {kind}")
        state = _plain_values(stream)
    return state[4][0] if isinstance(state, tuple) else state  # of an array: version, shape, type, order, elements


def _plain_values(stream: IO[bytes]) -> Any:
    """Return the dicts, lists, texts and numbers in a pickled array. No class is looked up and nothing is called."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def popped(start: int) -> list[Any]:
        items = stack[start:]
        del stack[start:]
        return items

    for code, argument, _ in pickletools.genops(stream):
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE" | "NONE" | "NEWTRUE" | "NEWFALSE":
                empty: dict[str, Any] = {"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": (), "NEWTRUE": True}
                stack.append(empty.get(code.name))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(popped(len(stack) - int(code.name[-1]))))
            case "TUPLE":
                stack.append(tuple(popped(marks.pop())))
            case "APPEND" | "APPENDS":
                items = popped(marks.pop() if code.name == "APPENDS" else -1)
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = popped(marks.pop() if code.name == "SETITEMS" else -2)
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if code.name == "MEMOIZE" else int(argument or 0)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "GLOBAL" | "STACK_GLOBAL":
                name = argument.replace(" ", ".") if argument else ".".join(popped(-2))
                if not _NAMES_IN_ARRAYS.fullmatch(name):
                    raise ValueError(f"{name} in it")
                stack.append(None)
            case "REDUCE":  # the call that makes an empty array or a type
                stack[-2:] = [None]
            case "BUILD":
                stack[-2:] = stack[-1:]
            case _ if isinstance(argument, int | str | bytes):
                stack.append(argument)
            case name:
                raise ValueError(f"{name} in it")
    return stack[-1]


def _open_frames(folder: Path) -> tuple[FrameSource, set[int]]:
    """Open the extracted frames of a video, or else its file, and return the numbers of the frames as well."""
    for name in _FRAME_FOLDERS:
        if (folder / name).is_dir():
            frames = FrameFolder(folder / name)
            return frames, set(frames.numbers)
    videos = sorted(path for path in folder.glob("vid.*") if path.is_file())
    if not videos:
        raise DataError.at(folder, f"vid.avi or a folder of frames ({', '.join(_FRAME_FOLDERS)})", "neither")
    video = VideoFile(videos[0])
    return video, set(range(1, video.length() + 1))


def _is_clip_folder(folder: Path) -> bool:
    frames = any((folder / name).is_dir() for name in _FRAME_FOLDERS) or any(folder.glob("vid.*"))
    return frames and (folder / "annot").is_dir()


def is_300vw(root: Path) -> bool:
    """Return whether a folder holds videos of this layout."""
    return any(path.is_dir() and _is_clip_folder(path) for path in root.iterdir())


def read_clip(
    folder: Path,
    report: ReadingReport,
    subset: str | None = None,
    excluded: Iterable[int] = (),
    scheme: LandmarkScheme = IBUG_68,
) -> Clip:
    """Read one video: a folder with `annot/*.pts` and `vid.avi` or extracted frames.

    Args:
        folder: the video's folder; its name is the clip's.
        report: receives the problems, frame by frame.
        subset: the clip's subset in its dataset; its name where None.
        excluded: annotated frames that the protocol excludes.
        scheme: numbering of the landmarks.

    Raises:
        DataError: there are no frames, or none of them is annotated.
    """
    source, there = _open_frames(folder)
    annotated: dict[int, Path] = {}
    for path in sorted((folder / "annot").glob("*.pts")):
        if path.stem.isdecimal():
            annotated[int(path.stem)] = path
        else:
            report.problems.append(f"{path}: its name is no frame number; left out")
    left_out = sorted(set(excluded) & annotated.keys())
    numbers, landmarks = [], []
    for number, path in sorted(annotated.items()):
        if number in left_out:
            continue
        if number not in there:
            report.problems.append(f"{path}: no frame {number} in {source.path}; left out")
            continue
        with report.catching(path):
            if isinstance(source, FrameFolder):
                check_picture(source.frame_path(number))
            landmarks.append(check_landmarks(read_pts(path, scheme.n_points), path, scheme))
            numbers.append(number)
    bare = len(there - annotated.keys())
    if bare:
        report.notes.append(f"{source.path}: frames without points: {bare} of {len(there)}")
    if left_out:
        report.notes.append(f"{folder / 'annot'}: frames excluded by the protocol: {len(left_out)}")
    if not numbers:
        raise DataError.at(folder / "annot", "a .pts file for a frame", "none")
    name, points = folder.name, np.stack(landmarks)
    return Clip(name, source, np.array(numbers), points, scheme, subset or name, tuple(left_out))


def read_300vw(
    root: str | os.PathLike[str], parts: Iterable[str] = tuple(OFFICIAL_VIDEOS), *, scheme: LandmarkScheme = IBUG_68
) -> tuple[list[Clip], ReadingReport]:
    """Read 300VW, or own videos in its layout, in the order of their names.

    A clip's subset is its part and its name, e.g. `category 1/114`. The report counts frames by part. Videos that
    `srn mask` or `srn hofs synthesize` wrote have occlusion flags.

    Args:
        root: folder of the videos' folders.
        parts: `train`, `category 1`, `category 2`, `category 3`. Videos that are not 300VW's are always read; their
            subset is their name.
        scheme: numbering of the landmarks.

    Raises:
        DataError: there is no video, an unknown part, or a manifest whose flags cannot be read.
    """
    base, report, wanted = Path(root), ReadingReport(), tuple(parts)
    for part in wanted:
        if part not in OFFICIAL_VIDEOS:
            raise DataError.at("300VW", f"one of {', '.join(OFFICIAL_VIDEOS)}", repr(part))
    folders = [path for path in sorted(base.iterdir()) if _is_clip_folder(path)] if base.is_dir() else []
    if not folders:
        raise DataError.at(base, "folders of videos: <id>/vid.avi or <id>/imgs, and <id>/annot", "none")
    lists = [base / name for name in EXCLUSION_FILES if (base / name).is_file()]
    skipped = read_excluded_frames(lists[0]) if lists else {}
    visible = read_visible(base)
    official = any(folder.name in _PART_OF for folder in folders)
    clips = []
    for folder in folders:
        own = _PART_OF.get(folder.name)
        if own is not None and own not in wanted:
            continue
        subset = folder.name if own is None else f"{own}/{folder.name}"
        with report.catching(folder):
            clip = read_clip(folder, report, subset, skipped.get(folder.name, ()), scheme)
            clips.append(mark_occluded_frames(clip, folder, visible))
            report.count(own or folder.name, len(clips[-1]))
    if official:
        for part in wanted:
            report.count(part, 0)
            found = sum(clip.name in OFFICIAL_VIDEOS[part] for clip in clips)
            report.compare(base, found, len(OFFICIAL_VIDEOS[part]), f"videos of {part}")
        if not lists:
            report.notes.append(f"{base}: no list of excluded frames ({' or '.join(EXCLUSION_FILES)}): all are taken")
    return clips, report
