"""Score the points that another tool found, from its files: matching, errors, and the files of the results."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample, sources_of
from srn.errors import DataError
from srn.evaluation.followers import Track
from srn.evaluation.protocol import best_match, error_of, found_face, missed_face
from srn.evaluation.provenance import command_line
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.evaluation_charts import ced_of
from srn.evaluation.report.page import Report, write_report
from srn.evaluation.results import FAILURE_THRESHOLD, Evaluation, FaceResult, check_normalizer, compare_evaluations
from srn.evaluation.video import VideoEvaluation, score_track
from srn.face.geometry import Box
from srn.files import write_json
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.result_reading import FaceRecords, read_results
from srn.media.results import Record

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """The faces of one tool, matched to the pictures of a set.

    Attributes:
        name: of the tool in the results: the file's name.
        faces: of each picture that the file names, as (K, ...) records.
        unknown: names in the file that are no picture of the set.
    """

    name: str
    faces: Mapping[Path, Sequence[Record]]
    unknown: Sequence[str] = field(default_factory=list)


def read_predictions(path: Path, samples: Sequence[Sample]) -> Predictions:
    """Read a tool's faces (`read_results`) and match their pictures by name.

    A name fits the picture with which it shares most of the end of the path, suffix aside: at least the file's name.

    Raises:
        DataError: the file cannot be read, names no picture of the set, or a name fits several pictures equally well.
    """
    found = read_results(path)
    matched, unknown = match_names(found, [sample.path for sample in samples], path)
    if not matched:
        raise DataError.at(path, f"the pictures of the set, such as {samples[0].path}", f"others, such as {unknown[0]}")
    return Predictions(tool_name(path), matched, unknown)


def tool_name(path: Path) -> str:
    """Return what a file of predictions is called in the results, also where `path` is `..`: the name of no folder."""
    return path.resolve().name or "predictions"


def match_names(
    found: FaceRecords, pictures: Iterable[Path], where: Path
) -> tuple[dict[Path, list[Record]], list[str]]:
    """Return the faces of each picture that a name fits, and the names that fit none."""
    by_stem: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    for picture in dict.fromkeys(pictures):
        parts = _parts(str(picture))
        by_stem.setdefault(parts[-1], []).append((picture, parts))
    matched: dict[Path, list[Record]] = {}
    unknown: list[str] = []
    names = {_composed(name) for name in found}
    for name, faces in found.items():
        parts, whole = _parts(name), _composed(name)
        fitting = by_stem.get(parts[-1])
        if fitting is None and whole[-1] in by_stem:  # `a.png` of the picture `a.png.jpg`
            parts, fitting = whole, by_stem[whole[-1]]
        if fitting is None and _is_further_face(parts, by_stem, names):
            parts = (*parts[:-1], parts[-1].rpartition("_")[0])
            fitting = by_stem[parts[-1]]
        if fitting is None:
            unknown.append(name)
            continue
        shared = [_shared(parts, others) for _, others in fitting]
        best = [picture for (picture, _), count in zip(fitting, shared, strict=True) if count == max(shared)]
        # Of `a.jpg` and `a.png`, or of two forms of accents, the very name tells.
        best = [one for one in best if one.name == name.replace("\\", "/").rpartition("/")[2]] or best
        if len(best) > 1:
            raise DataError.at(where, f"names that tell {best[0]} from {best[1]}", name)
        matched.setdefault(best[0], []).extend(faces)
    return matched, unknown


def _composed(name: str) -> tuple[str, ...]:
    """Return the parts of a path with composed accents: macOS stores decomposed ones."""
    return tuple(unicodedata.normalize("NFC", name).replace("\\", "/").strip("/").split("/"))


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path as `_composed` does, the last one without the suffix of a picture."""
    parts = _composed(name)
    stem, dot, suffix = parts[-1].rpartition(".")
    return (*parts[:-1], stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else parts[-1])


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the parts that two paths share at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _is_further_face(parts: Sequence[str], known: Mapping[str, Any], names: Container[tuple[str, ...]]) -> bool:
    """Whether `a_2` is the second face of picture `a`, as `srn detect --format pts` names it."""
    stem, _, number = parts[-1].rpartition("_")
    return number.isdecimal() and int(number) >= 2 and stem in known and (*parts[:-1], stem) in names


def score_predictions(
    predictions: Predictions,
    samples: Sequence[Sample],
    *,
    normalizer: str = "interocular",
    threshold: float = FAILURE_THRESHOLD,
) -> Evaluation:
    """Measure a tool's faces against annotated ones; the pictures themselves are not read.

    Of a picture's faces the one counts whose tight box of points overlaps the annotated one most, by `MINIMAL_OVERLAP`
    at least. A face that is alone counts as well if its centre lies in the annotated box, however wrong its points are.
    Where there is none, or the file does not name the picture, the face is missed. The baseline is the mean shape of
    the *other* annotated faces, in the true box.

    Raises:
        DataError: a face has another number of points.
    """
    check_normalizer(normalizer)
    scheme = samples[0].scheme
    baseline = _mean_shapes(samples)
    results = []
    for sample, mean_shape in zip(samples, baseline, strict=True):
        faces = predictions.faces.get(sample.path, ())
        for face in faces:
            if len(face["landmarks"]) != scheme.n_points:
                where = f"{predictions.name}: {sample.path.name}"
                raise DataError.at(where, f"{scheme.n_points} points ({scheme.name})", str(len(face["landmarks"])))
        chosen = matching_face(faces, sample.box)
        results.append(_result(sample, chosen, mean_shape, normalizer))
    return Evaluation(tuple(results), normalizer, "predictions", predictions.name, (), scheme, threshold)


