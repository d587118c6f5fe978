"""Measure weights on every set that the model card reports, and write `docs/results/weights.json` and `.md`.

    python tools/measure_weights.py ../shared/data [--weights FILE] [--threads 2]

DATA holds `300W`, `masked_300W` and `occluders`. The masked version of 300W's test faces is made anew (kind `mixed`,
seed 1) in a temporary folder. Every number can be had alone with `srn evaluate`; the model card says how.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import commit, markdown, write_results

from srn import FaceLandmarker
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.box_curve import box_curve
from srn.evaluation.protocol import evaluate, read_test_faces
from srn.evaluation.report.plots import plot_box_curve, plot_ced, plot_reliability
from srn.evaluation.results import Evaluation
from srn.face.scheme import IBUG_68
from srn.synthesis.masked import MaskWardrobe, mask_dataset

OUT = Path(__file__).parents[1] / "docs" / "results"


def rows_of(name: str, whole: Evaluation) -> dict[str, dict[str, Any]]:
    """Common, Challenging and Full of a 300W evaluation; the whole where it is another set."""
    sets = {"Common": COMMON_SUBSETS, "Challenging": CHALLENGING_SUBSETS}
    parts = {f"{name} {key}": whole.subset(*subsets) for key, subsets in sets.items()}
    if not all(some.results for some in parts.values()):
        return {name: whole.summary()}
    return {key: some.summary() for key, some in parts.items()} | {f"{name} Full": whole.summary()}


def speed(landmarker: FaceLandmarker, samples: list[Sample]) -> dict[str, float]:
    """Milliseconds of one face alone, and of one face out of sixteen, in one pass; medians."""
    image, box = samples[0].load(), samples[0].box
    single = FaceLandmarker(localizer=landmarker.localizer, passes=1)
    result = {}
    for count in (1, 16):
        times = []
        for _ in range(30):
            begin = time.perf_counter()
            single.detect(image, [box] * count)
            times.append((time.perf_counter() - begin) / count * 1e3)
        result[f"ms_a_face_in_batches_of_{count}"] = round(float(np.median(times[5:])), 2)
    return result


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """A set's line of the table."""
    percent = [f"{row[key] * 100:.2f}" for key in ("nme", "mean_shape_nme", "failure_rate")]
    return [name, str(row["n"]), str(row["missed"]), *percent, f"{row['auc']:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    data: Path = arguments.data
    best = FaceLandmarker(arguments.weights, passes=2, flip_average=True, threads=arguments.threads)
    fast = FaceLandmarker(localizer=best.localizer, passes=1)
    clean, _ = read_test_faces([data / "300W"], IBUG_68)
    authors, _ = read_test_faces([data / "masked_300W" / "ibug"], IBUG_68)
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        wardrobe = MaskWardrobe.load(data / "occluders" / "masks")
        mask_dataset(clean, folder, kind="mixed", wardrobe=wardrobe, seed=1)
        masked, _ = read_test_faces([Path(folder)], IBUG_68)
        whole = evaluate(best, clean)
        table |= rows_of("300W, ground-truth box:", whole)
        table |= rows_of("300W, inter-pupil:", whole.by("interpupil"))
        table |= rows_of("300W, one pass, not mirrored:", evaluate(fast, clean))
        table |= rows_of("300W, bbs box:", evaluate(best, clean, init="bbs"))
        table |= rows_of("300W, face finder:", evaluate(best, clean, init="finder"))
        hidden = evaluate(best, masked)
        table |= rows_of("Masked 300W (ours), ground-truth box:", hidden)
        table |= rows_of("Masked 300W (ours), face finder:", evaluate(best, masked, init="finder"))
        table |= rows_of("Masked 300W (authors' 30), ground-truth box", evaluate(best, authors))
        table |= rows_of("Masked 300W (authors' 30), one pass, not mirrored", evaluate(fast, authors))
        table |= rows_of("Masked 300W (authors' 30), face finder", evaluate(best, authors, init="finder"))
        errors = {
            "Common": whole.subset(*COMMON_SUBSETS).errors,
            "Challenging": whole.subset(*CHALLENGING_SUBSETS).errors,
        }
        errors |= {"Full": whole.errors, "Masked Full (ours)": hidden.errors}
        plot_ced(errors, OUT / "ced.png", label="inter-ocular distance")
        for name, result in (("clean", whole), ("masked", hidden)):
            points = result.confidence_points()
            if points is not None:
                plot_reliability(*points, OUT / f"reliability_{name}.png", label=name)
    curves = {name: box_curve(model, clean[::5]) for name, model in (("two passes", best), ("one pass", fast))}
    plot_box_curve(curves, OUT / "box_curve.png")
    content = {
        "command": "python tools/measure_weights.py DATA",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{arguments.threads} threads, {platform.machine()}, no GPU",
        "commit": commit(),
        "weights": best.localizer.name,
        "table": table,
        "visibility, Masked 300W (ours)": hidden.visibility_summary(),
        "confidence, 300W": whole.confidence_summary(),
        "confidence, Masked 300W (ours)": hidden.confidence_summary(),
        "box_curve": {name: curve.to_dict() for name, curve in curves.items()},
        "speed": speed(best, clean),
    }
    about = ("command", "date", "hardware", "commit", "weights")
    notes = [
        "two passes and mirrored averaging, inter-ocular, unless the row says otherwise",
        "missed faces are left out of the means and count as failures",
    ]
    columns = ("set", "faces", "missed", "NME %", "mean shape %", "failures (> 8 %) %", "AUC (8 %)")
    lines = [cells(name, row) for name, row in table.items()]
    page = markdown("The shipped weights, measured", content, about, notes, columns, lines)
    write_results(OUT, "weights", content, page)
    print(page, end="")
    print(json.dumps({key: content[key] for key in ("visibility, Masked 300W (ours)", "speed")}, indent=1))


if __name__ == "__main__":
    main()
