"""Measure what tracks a face on real and animated clips, and write `docs/results/video.json` and `video.md`.

    python tools/measure_tracker.py ../shared/data --picture FILE --tracker FILE [--clips 24] [--frames 60]

DATA holds `CK_plus` and `youtube_faces` (real video), `300W` (test pictures, brought to life) and `occluders` (mask
templates that training never sees); a set that is not there is left out and said so. FILE: `.safetensors` of a run, or
an exported `.onnx`. `--picture`: weights of the picture model, the shipped ones where left out. `--tracker`: weights
fine-tuned by `srn train --clips`; without them the rows that need them are left out.

Every network is exported first, with 1, 2 and 3 iterations, so that the times are those of the light runtime.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from results import commit

from srn import FaceLandmarker
from srn.cli.options import progress_bar
from srn.datasets.catalogue import read_dataset
from srn.datasets.clip import Clip, Picture
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.protocol import read_test_faces
from srn.evaluation.video import (
    CascadeFollower,
    Follower,
    FrameByFrame,
    TrackerFollower,
    VideoEvaluation,
    evaluate_followers,
    markdown_table,
)
from srn.face.geometry import CropGeometry, CropSpec
from srn.face.scheme import IBUG_68
from srn.inference.runtime import OnnxLocalizer, shipped_weights
from srn.inference.tracker import TrackerConfig
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.model.checkpoint import adapted
from srn.model.export import export_onnx, load_weights
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.animate import MotionConfig, animate_picture
from srn.synthesis.covered_clips import masked_clip, passed_clip
from srn.synthesis.masked import DRAWN, MIXED, MaskWardrobe

OUT = Path(__file__).parents[1] / "docs" / "results"

ANIMATED_FRAME = CropSpec(480, 150.0)
"""Animated test faces are shown in frames of this size, as a camera across a table would."""

TEST_MOTION = MotionConfig(flip=0, rotation_deg=0, occluders=0, masks=0, sunglasses=0, expression=0.01)
"""Head, camera and light of the animated clips; what hides the face is put over them afterwards."""

SEED = 300


@dataclass(frozen=True)
class PictureFrames:
    """Numbered picture files as the frames of a clip (a `FrameSource`)."""

    path: Path
    files: tuple[Path, ...]

    def read(self, number: int) -> Picture:
        """Frame `number`, (H, W, 3) uint8 RGB."""
        return read_image(self.files[number - 1])


@dataclass(frozen=True)
class CutPicture:
    """A picture cut to a frame (a `PictureSource`)."""

    sample: Sample
    frame: CropGeometry

    def load(self) -> Picture:
        """The cut, (S, S, 3) uint8 RGB."""
        return self.frame.crop(self.sample.load())


def youtube_clips(folder: Path) -> list[Clip]:
    """The three-frame tracks of the YouTube Faces extract, as its `manifest.csv` groups them."""
    sequences: dict[str, list[tuple[int, str]]] = {}
    with (folder / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sequences.setdefault(row["sequence"], []).append((int(row["frame"]), row["stem"]))
    clips = []
    for name, frames in sorted(sequences.items()):
        stems = [stem for _, stem in sorted(frames)]
        landmarks = np.stack([read_pts(folder / f"{stem}.pts", IBUG_68.n_points) for stem in stems])
        source = PictureFrames(folder / name, tuple(folder / f"{stem}.jpg" for stem in stems))
        clips.append(Clip(name, source, np.arange(1, len(stems) + 1), landmarks, IBUG_68, "youtube"))
    return clips


def animated_clips(samples: list[Sample], frames: int) -> Iterator[Clip]:
    """Test faces brought to life, each by its own chance."""
    for index, sample in enumerate(samples):
        frame = CropGeometry.from_box(sample.box, ANIMATED_FRAME)
        cut = dataclasses.replace(
            sample, landmarks=frame.to_crop(sample.landmarks), source=CutPicture(sample, frame), occluded=None
        )
        yield animate_picture(cut, TEST_MOTION, np.random.default_rng([SEED, index]), frames)


def evenly(items: list[Any], count: int | None) -> list[Any]:
    """At most `count` items, spread evenly."""
    if count is None or count >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def conditions(clips: list[Clip], wardrobe: MaskWardrobe | None) -> dict[str, list[Clip]]:
    """The clips as they are, with masks, and with things passing in front of the face."""
    rngs = [[np.random.default_rng([SEED, kind, index]) for index in range(len(clips))] for kind in (1, 2)]
    kind = DRAWN if wardrobe is None else MIXED
    return {
        "clean": clips,
        "masked": [masked_clip(clip, kind, wardrobe, rng) for clip, rng in zip(clips, rngs[0], strict=True)],
        "moving occluders": [passed_clip(clip, rng) for clip, rng in zip(clips, rngs[1], strict=True)],
    }


class Workshop:
    """Networks exported with other numbers of iterations, in a folder of their own."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads

    def localizer(self, network: StructuralRelationNetwork, name: str, iterations: int) -> OnnxLocalizer:
        """The network with that many iterations, in the light runtime."""
        path = self.folder / f"{name}_{iterations}.onnx"
        if not path.exists():
            export_onnx(adapted(network, dataclasses.replace(network.config, iterations=iterations)), path)
        return OnnxLocalizer(path, threads=self.threads)


