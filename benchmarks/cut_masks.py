"""Cut real masks from photographs of their wearers, as templates for `srn mask --templates`.

    python benchmarks/cut_masks.py FOLDER --templates OUT [--most 300]
    srn mask 300W --out masked --kind mixed --templates OUT --seed 1

A face is taken where the landmarks are sure enough, the head is not turned, and the network calls the mouth hidden. The
landmarks say roughly where the mask lies; GrabCut (Rother et al. 2004) finds its border from the colours. What is much
smaller or larger than expected is left out: a hand, a chin strap, a scarf. A template's key points are where the
landmarks would have put them, and its table has the light of the wearer's skin, so that it is painted lighter or darker
on another face.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from results import argument_parser, program
from srn import Face, FaceLandmarker
from srn.errors import DataError, InputError
from srn.face.geometry import ImageArray
from srn.files import write_atomically
from srn.media.pictures import IMAGE_SUFFIXES, read_image
from srn.synthesis.masks import MaskTemplate, mask_anchors, outline, skin_light, turned_side
from srn.synthesis.wardrobe import KEY_POINT_NAMES

CONFIDENT, HIDDEN = 0.4, 0.8
"""Least mean confidence of the landmarks, and least probability that the mouth is hidden."""

SURE, AROUND = 0.12, 0.15
"""So far inside the expected outline lies surely the mask, so far outside surely not, in sizes of the face."""

SHARES = (0.7, 1.35)
"""Least and greatest area of the mask, over the expected one."""

LEAST = 60  # pixels of a face
FIELDS = ("file", *(f"{name}_{axis}" for name in KEY_POINT_NAMES for axis in "xy"), "skin")


def expected_region(face: Face, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return where a mask is expected, (H, W) of 0 and 1: between the upper key points and the lower outline."""
    edge = face.landmarks[list(outline(face.scheme))]
    first, middle, last = mask_anchors(face.landmarks, face.scheme)[:3]
    lower = edge[1:-1][(edge[1:-1, 1] > min(first[1], last[1]))]
    region = np.zeros(size, np.uint8)
    cv2.fillPoly(region, [np.round([middle, first, *lower, last]).astype(np.int32)], 1)
    return region


def border(image: ImageArray, region: npt.NDArray[np.uint8], size: float) -> npt.NDArray[np.uint8]:
    """Find the border of a mask near its expected region: opacity (H, W) uint8 with an edge of about two pixels."""

    def disc(share: float) -> npt.NDArray[np.uint8]:
        side = 2 * max(round(share * size), 1) + 1
        return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)

    # Outside the picture nothing is the mask: without a frame erosion would take the picture's edge for its inside.
    inside = cv2.erode(region, disc(SURE), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    outside = cv2.dilate(region, disc(AROUND)) == 0
    labels = np.where(region > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inside > 0], labels[outside] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, disc(0.02)).astype(np.uint8)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(found)
    if count > 1:
        found = (parts == 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(found * 255, (0, 0), max(0.008 * size, 0.7)), np.uint8)


def cut(image: ImageArray, face: Face, name: str) -> MaskTemplate | None:
    """Cut out the mask that a face wears; None where there is none, or none that can be told from what is around it."""
    mouth = list(face.scheme.part("mouth"))
    if face.visibility is None or face.confidence is None or face.box.size < LEAST:
        return None
    if face.confidence.mean() < CONFIDENT or (1 - face.visibility[mouth]).mean() < HIDDEN:
        return None
    if turned_side(face.landmarks, face.scheme) != "front":
        return None
    region = expected_region(face, image.shape[:2])
    if not region.any():
        return None
    opacity = border(image, region, face.box.size)
    if not SHARES[0] <= (opacity > 127).sum() / region.sum() <= SHARES[1]:
        return None
    rows, columns = (np.flatnonzero(opacity.any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = ((at[0], at[-1] + 1) for at in (rows, columns))
    points = mask_anchors(face.landmarks, face.scheme) - [left, top]
    picture = np.dstack([image, opacity])[top:bottom, left:right]
    return MaskTemplate(name, np.ascontiguousarray(picture), points, skin_light(image, face.landmarks, face.scheme))


def wearers(folder: Path) -> set[str]:
    """Return the names of the pictures, less their endings, from which the templates of a folder were cut.

    A template is named after its picture and a number behind it, by which pictures of several folders are told apart;
    older ones after the picture alone.
    """
    names = {path.stem for path in folder.glob("*.png")}
    return names | {name.rpartition("_")[0] for name in names if name.rpartition("_")[2].isdecimal()}


def run(options: argparse.Namespace) -> None:
    pictures = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not pictures:
        raise InputError.at(options.folder, "pictures", "none")
    landmarker = FaceLandmarker(accuracy="best", threads=options.threads)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(FIELDS)
    kept = 0
    for number, path in enumerate(pictures):
        if kept == options.most:
            break
        try:
            image = read_image(path)
        except DataError as error:
            print(error, file=sys.stderr)
            continue
        for face in landmarker.detect(image)[:1]:
            template = cut(image, face, f"{path.stem}_{number}")
            if template is not None:
                kept += 1
                file = f"{template.name}.png"
                _, code = cv2.imencode(".png", cv2.cvtColor(template.image, cv2.COLOR_RGBA2BGRA))
                write_atomically(options.templates / file, code.tobytes())
                points = (f"{value:.2f}" for value in template.key_points.flat)
                table.writerow([file, *points, f"{template.skin:.1f}"])
        if number % 100 == 99:
            print(f"{number + 1} of {len(pictures)} pictures, {kept} masks", flush=True)
    write_atomically(options.templates / "key_points.csv", text.getvalue())
    print(f"{kept} masks of {len(pictures)} pictures")


def parser() -> argparse.ArgumentParser:
    result = argument_parser(__doc__)
    result.add_argument("folder", type=Path, help="pictures of people in masks")
    result.add_argument("--templates", type=Path, required=True, help="folder of the templates")
    result.add_argument("--most", type=int, default=300, help="masks to cut (default: %(default)s)")
    return result


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
