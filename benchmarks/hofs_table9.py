"""Table 9 in small: the tracker fine-tuned with each kind of occlusion, on held-out clips and masked stills."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hofs_clips import NOISE, Study
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack
from srn.datasets.sample import Sample
from srn.evaluation.protocol import evaluate
from srn.face.geometry import CropSpec
from srn.face.metrics import interocular
from srn.hofs.agent import Agent
from srn.hofs.clips import GivenClips
from srn.hofs.scenes import Scenes
from srn.hofs.synthesis import HardOcclusion, RandomOcclusion
from srn.model.checkpoint import adapted
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.animate import PlacedFace, animate_placed
from srn.synthesis.config import RANDOM_PATCH_MOTION, UNOCCLUDED_MOTION, MotionConfig
from srn.synthesis.masked import DRAWN, MIXED, mask_samples
from srn.synthesis.wardrobe import MaskWardrobe
from srn.training.clips import track_clips
from srn.training.config import ClipConfig, tracker_config
from srn.training.loop import Occluder, Schedule, train
from srn.training.loss import MINIMAL_INTEROCULAR

ARMS = ("w/o OFA", "RSF", "random walk", "HOFS")
"""Ways to fine-tune. RSF: a random landmark in every frame. Random walk: the patch moves as the agent's, at random."""

STILLS = 170
"""About as many test faces of 300W get masks, spread evenly."""
FRAMES = 12
"""Frames of a test clip."""
SHARE = 0.5
"""Share of the training clips that are occluded."""

Scores = dict[str, list[float]]
"""Test -> NME of each clip or picture."""


@dataclass(frozen=True)
class Tests:
    """Clips by name, all of one length, and masked stills."""

    clips: dict[str, list[PlacedFace]]
    stills: list[Sample]

    def scores(self, tracker: StructuralRelationNetwork) -> Scores:
        """Measure a tracker."""
        scores = {name: tracking_errors(tracker, clips) for name, clips in self.clips.items()}
        return {**scores, "masked stills": still_errors(tracker, self.stills)}


def tracking_errors(network: StructuralRelationNetwork, clips: Sequence[PlacedFace]) -> list[float]:
    """Measure the NME of each clip; every frame starts as a picture does, and the state is carried (equation 13)."""
    shapes = track_clips(network.eval(), clips, np.zeros(len(clips), bool), torch.device("cpu"))
    scheme, shortest = network.config.scheme, MINIMAL_INTEROCULAR * network.config.face_size
    errors = []
    for clip, predicted in zip(clips, shapes, strict=True):
        target = clip.face.landmarks.astype(np.float64)
        normalizer = np.array([max(interocular(shape, scheme), shortest) for shape in target])
        errors.append(float((np.linalg.norm(predicted - target, axis=-1).mean(axis=1) / normalizer).mean()))
    return errors


def still_errors(network: StructuralRelationNetwork, samples: Sequence[Sample]) -> list[float]:
    """Measure the NME of each picture as the first frame of a video; ground-truth boxes, one pass."""
    landmarker = FaceLandmarker(localizer=TorchLocalizer(network), accuracy="fast")
    return [result.nme for result in evaluate(landmarker, samples).results]


def masked_stills(samples: Sequence[Sample], templates: Path, folder: Path) -> list[Sample]:
    """Put masks on faces, once; `folder` keeps them. The templates are not those of training, if they are there."""
    if not (folder / "manifest.csv").exists():
        wardrobe = MaskWardrobe.load(templates) if templates.is_dir() else None
        mask_samples(samples, folder, kind=DRAWN if wardrobe is None else MIXED, wardrobe=wardrobe, seed=1)
    return open_faces(folder, split="test").samples


def animated(pack: FacePack, spec: CropSpec, motion: MotionConfig) -> list[PlacedFace]:
    """Animate every face of a pack, in the same way each time."""
    return [
        animate_placed(
            pack.image(i), pack.landmarks[i], spec, pack.scheme, motion, np.random.default_rng([5, i]), FRAMES
        )
        for i in range(len(pack))
    ]