def followers(workshop: Workshop, picture: Path, tracker: Path | None) -> list[Follower]:
    """The rows of the tables."""
    pictures = load_weights(picture)[0]
    whole = workshop.localizer(pictures, "picture", pictures.config.iterations)
    once = FaceLandmarker(localizer=whole, passes=1, threads=workshop.threads)
    twice = FaceLandmarker(localizer=whole, passes=2, threads=workshop.threads)
    rows: list[Follower] = [
        FrameByFrame(once, "picture model, frame by frame, true box"),
        FrameByFrame(twice, "picture model, frame by frame, face finder, two passes", "finder"),
        CascadeFollower(
            once, "picture model, crop and start from the previous shape", "previous", "previous", carry_state=False
        ),
        TrackerFollower(twice.tracker, "default tracker, picture weights"),
        TrackerFollower(
            lambda: twice.tracker(config=TrackerConfig(flow=False)),
            "default tracker, picture weights, not carried by the pixels",
        ),
        TrackerFollower(
            lambda: twice.tracker(config=TrackerConfig(mirror_every=0)),
            "default tracker, picture weights, not looked at in the mirror",
        ),
        TrackerFollower(lambda: twice.tracker(smooth=False), "default tracker, picture weights, not smoothed"),
    ]  # fmt: skip
    if tracker is None:
        return rows
    network = load_weights(tracker)[0]
    full = network.config.iterations
    by_iterations = {
        k: FaceLandmarker(localizer=workshop.localizer(network, "tracker", k), passes=1, threads=workshop.threads)
        for k in range(1, full + 1)
    }
    rows.append(
        CascadeFollower(
            by_iterations[full], f"paper's tracker: mean shape, {full} iterations, true box", "mean", "gt-box"
        )
    )
    for start in ("mean", "previous"):
        for k, landmarker in by_iterations.items():
            plural = "s" if k > 1 else ""
            name = f"tracker: {start} shape, {k} iteration{plural}, crop from the previous shape"
            rows.append(CascadeFollower(landmarker, name, "mean" if start == "mean" else "previous", "previous"))
    carrying = FaceLandmarker(
        localizer=workshop.localizer(network, "tracker", full), passes=2, threads=workshop.threads
    )
    rows.append(TrackerFollower(carrying.tracker, "default tracker, tracker weights"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--picture", type=Path, default=shipped_weights())
    parser.add_argument("--tracker", type=Path)
    parser.add_argument("--clips", type=int, default=24, help="animated clips; half Common, half Challenging faces")
    parser.add_argument("--frames", type=int, default=60, help="frames of an animated clip")
    parser.add_argument("--tracks", type=int, help="three-frame tracks of YouTube Faces; all where left out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    data: Path = arguments.data
    cv2.setNumThreads(arguments.threads)
    templates = data / "occluders" / "masks"
    wardrobe = MaskWardrobe.load(templates) if templates.is_dir() else None
    sets: dict[str, list[Clip]] = {}
    missing = [name for name in ("CK_plus", "youtube_faces", "300W") if not (data / name).is_dir()]
    if "CK_plus" not in missing:
        sets |= {f"CK+, {k}": v for k, v in conditions(read_dataset(data / "CK_plus").clips, wardrobe).items()}
    if "youtube_faces" not in missing:
        clips = evenly(youtube_clips(data / "youtube_faces"), arguments.tracks)
        sets |= {f"YouTube Faces, {k}": v for k, v in conditions(clips, wardrobe).items()}
    if "300W" not in missing:
        faces, _ = read_test_faces([data / "300W"], IBUG_68)
        half = [[f for f in faces if f.subset in subsets] for subsets in (COMMON_SUBSETS, CHALLENGING_SUBSETS)]
        chosen = [face for part in half for face in evenly(part, max(arguments.clips // 2, 1))]
        clips = list(animated_clips(chosen, arguments.frames))
        sets |= {f"300W test faces brought to life, {k}": v for k, v in conditions(clips, wardrobe).items()}
    results: dict[str, list[VideoEvaluation]] = {}
    with tempfile.TemporaryDirectory() as folder, progress_bar("clips") as progress:
        rows = followers(Workshop(Path(folder), arguments.threads), arguments.picture, arguments.tracker)
        for name, clips in sets.items():
            task = progress.add_task(name, total=len(clips))
            results[name] = evaluate_followers(rows, clips, progress=lambda task=task: progress.advance(task))  # type: ignore[misc]
    facts = {
        "command": f"python tools/measure_tracker.py DATA {_flags(sys.argv[2:])}".rstrip(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{arguments.threads} threads, {platform.machine()}, no GPU",
        "commit": commit(),
        "picture_weights": _provenance(arguments.picture),
        "tracker_weights": None if arguments.tracker is None else _provenance(arguments.tracker),
        "masks": DRAWN if wardrobe is None else "templates, one a clip",
        "not_there": missing,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    content = {**facts, "sets": {name: [e.to_dict() for e in evaluations] for name, evaluations in results.items()}}
    (arguments.out / "video.json").write_text(json.dumps(content, indent=1) + "\n")
    text = _report(facts, sets, results)
    (arguments.out / "video.md").write_text(text)
    print(text)


def _flags(arguments: list[str]) -> str:
    """The options as they were given, files by their names only."""
    return " ".join(Path(a).name if "/" in a else a for a in arguments)


def _provenance(path: Path) -> dict[str, str]:
    network, facts = load_weights(path)
    kept = {k: facts[k] for k in ("faces_seen", "training_faces", "pack", "seed") if k in facts}
    return {"file": path.name, "recurrence": str(network.config.recurrence)} | kept


def _report(facts: dict[str, Any], sets: dict[str, list[Clip]], results: dict[str, list[VideoEvaluation]]) -> str:
    lines = [
        "# Video: exactness, shaking and cost",
        "",
        f"`{facts['command']}`, {facts['date']}, {facts['hardware']}, commit {facts['commit']}.",
        f"Picture weights: {facts['picture_weights']}. Tracker weights: {facts['tracker_weights']}.",
        "",
        "NME, jitter (mean acceleration of the error from frame to frame) and flicker (jumps while the face holds",
        "still) are per cent of the inter-ocular distance; *missed*: frames without the face; *lost*: answers that are",
        "not on it. Rows with a true box get the annotated box in every frame; a cascade that follows the previous",
        "shape gets it in the first frame, and again after it was lost; the default tracker finds its faces itself.",
        "*Mean shape*: every frame starts as a picture does: from the mean shape or, with preset `robust`, from the",
        "network's own first shape. The rows of the tracker's weights carry the recurrent state from frame to frame.",
        "Milliseconds are a frame's whole cost, reading apart: the median over all frames. None of these pictures was",
        "trained on; masks are of templates that training does not see, moving occluders of the kinds that it draws.",
    ]  # fmt: skip
    for name, evaluations in results.items():
        frames = sum(len(clip) for clip in sets[name])
        lines += ["", f"## {name}", "", f"{len(sets[name])} clips, {frames} frames.", "", markdown_table(evaluations)]
    if facts["not_there"]:
        lines += ["", f"Not there: {', '.join(facts['not_there'])}."]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
