"""The files of an evaluation: numbers, charts, and the report page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from srn.datasets.sample import Sample, sources_of
from srn.errors import InputError
from srn.evaluation.box_curve import BoxCurve, box_curve
from srn.evaluation.provenance import command_line
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.evaluation_charts import box_charts, ced_of, reliability_chart
from srn.evaluation.report.page import Report, write_report
from srn.evaluation.results import Evaluation, by_weights, compare_evaluations
from srn.evaluation.speed import measure_speed
from srn.evaluation.stress import STRESS_FACES, Stress, stress_test
from srn.files import write_json
from srn.inference.landmarker import FaceLandmarker

REPORT_BOX_FACES = 60
"""Faces of the report's box curve, spread evenly: each is localized in 17 boxes."""

Steps = Callable[[str, int], Callable[[], None]]
"""Begins a task of a name and a number of steps; the result is called after each step."""


@dataclass(frozen=True)
class Measured:
    """An evaluation and its circumstances.

    Attributes:
        digest: SHA-256 of the weights; None for weights that are no file.
        other: an evaluation of the same faces to compare with.
        problems: one line for each unreadable picture.
        stress: what stress does to some of the faces.
    """

    evaluation: Evaluation
    landmarker: FaceLandmarker
    samples: Sequence[Sample]
    digest: str | None = None
    other: Evaluation | None = None
    problems: Sequence[str] = ()
    stress: Stress | None = None

    def evaluations(self) -> dict[str, Evaluation]:
        """What was measured, by weights."""
        return by_weights(self.evaluation, self.other)

    @property
    def readable(self) -> list[Sample]:
        """The faces that could be measured: a picture may hold others."""
        known = [(one.path, one.target_landmarks) for one in self.evaluation.results]
        read = {(path, None if points is None else points.tobytes()) for path, points in known}
        return [one for one in self.samples if (one.path, one.landmarks.tobytes()) in read]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        options: dict[str, Any] = {"accuracy": self.landmarker.accuracy, "flip_average": self.landmarker.flip_average}
        if self.stress is not None:
            options["stress"] = self.stress.to_dict()
        if self.other is None:
            return self.evaluation.to_dict(options)
        pair = compare_evaluations(self.other, self.evaluation).to_dict()
        compared = {"weights": self.other.weights, **self.other.summary(), **pair}
        return self.evaluation.to_dict({**options, "compared_with": compared})


def with_stress(measured: Measured, steps: Steps) -> Measured:
    """Put some of the faces under stress."""
    some = spread(measured.readable, STRESS_FACES)
    normalizer, step = measured.evaluation.normalizer, steps("under stress", len(some))
    return replace(measured, stress=stress_test(measured.landmarker, some, normalizer=normalizer, progress=step))


def write_outputs(
    measured: Measured,
    steps: Steps,
    *,
    numbers: Path | None,
    ced: Path | None,
    reliability: Path | None,
    boxes: Path | None,
    report: Path | None,
) -> Path | None:
    """Write the files of an evaluation that have a path and return the page in the folder `report`, if there is one.

    Raises:
        InputError: a file cannot be written, or a reliability chart is asked of weights without confidence.
        MissingDependencyError: a chart is not SVG and Matplotlib is missing.
    """
    result = measured.evaluation
    if numbers is not None:
        write_json(numbers, measured.to_dict())
    if ced is not None:
        write_charts(ced, ced_of(measured.evaluations()))
    if reliability is not None:
        chart = reliability_chart(result, ", ".join(result.subsets))
        if chart is None:
            raise InputError.at("reliability", "weights that predict a confidence", result.weights)
        write_charts(reliability, chart)
    if boxes is not None:
        samples = measured.readable
        curve = _box_curve(measured, samples, steps)
        if boxes.suffix == ".json":
            write_json(boxes, curve.to_dict())
        else:
            write_charts(boxes, *box_charts({f"{len(samples)} faces": curve}))
    return None if report is None else _write_page(measured, report, steps)


def spread(samples: Sequence[Sample], number: int) -> list[Sample]:
    """Return at most `number` faces, spread evenly over all."""
    step = max(len(samples) / number, 1.0)
    return [samples[int(index * step)] for index in range(min(len(samples), number))]


def _write_page(measured: Measured, folder: Path, steps: Steps) -> Path:
    samples = measured.readable
    some = spread(samples, REPORT_BOX_FACES)
    accuracy, mirrored = measured.landmarker.accuracy, measured.landmarker.flip_average
    report = Report(
        evaluation=measured.evaluation,
        command=command_line(),
        date=datetime.now().astimezone(),
        weights_digest=measured.digest,
        settings={"Accuracy": accuracy, "Averaged with the mirrored picture": "yes" if mirrored else "no"},
        box_curve=_box_curve(measured, some, steps),
        box_curve_faces=len(some),
        speed=measure_speed(measured.landmarker, (samples[0].load(), samples[0].box)),
        sources=sources_of(samples),
        problems=measured.problems,
        stress=measured.stress,
        other=measured.other,
    )
    return write_report(report, folder)


def _box_curve(measured: Measured, samples: Sequence[Sample], steps: Steps) -> BoxCurve:
    step = steps("shifting boxes", len(samples))
    return box_curve(measured.landmarker, samples, normalizer=measured.evaluation.normalizer, progress=step)
