"""Measure where faces are hidden: in annotated sets, in flags made by eye, and in what the augmentation draws.

    python benchmarks/measure_occlusion_patterns.py PACK FLAGS [--cofw68 FOLDER] [--keep FOLDER]

PACK is made by `srn data pack 300W --quality 90`, FLAGS by hand (`occlusion_flags.py`; the part `training` counts).
FOLDER holds COFW68's annotations, without pictures. These are test faces: their patterns serve as statistics of real
occlusion, and who wants to report on COFW68 does not train on them. The script only prints; `--keep` writes the
patterns, `flags.npz` and `cofw68.npz`, for `augmentation.pattern_file` and `train_visibility.py --patterns`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from occlusion_flags import TRAINING, Flags, read_flags, stacked
from results import markdown_table, program
from srn.datasets.cofw68 import read_annotations
from srn.datasets.pack import FacePack, mean_shape
from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, FloatArray
from srn.face.scheme import IBUG_68
from srn.model.config import preset
from srn.synthesis.augment import augment
from srn.synthesis.config import AugmentConfig
from srn.synthesis.occluders import visible_landmarks
from srn.synthesis.patterns import OcclusionPatterns, pattern_occluder
from srn.training.config import train_config

NEIGHBOURS = 3
"""Points that are joined to each, on the mean shape: hidden points that hang together form a group."""


def joined_points(shape: FloatArray) -> npt.NDArray[np.bool_]:
    """Join each point of a shape (N, 2) to its nearest ones: (N, N), symmetric."""
    distance = np.linalg.norm(shape[:, None] - shape, axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
    joined = np.zeros(distance.shape, bool)
    joined[np.arange(len(shape))[:, None], nearest] = True
    return joined | joined.T


def groups(hidden: npt.NDArray[np.bool_], joined: npt.NDArray[np.bool_]) -> int:
    """Count the groups of hidden points (N,) that hang together."""
    left, count = set(np.flatnonzero(hidden).tolist()), 0
    while left:
        waiting = [left.pop()]
        count += 1
        while waiting:
            near = left & set(np.flatnonzero(joined[waiting.pop()]).tolist())
            left -= near
            waiting += near
    return count


def statistics(hidden: Flags, certain: Flags, joined: npt.NDArray[np.bool_]) -> dict[str, str]:
    """Describe flags (F, 68) in the words of a table: rates by part, how many, and how contiguous."""
    occluded = hidden[hidden.any(axis=1)]
    count = occluded.sum(axis=1)
    together = [groups(face, joined) for face in occluded]
    beside = [face[joined[point]].mean() for face in occluded for point in np.flatnonzero(face)]
    parts = ("brows", "eyes", "nose", "mouth", "left_cheek", "right_cheek")
    rates = {
        part.replace("cheek", "outline").replace("_", " "): f"{hidden[:, points][certain[:, points]].mean():.1%}"
        for part in parts
        for points in [list(IBUG_68.part(part))]
    }
    return {
        "faces": f"{len(hidden):,}",
        "with a hidden point": f"{len(occluded) / len(hidden):.0%}",
        "points hidden": f"{hidden[certain].mean():.1%}",
        **rates,
        "of these faces: hidden points, quartiles": ", ".join(
            f"{v:.0f}" for v in np.quantile(count, (0.25, 0.5, 0.75))
        ),
        "groups that hang together": f"{np.mean(together):.1f}",
        "in one group": f"{np.mean([n == 1 for n in together]):.0%}",
        "neighbours of a hidden point hidden": f"{np.mean(beside):.0%}",
    }


def drawn(pack: FacePack, config: AugmentConfig, count: int, seed: int = 0) -> Flags:
    """Return what the augmentation hides (F, 68) of `count` crops. Points beyond the crop do not count."""
    spec, upright = preset("robust").crop_spec, mean_shape(pack)
    rows = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        index = int(rng.integers(len(pack)))

        def other(rng: np.random.Generator = rng) -> npt.NDArray[np.uint8]:
            return pack.image(int(rng.integers(len(pack))))

        face = augment(
            pack.image(index), pack.landmarks[index], spec, pack.scheme, config, rng, other, upright_shape=upright
        )
        inside = visible_landmarks(np.zeros(face.image.shape[:2], bool), face.landmarks)
        rows.append(~face.visible & inside)
    return np.stack(rows)


def missed(pack: FacePack, patterns: OcclusionPatterns, count: int, seed: int = 1) -> tuple[float, float]:
    """Return the shares of hidden points that stay visible, and of visible ones that get covered, in unturned crops."""
    wanted, found, rng = [], [], np.random.default_rng(seed)
    for index in rng.integers(len(pack), size=count):
        shape = pack.landmarks[index].astype(np.float64)
        geometry = CropGeometry.from_box(Box.around(shape), preset("robust").crop_spec)
        crop, points = geometry.crop(pack.image(int(index))).copy(), geometry.to_crop(shape)
        hidden = patterns.draw(points, rng)
        inside = visible_landmarks(np.zeros(crop.shape[:2], bool), points)
        covered = pattern_occluder(crop, points, hidden, pack.scheme, rng)
        wanted.append(hidden[inside])
        found.append(~visible_landmarks(covered, points)[inside])
    hidden, out = np.concatenate(wanted), np.concatenate(found)
    return float((~out[hidden]).mean()), float(out[~hidden].mean())


def of_flags(pack: FacePack, file: Path) -> tuple[OcclusionPatterns, Flags]:
    """Return the patterns of the faces of a pack that are flagged to learn from, and which points are certain."""
    flags = read_flags(file)
    faces = [i for i, name in enumerate(pack.names.tolist()) if name in flags and flags[name].part == TRAINING]
    if not faces:
        raise InputError.at(file, f"flagged faces of {pack.where}", "none")
    part = pack.subset(faces)
    hidden, doubtful = stacked(flags, part.names.tolist())
    samples = dataclasses.replace(part, occluded=hidden).samples(Path(pack.where))
    return OcclusionPatterns.of_samples(samples, str(file)), ~doubtful


def measure(options: argparse.Namespace) -> None:
    """Print the table and the rates of all landmarks; write the patterns where asked to."""
    pack = FacePack.load(options.pack)
    if pack.scheme is not IBUG_68:
        raise InputError.at(options.pack, f"a pack of {IBUG_68.name}", pack.scheme.name)
    own, certain = of_flags(pack, options.flags)
    libraries = {"flags": own}
    if options.cofw68 is not None:
        libraries = {
            "cofw68": OcclusionPatterns.of_samples(read_annotations(options.cofw68), str(options.cofw68))
        } | libraries
    if options.keep is not None:
        for name, patterns in libraries.items():
            patterns.save(options.keep / f"{name}.npz")
    found: dict[str, tuple[Flags, Flags]] = {
        name: (patterns.hidden, certain if name == "flags" else np.ones_like(patterns.hidden))
        for name, patterns in libraries.items()
    }
    robust = train_config("robust").augmentation
    shipped = dataclasses.replace(robust, masks=0.1, behind=0.08, own=0.4)
    for name, config in {"preset robust": robust, "shipped recipe": shipped}.items():
        hidden = drawn(pack, config, options.crops)
        found[name] = (hidden, np.ones_like(hidden))
    joined = joined_points(mean_shape(pack))
    columns = {name: statistics(*flags, joined) for name, flags in found.items()}
    print(table(columns))
    print("\nShare of the faces in which each landmark is hidden, in %, from 0 to 67:")
    for name, (hidden, known) in found.items():
        rates = hidden.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        print(f"{name}: {' '.join(f'{100 * rate:.0f}' for rate in rates)}")
    for name, patterns in libraries.items():
        kept, lost = missed(pack, patterns, options.crops)
        print(
            f"occluders by {name}: {kept:.2%} of the hidden points stay visible, {lost:.2%} of the visible are covered"
        )


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Print one row for each statistic."""
    rows = [[name, *(values[name] for values in columns.values())] for name in next(iter(columns.values()))]
    return markdown_table(["", *columns], rows)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("pack", type=Path, help="training faces, made by srn data pack")
    made.add_argument("flags", type=Path, help="hand-made flags as JSON")
    made.add_argument("--cofw68", type=Path, metavar="FOLDER", help="COFW68's annotations")
    made.add_argument("--crops", type=int, default=2000, help="drawn by the augmentation (default: 2000)")
    made.add_argument("--keep", type=Path, metavar="FOLDER", help="where to write the patterns")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())