def make_tests(study: Study, agent: Agent, templates: Path, work: Path) -> Tests:
    """Make the held-out clips, clean and occluded in three ways, and the masked stills."""
    held_out, spec = study.held_out, study.network.config.crop_spec
    clean = animated(held_out, spec, UNOCCLUDED_MOTION)
    scenes = Scenes(GivenClips([one.face for one in clean], spec, held_out.scheme), agent.patch_size, len(clean))
    starts = np.random.default_rng(6).integers(held_out.scheme.n_points, size=len(clean)).tolist()
    trajectories = agent.follow(scenes, range(len(clean)), starts, [NOISE] * len(clean))
    clips = {
        "clean": clean,
        "masked": animated(held_out, spec, dataclasses.replace(UNOCCLUDED_MOTION, masks=1.0)),
        "random walk": animated(held_out, spec, RANDOM_PATCH_MOTION),
        "agent": [
            one._replace(face=scenes.occluded_clip(k, trajectory, NOISE))
            for k, (one, trajectory) in enumerate(zip(clean, trajectories, strict=True))
        ],
    }
    step = max(len(study.samples) // STILLS, 1)
    return Tests(clips, masked_stills(study.samples[::step], templates, work / "masked"))


def fine_tuned(name: str, study: Study, agent: Agent, faces: int, seed: int, run: Path) -> StructuralRelationNetwork:
    """Fine-tune the frozen network as a tracker by one of `ARMS`."""
    network, occluder = study.network, None
    motion = UNOCCLUDED_MOTION
    if name == "random walk":
        motion = dataclasses.replace(UNOCCLUDED_MOTION, noise_patch=SHARE)
    occluders: dict[str, Occluder] = {
        "RSF": RandomOcclusion(network.config.crop_spec, network.config.scheme, agent.patch_size),
        "HOFS": HardOcclusion(agent),
    }
    occluder = occluders.get(name)
    clips = ClipConfig(motion=motion, frames=8, hard_share=SHARE if occluder else 0.0)
    config = tracker_config(network.config, clips=clips, faces=faces, seed=seed, validation=0)
    weights = train(
        config, study.pack, run, initial=copy.deepcopy(network), occluder=occluder, resume=True,
        schedule=Schedule(workers=0, tensorboard=False),
    )  # fmt: skip
    return load_weights(weights)[0]


def table_9(
    study: Study, agent: Agent, templates: Path, work: Path, *, faces: int, seeds: int, arms: Sequence[str]
) -> dict[str, dict[str, list[float]]]:
    """Fine-tune by every arm, on the same faces, and measure.

    Args:
        study: the frozen network and the faces.
        agent: the agent of HOFS.
        templates: mask templates for the stills.
        work: folder that keeps runs and scores.
        faces: frames that each run trains on.
        seeds: runs of each arm.
        arms: some of `ARMS`.

    Returns:
        Arm -> test -> mean NME for each seed; the first row is the network before fine-tuning.
    """
    tests = make_tests(study, agent, templates, work)

    def kept(path: Path, tracker: StructuralRelationNetwork | None) -> Scores:
        if tracker is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(tests.scores(tracker)))
        scores: Scores = json.loads(path.read_text())
        return scores

    folder = work / "table_9"
    before = folder / "before.json"
    untuned = None if before.exists() else adapted(study.network, tracker_config(study.network.config).model)
    table = {"not at all": {test: [float(np.mean(e))] for test, e in kept(before, untuned).items()}}
    for seed, name in itertools.product(range(seeds), arms):  # an interrupted study has whole seeds
        run = folder / f"{name.replace('/', '').replace(' ', '-')}-{seed}-{faces}"
        path = run / "scores.json"
        tracker = None if path.exists() else fine_tuned(name, study, agent, faces, seed, run)
        for test, errors in kept(path, tracker).items():
            table.setdefault(name, {}).setdefault(test, []).append(float(np.mean(errors)))
    return table
