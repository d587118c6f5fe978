"""Make a pack for self-training from a pack of annotated faces and packs of faces that networks labelled.

    python benchmarks/pack_self_training.py PACK --soften MASKED ... --outline 300W_LP_AFW --add LFW.npz UTKFACE.npz:2
        --file SELF.npz [--weights robust robust-hg robust-noise]

PACK holds 300W, its masked copies and renderings of it (`srn data pack 300W MASKED ... 300W_LP_AFW`), and the packs to
add what `label_faces.py` labelled; `:2` takes every second face.

- The photographs of PACK's validation faces (`split_validation`, 96 faces) are left out, so that networks trained on
  the result can be validated on them.
- `--soften`: the labels of these folders, masked copies, become the mean of their own and of the networks' on the
  unmasked photograph. An annotation has an error of its own, above all along the outline; the networks' mean has less.
- `--outline`: renderings of turned heads follow a model in three dimensions. Where a head is turned, the outline of its
  averted side is taken from the networks, which have learned 300W's rule: on the visible edge of the face. Renderings
  on which the networks' inner points lie further off than 5 % of the face are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from results import argument_parser, program
from srn import FaceLandmarker
from srn.datasets.pack import FacePack, joined_packs
from srn.datasets.three_hundred_w import photograph_of
from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.training.stream import split_validation

BATCH = 64
VALIDATION = 96
TURNED = 0.65
"""Of the distances from the tip of the nose to the two upper ends of the outline, the smaller over the larger."""
MOST = 0.05
"""Distance of the networks' inner points from a rendering's, in sizes of the face, up to which it is used."""
OUTLINE, NOSE_TIP = 17, 30
SIDES = (np.arange(0, 8), np.arange(9, 17))


def mean_shapes(landmarkers: Sequence[FaceLandmarker], pack: FacePack) -> npt.NDArray[np.float64]:
    """Localize every face of a pack in the box of its landmarks by all networks: the means (F, N, 2), pack pixels."""
    shapes = []
    for start in range(0, len(pack), BATCH):
        rows = range(start, min(start + BATCH, len(pack)))
        images, boxes = [pack.image(row) for row in rows], [[Box.around(pack.landmarks[row])] for row in rows]
        found = [landmarker.detect_batch(images, boxes=boxes) for landmarker in landmarkers]
        shapes.append(np.mean([[faces[0].landmarks for faces in one] for one in found], axis=0))
    return np.concatenate(shapes)


def softened(pack: FacePack, folders: Sequence[str], landmarkers: Sequence[FaceLandmarker]) -> FacePack:
    """Return the pack with the labels of masked copies halfway to the networks' on the unmasked photographs."""
    name = [str(name) for name in pack.names]
    masked = [row for row, one in enumerate(name) if one.partition("/")[0] in folders]
    plain = {one.partition("/")[2]: row for row, one in enumerate(name) if one.partition("/")[0] == "300W"}
    rows = [plain.get(name[row].partition("/")[2]) for row in masked]
    if not masked or None in rows:
        raise InputError.at("--soften", "folders of PACK with masked copies of its 300W", " ".join(folders))
    used = sorted({row for row in rows if row is not None})
    seen = dict(zip(used, mean_shapes(landmarkers, pack.subset(used)), strict=True))
    landmarks = pack.landmarks.copy()
    landmarks[masked] = (landmarks[masked] + np.stack([seen[row] for row in rows if row is not None])) / 2
    return dataclasses.replace(pack, landmarks=landmarks)


def with_visible_outline(pack: FacePack, landmarkers: Sequence[FaceLandmarker]) -> FacePack:
    """Return the usable renderings of a pack, the averted side's outline as the networks see it."""
    found = mean_shapes(landmarkers, pack)
    kept, landmarks = [], pack.landmarks.copy()
    for row, shape in enumerate(pack.landmarks):
        inner = np.linalg.norm(found[row] - shape, axis=-1)[OUTLINE:].mean()
        if inner > MOST * Box.around(shape).size:
            continue
        kept.append(row)
        ends = [float(np.linalg.norm(shape[NOSE_TIP] - shape[end].mean(axis=0))) for end in ([0, 1, 2], [14, 15, 16])]
        if min(ends) < TURNED * max(ends):
            side = SIDES[int(np.argmin(ends))]
            landmarks[row, side] = found[row, side]
    return dataclasses.replace(pack, landmarks=landmarks).subset(kept)


def parser() -> argparse.ArgumentParser:
    result = argument_parser(__doc__)
    result.add_argument("pack", type=Path, help="annotated faces, masked copies and renderings")
    result.add_argument("--soften", nargs="*", default=[], metavar="FOLDER", help="masked copies in PACK, by folder")
    result.add_argument("--outline", nargs="*", default=[], metavar="FOLDER", help="renderings in PACK, by folder")
    result.add_argument("--add", nargs="*", default=[], metavar="PACK[:STEP]", help="labelled faces")
    result.add_argument("--weights", nargs="+", default=["robust", "robust-hg", "robust-noise"])
    result.add_argument("--file", type=Path, required=True, help="the new pack")
    return result


def run(options: argparse.Namespace) -> None:
    pack = FacePack.load(options.pack)
    if pack.scheme != IBUG_68:
        raise InputError.at(options.pack, f"points of {IBUG_68.name}", pack.scheme.name)
    landmarkers = [FaceLandmarker(name, flip_average=True, threads=options.threads) for name in options.weights]
    learned = {str(name) for name in split_validation(pack, VALIDATION)[0].names}
    aside = {photograph_of(str(name)) for name in pack.names if str(name) not in learned}
    folder = np.array([str(name).partition("/")[0] for name in pack.names])
    left = np.array([str(name) in learned for name in pack.names])
    for name in {*options.soften, *options.outline} - set(folder.tolist()):
        raise InputError.at(options.pack, f"faces of the folder {name}", ", ".join(sorted(set(folder.tolist()))))
    turned = np.isin(folder, options.outline)
    parts = [pack.subset(np.flatnonzero(left & ~turned))]
    if options.soften:
        parts[0] = softened(parts[0], options.soften, landmarkers)
    if turned.any():
        parts.append(with_visible_outline(pack.subset(np.flatnonzero(left & turned)), landmarkers))
    for more in options.add:
        file, _, step = more.rpartition(":") if more.rpartition(":")[2].isdecimal() else (more, "", "1")
        if int(step) < 1:
            raise InputError.at(f"--add {more}", "a step of at least 1", step)
        added = FacePack.load(file)
        rows = [row for row, name in enumerate(added.names) if photograph_of(str(name)) not in aside]
        parts.append(added.subset(rows[:: int(step)]))
    whole = joined_packs(parts)
    whole.save(options.file)
    print(
        f"{len(whole)} faces in {options.file}: {' + '.join(str(len(part)) for part in parts)}, digest {whole.digest()}"
    )


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