def matching_face(faces: Sequence[Record], truth: Box) -> Record | None:
    """Return the face that is the annotated one; None without any: see `score_predictions`."""
    shapes = [np.asarray(face["landmarks"], np.float64) for face in faces]
    solid = [k for k, shape in enumerate(shapes) if (np.ptp(shape, axis=0) > 0).all()]
    best = best_match([Box.around(shapes[k]) for k in solid], truth)
    if best is not None:
        return faces[solid[best]]
    if len(faces) == 1:
        x, y = shapes[0].mean(axis=0)
        if truth.x0 <= x <= truth.x1 and truth.y0 <= y <= truth.y1:
            return faces[0]
    return None


def _mean_shapes(samples: Sequence[Sample]) -> list[Float64Array | None]:
    """Return for each face the mean shape of the others in its own box, picture pixels; None for a lone face."""
    if len(samples) < 2:
        return [None] * len(samples)
    boxes = [sample.box for sample in samples]
    centers = [np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]) for box in boxes]
    units = np.stack([(s.landmarks - c) / b.size for s, c, b in zip(samples, centers, boxes, strict=True)])
    others = (units.sum(axis=0) - units) / (len(units) - 1)
    return [center + mean * box.size for center, mean, box in zip(centers, others, boxes, strict=True)]


def _result(sample: Sample, face: Record | None, mean_shape: Float64Array | None, normalizer: str) -> FaceResult:
    missed = missed_face(sample, np.nan if mean_shape is None else error_of(mean_shape, sample, normalizer))
    if face is None:
        return missed
    seen, sure = (
        None if face[name] is None else np.asarray(face[name], np.float32) for name in ("visibility", "confidence")
    )
    return found_face(missed, sample, np.asarray(face["landmarks"], np.float64), seen, sure, normalizer)


def score_clips(path: Path, clips: Sequence[Clip], *, normalizer: str = "interocular") -> VideoEvaluation:
    """Measure a tool's faces in the frames of videos: error, jitter, flicker.

    A frame is found by its number, counted from 1, and the name of its clip: `CLIP.jsonl` as `srn track` writes it,
    `CLIP/000001.pts`, or the path of the frame's picture. Of one clip the file may have any name.

    Raises:
        DataError: the file cannot be read, or names no frame of the clips.
    """
    found: dict[tuple[str, int], list[Record]] = {}
    names = {unicodedata.normalize("NFC", clip.name): clip.name for clip in clips}
    for name, faces in read_results(path).items():
        parts = _parts(name)
        of_clip = next((names[part] for part in reversed(parts[:-1]) if part in names), None)
        if of_clip is None and len(clips) == 1:
            of_clip = clips[0].name
        if of_clip is not None and parts[-1].isdecimal() and len(parts[-1]) < 19:
            found.setdefault((of_clip, int(parts[-1])), []).extend(faces)
    if not any((clip.name, int(number)) in found for clip in clips for number in clip.numbers):
        raise DataError.at(
            path, f"frames of the videos, such as {clips[0].name}/{int(clips[0].numbers[0]):06d}", "none"
        )
    scores = []
    for clip in clips:
        shapes = np.full(clip.landmarks.shape, np.nan)
        for index, (number, truth) in enumerate(zip(clip.numbers.tolist(), clip.landmarks, strict=True)):
            face = matching_face(found.get((clip.name, number), ()), Box.around(truth))
            if face is not None:
                if len(face["landmarks"]) != clip.scheme.n_points:
                    count = str(len(face["landmarks"]))
                    raise DataError.at(f"{path}: {clip.name}, frame {number}", f"{clip.scheme.n_points} points", count)
                shapes[index] = face["landmarks"]
        scores.append(score_track(Track(shapes, np.full(len(clip), np.nan)), clip, normalizer))
    return VideoEvaluation(tool_name(path), tuple(scores), np.nan, normalizer)


def missing_lines(predictions: Predictions, samples: Sequence[Sample]) -> list[str]:
    """Say which pictures of the set a file does not name, and which of its names are no picture of the set."""
    missing = [sample.path for sample in samples if sample.path not in predictions.faces]
    lines = []
    if missing:
        whole = f"{len(missing)} of {len(samples)} annotated faces"
        lines.append(
            f"{predictions.name}: {whole} are in pictures that it does not name: failures; such as {missing[0]}"
        )
    if predictions.unknown:
        unknown = f"{len(predictions.unknown)} of its names are no picture of the set"
        lines.append(f"{predictions.name}: {unknown}, such as {predictions.unknown[0]}")
    return lines


def write_scores(
    evaluations: Mapping[str, Evaluation],
    samples: Sequence[Sample],
    *,
    numbers: Path | None,
    ced: Path | None,
    report: Path | None,
    problems: Sequence[str] = (),
) -> list[Path]:
    """Write the files of the evaluations of one or several tools, by name; return the pages in the folder `report`.

    One tool has the JSON of `srn evaluate`; several have a list of those, each paired with the first. A report of
    several has a folder for each.

    Raises:
        InputError: a file cannot be written.
        MissingDependencyError: a chart is not SVG and Matplotlib is missing.
    """
    first, *others = evaluations.values()
    if numbers is not None:
        content = [{"name": name, **one.to_dict()} for name, one in evaluations.items()]
        for one, entry in zip(others, content[1:], strict=True):
            entry["compared_with_first"] = compare_evaluations(first, one).to_dict()
        write_json(numbers, {"evaluations": content} if others else content[0])
    if ced is not None:
        write_charts(ced, ced_of(evaluations))
    if report is None:
        return []
    sources = sources_of(samples)
    pages = []
    for name, one in evaluations.items():
        page = Report(
            one, command_line(), datetime.now().astimezone(), sources=sources, problems=problems,
            other=None if one is first else first,
        )  # fmt: skip
        pages.append(write_report(page, report / name if others else report))
    return pages
