"""Draw the pictures of the concepts in which a real face is seen: cascade, occlusion, views, jitter, HOFS.

    python docs/drawings/faces.py

Writes into `docs/images/concepts`. The faces are the two public-domain portraits of the tests; every point is what the
shipped weights say, drawn anew when they change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cbook import get_sample_data
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from srn import FaceLandmarker, LandmarkScheme, read_image
from srn.face.geometry import CropGeometry, CropSpec, ImageArray
from srn.face.localizer import confidence_from_error
from srn.inference.drawing import COMPONENT_COLORS, draw_face, draw_faces
from srn.synthesis.occluders import drawn_mask, noise_patch, sunglasses

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "images" / "concepts"
Shape = npt.NDArray[np.float64]


def portrait(name: str) -> ImageArray:
    """One of the two portraits, (H, W, 3) uint8 RGB."""
    if name == "hopper":
        return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return read_image(ROOT / "tests" / "data" / "astronaut.jpg")


def enlarged(image: ImageArray, shape: Shape, factor: int = 3) -> tuple[ImageArray, Shape]:
    """Enlarge a crop and its points, whose pixel centres are whole numbers."""
    larger = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return larger.astype(np.uint8), (shape + 0.5) * factor - 0.5


def show(axes: Axes, image: ImageArray, title: str) -> None:
    axes.imshow(image)
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def save(figure: Figure, name: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"metadata": {"Date": None}} if name.endswith("svg") else {"pil_kwargs": {"quality": 85}}
    figure.savefig(OUT / name, dpi=110, bbox_inches="tight", **options)
    plt.close(figure)


def distance(shape: Shape, target: Shape, scheme: LandmarkScheme) -> float:
    """Mean distance of the points in % of the distance of the outer eye corners."""
    left, right = target[list(scheme.eye_corners)]
    return 100 * float(np.linalg.norm(shape - target, axis=1).mean() / np.linalg.norm(right - left))


def draw_cascade(landmarker: FaceLandmarker) -> None:
    """The mean shape in the box, and the shape after each iteration, on a masked face."""
    network, image = landmarker.localizer, portrait("hopper")
    face = landmarker.detect(image)[0]
    drawn_mask(image, face.landmarks, face.scheme, np.random.default_rng(2))
    turned = CropGeometry.from_box(face.box.adjusted((0.06, 0.03)), network.crop_spec, np.deg2rad(12))
    crop, target = turned.crop(image), turned.to_crop(face.landmarks)
    mean = network.crop_spec.place(network.mean_shape)
    shapes = [np.asarray(mean, np.float64), *network(crop[None], mean[None].astype(np.float32)).shapes[0]]
    figure, axes = plt.subplots(1, len(shapes), figsize=(11, 3.1))
    for number, (one, shape) in enumerate(zip(axes, shapes, strict=True)):
        larger, points = enlarged(crop, shape.astype(np.float64))
        draw_face(larger, points, face.scheme, size=4)
        error = distance(shape, target, face.scheme)
        show(one, larger, ("start: mean shape" if number == 0 else f"iteration {number}") + f"\n{error:.1f} % away")
    save(figure, "cascade.jpg")


def draw_occlusion(landmarker: FaceLandmarker) -> None:
    """One portrait plain and behind occluders; visibility as rings, confidence as a bar for each component."""
    image = portrait("astronaut")
    plain = landmarker.detect(image)[0]
    rng = np.random.default_rng(2)
    versions = {"plain": image, "mask": image.copy(), "sunglasses": image.copy()}
    drawn_mask(versions["mask"], plain.landmarks, plain.scheme, rng)
    sunglasses(versions["sunglasses"], plain.landmarks, plain.scheme, np.random.default_rng(6))
    close = CropGeometry.from_box(plain.box, CropSpec(520, 380))
    spacing = {"hspace": 0.08, "wspace": 0.42}
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 5.2), height_ratios=(2.7, 1), gridspec_kw=spacing)
    names = [name for name, points in plain.scheme.components.items() if points]
    for (name, picture), upper, lower in zip(versions.items(), axes[0], axes[1], strict=True):
        faces = landmarker.detect(picture, boxes=[plain.box])
        face = faces[0]
        error = distance(face.landmarks, plain.landmarks, face.scheme)
        larger = close.crop(picture)
        draw_face(larger, close.to_crop(face.landmarks), face.scheme, visibility=face.visibility, size=4)
        show(upper, larger, name if name == "plain" else f"{name}: {error:.1f} % away")
        assert face.confidence is not None
        values = [face.confidence[list(face.scheme.components[part])].mean() for part in names]
        colors = [np.array(COMPONENT_COLORS[part]) / 255 for part in names]
        lower.barh(range(len(names)), values, color=colors)
        lower.set_yticks(range(len(names)), [part.replace("_", " ") for part in names], fontsize=8)
        lower.set_xlim(0, 1)
        lower.invert_yaxis()
        lower.set_xlabel("mean confidence", fontsize=8)
        lower.tick_params(labelsize=8)
        lower.spines[["top", "right"]].set_visible(False)
    save(figure, "occlusion.jpg")


def draw_views(landmarker: FaceLandmarker) -> None:
    """From the picture to the combined landmarks: a bad box, its crop, the crop placed anew, the mirrored crop."""
    image, looker = portrait("astronaut"), landmarker.looker
    truth = landmarker.detect(image)[0]
    box = truth.box.adjusted((0.16, 0.12), (1.25, 1.2))
    geometries = [looker.geometry_of_box(box)]
    views = [looker.view([image], geometries)]
    geometries.append(looker.geometry_of_shape(views[0].shapes[0]))
    views.append(looker.view([image], geometries[1:]))
    views.append(looker.view([image], geometries[1:], mirrored=[True]))
    figure, axes = plt.subplots(1, 5, figsize=(13, 3.1))
    framed = image.copy()
    cv2.rectangle(framed, (round(box.x0), round(box.y0)), (round(box.x1), round(box.y1)), (255, 255, 255), 2)
    show(axes[0], framed, "picture, and a box\nthat is off")
    titles = ("first view: the crop\nof the box", "second view: placed by\nthe first's landmarks", "the mirrored view")
    for number, (one, view, title) in enumerate(zip(axes[1:], views, titles, strict=False)):
        geometry = geometries[min(number, 1)]
        crop, points = enlarged(geometry.crop(image), geometry.to_crop(view.shapes[0]), 2)
        draw_face(crop, points, truth.scheme, size=3)
        show(one, crop[:, ::-1] if number == 2 else crop, title)
    best = FaceLandmarker(accuracy="best", flip_average=True, threads=1).detect(image, boxes=[box])
    show(axes[4], draw_faces(image, best, boxes=False), "all views combined,\nin picture pixels")
    save(figure, "views.jpg")


def draw_jitter(landmarker: FaceLandmarker) -> None:
    """Position of an eye corner in a noisy video that sways: frame by frame, and tracked; the truth is known."""
    still, rng = portrait("astronaut"), np.random.default_rng(0)
    rest = landmarker.detect(still)[0]
    corner = rest.scheme.eye_corners[0]
    times = np.arange(60) / 30
    sway = 6 * np.sin(2 * np.pi * times / 2)
    tracker = landmarker.tracker()
    raw, smooth = [], []
    for time_s, shift in zip(times.tolist(), sway.tolist(), strict=True):
        frame = cv2.warpAffine(still, np.array([[1, 0, shift], [0, 1, 0]]), still.shape[1::-1], borderMode=1)
        frame = np.clip(frame + rng.normal(0, 18, frame.shape), 0, 255).astype(np.uint8)
        box = rest.box.adjusted((shift / rest.box.width, 0))
        raw.append(landmarker.detect(frame, boxes=[box])[0].landmarks[corner, 0] - shift)
        smooth.append(tracker.update(frame, time_s)[0].landmarks[corner, 0] - shift)
    figure, axes = plt.subplots(figsize=(9, 2.9))
    for values, label, color in ((raw, "each frame alone", "#c44"), (smooth, "tracked", "#087")):
        steps = np.abs(np.diff(values)).mean()
        label = f"{label}: {steps:.2f} pixels a frame"
        axes.plot(times, np.array(values) - np.mean(values), label=label, color=color, linewidth=1.6)
    axes.set_xlabel("seconds")
    axes.set_ylabel("pixels off its mean")
    axes.legend(frameon=False, loc="upper right", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(-0.8, 0.8)
    save(figure, "jitter.svg")


def draw_confidence() -> None:
    """How the confidence follows from the expected error."""
    errors = np.linspace(0.002, 0.1, 200, dtype=np.float32)
    figure, axes = plt.subplots(figsize=(5.5, 2.9))
    axes.plot(100 * errors, confidence_from_error(errors), color="#087", linewidth=2)
    axes.axvline(3, color="#999", linestyle=":")
    axes.text(3.1, 0.93, "tolerance: 3 %", color="#555", fontsize=9)
    axes.set_xlabel("expected error, % of the face's size")
    axes.set_ylabel("confidence")
    axes.set_ylim(0, 1)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, "confidence.svg")


def draw_hofs(landmarker: FaceLandmarker) -> None:
    """The three candidates of an agent's step: the patch on the landmark before, the same, and the next."""
    network, image = landmarker.localizer, portrait("astronaut")
    face = landmarker.detect(image)[0]
    geometry = landmarker.looker.geometry_of_shape(face.landmarks)
    clean, target = geometry.crop(image), geometry.to_crop(face.landmarks)
    size = 48 / 140 * network.crop_spec.face_size
    before = distance(np.asarray(network(clean[None]).shapes[0, -1], np.float64), target, face.scheme)
    middle = face.scheme.parts["mouth"][6]
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 3.3))
    for action, one in enumerate(axes):
        index = (middle + action - 1) % face.scheme.n_points
        crop = clean.copy()
        noise_patch(crop, target[index], size, np.random.default_rng(5))
        shape = np.asarray(network(crop[None]).shapes[0, -1], np.float64)
        reward = distance(shape, target, face.scheme) - before
        larger, points = enlarged(crop, shape)
        draw_face(larger, points, face.scheme, size=4)
        center = (target[index] + 0.5) * 3 - 0.5
        corner = center - 3 * size / 2
        one.add_patch(Rectangle((corner[0], corner[1]), 3 * size, 3 * size, fill=False, edgecolor="w", linewidth=1.5))
        names = ("back", "stay", "forward")
        show(one, larger, f"action {action}, {names[action]}: landmark {index}\nreward {reward:+.2f} points")
    save(figure, "hofs.jpg")


def main() -> None:
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "srn"  # the same bytes every time
    matplotlib.rcParams["font.size"] = 9
    landmarker = FaceLandmarker(threads=1)
    draw_cascade(landmarker)
    draw_occlusion(landmarker)
    draw_views(landmarker)
    draw_jitter(landmarker)
    draw_confidence()
    draw_hofs(landmarker)


if __name__ == "__main__":
    main()
