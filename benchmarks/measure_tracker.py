"""Measure trackers on real and animated clips; write `docs/results/video.json` and `video.md`.

    python benchmarks/measure_tracker.py DATA [--picture FILE] [--tracker FILE] [--clips 24] [--frames 60]

DATA holds `CK_plus` and `youtube_faces` (real video), `300W` (test pictures, to be animated) and `occluders` (mask
templates that training never sees). Missing sets are left out and listed. FILE is the `.safetensors` of a run or an
exported `.onnx`. `--picture` gives the picture model, by default the shipped one. `--tracker` gives weights fine-tuned
by `srn train --clips`; without them their rows are left out.

Networks are exported first, with 1, 2 and 3 iterations, so that times are those of ONNX Runtime.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cascade_follower import CascadeFollower
from made_clips import animate_picture, framed, masked_clip, passed_clip
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.cli.options import progress
from srn.datasets.catalogue import open_faces
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.followers import Follower, FrameByFrame, TrackerFollower
from srn.evaluation.video import VideoEvaluation, evaluate_followers
from srn.face.geometry import CropSpec, ImageArray
from srn.face.scheme import IBUG_68
from srn.inference.runtime import OnnxLocalizer, shipped_weights
from srn.inference.tracks import TrackerConfig
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.model.checkpoint import adapted
from srn.model.export import export_onnx, load_weights
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.config import MotionConfig
from srn.synthesis.masked import DRAWN, MIXED
from srn.synthesis.wardrobe import MaskWardrobe

ANIMATED_FRAME = CropSpec(480, 150.0)
"""Frames of animated test faces, as of a camera across a table."""

TEST_MOTION = MotionConfig(flip=0, rotation_deg=0, occluders=0, masks=0, sunglasses=0, expression=0.01)
"""Head, camera and light of the animated clips; occluders are added afterwards."""

SEED = 300


@dataclass(frozen=True)
class PictureFrames:
    """Numbered picture files as the frames of a clip (a `FrameSource`)."""

    path: Path
    files: tuple[Path, ...]

    def read(self, number: int) -> ImageArray:
        """Read frame `number`, (H, W, 3) uint8 RGB."""
        return read_image(self.files[number - 1])


def youtube_clips(folder: Path) -> list[Clip]:
    """Read the three-frame tracks of the YouTube Faces extract by its `manifest.csv`."""
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
    """Animate test faces, each with its own random generator."""
    for index, sample in enumerate(samples):
        rng = np.random.default_rng([SEED, index])
        yield animate_picture(framed(sample, ANIMATED_FRAME), TEST_MOTION, rng, frames)


def evenly(items: list[Any], count: int | None) -> list[Any]:
    """Choose at most `count` items, spread evenly."""
    if count is None or count >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def conditions(clips: list[Clip], wardrobe: MaskWardrobe | None) -> dict[str, list[Clip]]:
    """Give the clips unchanged, with masks, and with occluders that pass in front of the face."""
    rngs = [[np.random.default_rng([SEED, kind, index]) for index in range(len(clips))] for kind in (1, 2)]
    kind = DRAWN if wardrobe is None else MIXED
    return {
        "clean": clips,
        "masked": [masked_clip(clip, kind, wardrobe, rng) for clip, rng in zip(clips, rngs[0], strict=True)],
        "moving occluders": [passed_clip(clip, rng) for clip, rng in zip(clips, rngs[1], strict=True)],
    }


class ExportedNetworks:
    """Networks exported with different numbers of iterations into a folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads

    def localizer(self, network: StructuralRelationNetwork, name: str, iterations: int) -> OnnxLocalizer:
        """Export the network with this number of iterations and open it in ONNX Runtime."""
        path = self.folder / f"{name}_{iterations}.onnx"
        if not path.exists():
            export_onnx(adapted(network, dataclasses.replace(network.config, iterations=iterations)), path)
        return OnnxLocalizer(path, threads=self.threads)


def followers(exported: ExportedNetworks, picture: Path, tracker: Path | None) -> list[Follower]:
    """Make the trackers to compare: the rows of the tables."""
    pictures = load_weights(picture)[0]
    whole = exported.localizer(pictures, "picture", pictures.config.iterations)
    once = FaceLandmarker(localizer=whole, accuracy="fast", threads=exported.threads)
    twice = FaceLandmarker(localizer=whole, accuracy="best", threads=exported.threads)
    rows: list[Follower] = [
        FrameByFrame(once, "picture model, frame by frame, true box"),
        FrameByFrame(twice, "picture model, frame by frame, face finder, accuracy best", "finder"),
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
        k: FaceLandmarker(
            localizer=exported.localizer(network, "tracker", k), accuracy="fast", threads=exported.threads
        )
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
        localizer=exported.localizer(network, "tracker", full), accuracy="best", threads=exported.threads
    )
    rows.append(TrackerFollower(carrying.tracker, "default tracker, tracker weights"))
    return rows


