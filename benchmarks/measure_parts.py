"""Measure networks that judge proposed parts of a picture, on faces and backgrounds that are held out.

    python benchmarks/measure_parts.py DATA NEW.onnx OLD.onnx

Small faces are placed in scenes as by `measure_small_faces.py`, eight in each. A face counts where a part is proposed
that holds it and in which CenterFace finds a face; it is lost at a threshold that none of these parts reaches. False
are the parts of the scenes of `train_parts.py` in which CenterFace finds no face. DATA is as for `train_parts.py`, and
holds `extra/300W_LP_AFW`, renderings of averted heads. The face finder's threshold was chosen by this.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from measure_small_faces import KINDS, cut_close, scene
from part_scenes import CHOOSING, Scenes, Sources, Teacher, annotated_face, examples, read_sources
from results import markdown_table, program
from srn.face.geometry import Box, FloatArray, ImageArray
from srn.inference.face_finder import CenterFaceFinder
from srn.inference.parts import SIDE, PartNetwork, part_around
from srn.inference.proposals import THRESHOLD as PROPOSED
from train_parts import MASKED
from train_proposals import Array

SIZES, HEIGHTS = ((640, 480), (1600, 1200)), (24, 28, 32, 40, 48)
MOST = 8  # faces of a scene; in a crowd, none are judged
AVERTED = {"averted": {}, "averted, masked": {"mask": True}}  # kinds of scenes, likewise
BORDER = 2  # least distance of a face from the border of its part, in pixels of the part
THRESHOLDS = (0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3)


class Proposed(NamedTuple):
    """A part (96, 96, 3), its centre in the picture and its scale."""

    part: Array
    center: FloatArray
    scale: float

    def holds(self, box: Box) -> bool:
        """Tell whether a box of the picture lies within the part."""
        beyond = (box.as_array() - np.tile(self.center, 2)) * self.scale * [-1, -1, 1, 1]
        return bool(beyond.max() < SIDE / 2 - BORDER)


class Recorder(PartNetwork):
    """Keeps what it is asked about, and passes over all of it."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.asked = list[Proposed]()

    def likely(self, image: ImageArray, centers: FloatArray, scale: float) -> npt.NDArray[np.bool_]:
        self.asked += [Proposed(part_around(image, center, scale), center, scale) for center in centers]
        return np.zeros(len(centers), bool)


def read_averted(data: Path) -> list[tuple[ImageArray, Box]]:
    """Read the renderings of averted heads, with their boxes from forehead to chin."""
    faces = []
    for path in sorted((data / "extra" / "300W_LP_AFW").glob("*.jpg")):
        image, (x0, y0, x1, y1) = annotated_face(path)
        faces.append(cut_close(image, Box(x0, max(0.0, y0), x1, y1)))
    return faces


def parts_of_small_faces(data: Path, sources: Sources, scenes: int) -> Iterator[tuple[str, Array]]:
    """Yield the kind of each small face, and the parts (K, 96, 96, 3) in which CenterFace finds one."""
    finder, teacher, recorder = CenterFaceFinder(turned=False, threads=1), Teacher(), Recorder()
    finder._proposals._parts = recorder
    plain, real = ([(image, Box(*box)) for image, box in faces] for faces in (sources.plain, sources.masks))
    real = [cut_close(*face) for face in real]
    beside = [(image, int(box[0] - 0.3 * (box[2] - box[0]))) for image, box in sources.portraits]
    backgrounds = [image[:, :width] for image, width in beside if width > 60]
    averted = read_averted(data)
    for kind, options in (KINDS | AVERTED).items():
        faces = averted if kind in AVERTED else real if kind == "in real masks" else plain
        for number, size in enumerate(SIZES):
            for height in HEIGHTS:
                for n in range(scenes):
                    rng = np.random.default_rng((number, height, n))
                    background = backgrounds[(7 * n + height + number) % len(backgrounds)]
                    image, boxes = scene(faces, background, size, height, rng, most=MOST, **options)
                    recorder.asked.clear()
                    finder.find(image)
                    for box in boxes:
                        parts = [one.part for one in recorder.asked if one.holds(box)]
                        if found := [part for part in parts if teacher.example(part, True).label]:
                            yield kind, np.stack(found)


def run(options: argparse.Namespace) -> None:
    """Print a table for each network."""
    sources = read_sources(options.data, CHOOSING)
    faces = list(parts_of_small_faces(options.data, sources, options.scenes))
    scenes = Scenes(sources, np.random.default_rng(options.seed), MASKED)
    false = np.stack([e.part for e in islice(examples(scenes, PROPOSED), options.parts) if e.weight and not e.label])
    kinds = [*KINDS, *AVERTED]
    for path in options.networks:
        network = PartNetwork(path, threads=1)
        best = np.array([network(parts).max() for _, parts in faces])
        chances = np.concatenate([network(false[k : k + 64]) for k in range(0, len(false), 64)])
        rows = []
        for limit in THRESHOLDS:
            lost = [sum(best[k] <= limit for k, (one, _) in enumerate(faces) if one == kind) for kind in kinds]
            rows.append([str(limit), *map(str, lost), f"{100 * np.mean(chances > limit):.1f}"])
        columns = [f"{kind}: lost of {sum(one == kind for one, _ in faces)}" for kind in kinds]
        columns = ["threshold", *columns, f"passed of {len(false)} false, %"]
        print(f"\n{path.name}\n\n{markdown_table(columns, rows)}", flush=True)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("networks", type=Path, nargs="+", metavar="FILE", help="ONNX files to compare")
    made.add_argument("--scenes", type=int, default=6, help="scenes of each kind, size and height (default: 6)")
    made.add_argument("--parts", type=int, default=8000, help="parts of other scenes, with faces and without")
    made.add_argument("--seed", type=int, default=77, help="seed of the latter (default: 77)")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