def clip_sets(
    data: Path, wardrobe: MaskWardrobe | None, count: int, frames: int, tracks: int | None
) -> tuple[dict[str, list[Clip]], list[str]]:
    """Read and make all clips by name of their set; also list the missing sets.

    Args:
        data: folder of the data sets.
        wardrobe: mask templates; drawn masks where None.
        count: animated clips, half of Common and half of Challenging faces.
        frames: frames of an animated clip.
        tracks: tracks of YouTube Faces; all where None.
    """
    sets: dict[str, list[Clip]] = {}
    missing = [name for name in ("CK_plus", "youtube_faces", "300W") if not (data / name).is_dir()]
    if "CK_plus" not in missing:
        sets |= {f"CK+, {k}": v for k, v in conditions(open_faces(data / "CK_plus").clips, wardrobe).items()}
    if "youtube_faces" not in missing:
        clips = evenly(youtube_clips(data / "youtube_faces"), tracks)
        sets |= {f"YouTube Faces, {k}": v for k, v in conditions(clips, wardrobe).items()}
    if "300W" not in missing:
        faces = open_faces(data / "300W", split="test").samples
        half = [[f for f in faces if f.subset in subsets] for subsets in (COMMON_SUBSETS, CHALLENGING_SUBSETS)]
        chosen = [face for part in half for face in evenly(part, max(count // 2, 1))]
        clips = list(animated_clips(chosen, frames))
        sets |= {f"Animated 300W test faces, {k}": v for k, v in conditions(clips, wardrobe).items()}
    return sets, missing


def weights_facts(path: Path) -> dict[str, str]:
    """Describe a weights file by its name, recurrence and training."""
    network, facts = load_weights(path)
    kept = {k: facts[k] for k in ("faces_seen", "training_faces", "pack", "seed") if k in facts}
    return {"file": path.name, "recurrence": str(network.config.recurrence)} | kept


NOTES = (
    "NME, jitter (mean acceleration of the error between frames) and flicker (jumps while the face holds still) are per"
    " cent of the inter-ocular distance; *missed*: frames without the face; *lost*: answers beside the face",
    "rows with a true box get the annotated box in every frame; a cascade that follows the previous shape gets it in"
    " the first frame and after it was lost; the default tracker finds its faces itself",
    "*mean shape*: every frame starts as a picture does, from the mean shape or, with preset `robust`, from the"
    " network's own first shape; rows of the tracker's weights carry the recurrent state between frames",
    "milliseconds are the whole cost of a frame without reading: the median over all frames",
    "no picture was trained on; masks are of templates that training does not use, moving occluders of kinds it draws",
)


COLUMNS = {
    "missed": "missed %", "lost": "lost %", "nme": "NME %", "nme_visible": "NME seen %", "nme_hidden": "NME hidden %",
    "jitter": "jitter %", "flicker": "flicker %", "ms": "ms a frame",
}  # fmt: skip


def followers_table(evaluations: Sequence[VideoEvaluation]) -> str:
    """Format a row per follower: errors in per cent of the normalizer, times in milliseconds per frame."""
    rows = []
    for evaluation in evaluations:
        summary = evaluation.summary()
        cells = []
        for column in COLUMNS:
            value = summary[column]
            if value is None:
                cells.append("-")
            elif column in ("missed", "lost"):
                cells.append(f"{value / summary['frames'] * 100:.1f}")
            else:
                cells.append(f"{value:.1f}" if column == "ms" else f"{value * 100:.2f}")
        rows.append([evaluation.method, *cells])
    return markdown_table(["method", *COLUMNS.values()], rows)


def page(content: dict[str, Any], sets: dict[str, list[Clip]], results: dict[str, list[VideoEvaluation]]) -> str:
    """Format the results, one table a set."""
    weights = [f"{role} weights: {content[f'{role}_weights']}" for role in ("picture", "tracker")]
    parts = []
    for name, evaluations in results.items():
        frames = sum(len(clip) for clip in sets[name])
        parts += [f"## {name}", f"{len(sets[name])} clips, {frames} frames.", followers_table(evaluations)]
    if content["not_there"]:
        parts.append(f"Not there: {', '.join(content['not_there'])}.")
    return markdown_page("Video: accuracy, steadiness and cost", content, (*weights, *NOTES), *parts)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__, threads=2)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--picture", type=Path, default=shipped_weights(), help="picture weights (default: shipped)")
    made.add_argument("--tracker", type=Path, help="weights fine-tuned on clips")
    made.add_argument("--clips", type=int, default=24, help="animated clips; half Common, half Challenging faces")
    made.add_argument("--frames", type=int, default=60, help="frames of an animated clip")
    made.add_argument("--tracks", type=int, help="three-frame tracks of YouTube Faces (default: all)")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    cv2.setNumThreads(options.threads)
    templates = options.data / "occluders" / "masks"
    wardrobe = MaskWardrobe.load(templates) if templates.is_dir() else None
    sets, missing = clip_sets(options.data, wardrobe, options.clips, options.frames, options.tracks)
    results: dict[str, list[VideoEvaluation]] = {}
    with tempfile.TemporaryDirectory() as folder, progress("clips") as begin:
        rows = followers(ExportedNetworks(Path(folder), options.threads), options.picture, options.tracker)
        for name, clips in sets.items():
            results[name] = evaluate_followers(rows, clips, progress=begin(name, len(clips)))
    content = {
        **provenance(options.threads),
        "picture_weights": weights_facts(options.picture),
        "tracker_weights": None if options.tracker is None else weights_facts(options.tracker),
        "masks": DRAWN if wardrobe is None else "templates, one a clip",
        "not_there": missing,
        "sets": {name: [e.to_dict() for e in evaluations] for name, evaluations in results.items()},
    }
    write_results(options.out, "video", content, page(content, sets, results))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
