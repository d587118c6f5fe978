"""Table 9 in small: the tracker fine-tuned with each kind of occlusion, on held-out clips and masked stills."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hofs_clips import NOISE, Study, short_hash
from results import paired_difference
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack
from srn.datasets.sample import Sample
from srn.evaluation.protocol import evaluate
from srn.face.geometry import CropSpec
from srn.face.metrics import interocular
from srn.hofs.agent import Agent
from srn.hofs.baselines import best_trajectory
from srn.hofs.clips import AnimatedClips, GivenClips
from srn.hofs.run import network_digest
from srn.hofs.scenes import Scenes, Trajectory
from srn.hofs.synthesis import GreedyPolicy, HardOcclusion, MapPolicy, Policy, PolicyOcclusion, random_policy
from srn.hofs.world import OcclusionWorld
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

UNTUNED, LEARNED = "not at all", "HOFS"
ARMS = ("w/o OFA", "RSF", "random walk", LEARNED, "face-blind map", "greedy")
"""Ways to fine-tune. RSF: a random landmark in every frame. Random walk: the patch moves as the agent's, at random.
Face-blind map: the best path over what hiding a landmark costs on average. Greedy: the frozen network is asked for
the worst of the three next places."""

MAP_FACES = 128
"""Training faces that the face-blind map is the mean of."""

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


def mean_costs(study: Study, patch_size: float, work: Path) -> npt.NDArray[np.float64]:
    """Measure what hiding each landmark costs the frozen network on average (N,), on training faces; kept in `work`."""
    path = work / "mean_costs.json"
    if not path.exists():
        source = AnimatedClips(study.pack, study.network.config.crop_spec, 1, seed=2, count=MAP_FACES)
        world = OcclusionWorld(Scenes(source, patch_size), study.localizer, reward="degradation")
        costs = np.mean([world.table(number, NOISE)[0] for number in range(MAP_FACES)], axis=0)
        path.write_text(json.dumps(costs.tolist()))
    return np.array(json.loads(path.read_text()))


def make_tests(study: Study, agent: Agent, costs: npt.NDArray[np.float64], templates: Path, work: Path) -> Tests:
    """Make the held-out clips, clean and occluded in five ways, and the masked stills.

    `agent` is another one than that of the arm HOFS: patches of the very agent that trained an arm would favour it.
    """
    held_out, spec = study.held_out, study.network.config.crop_spec
    clean = animated(held_out, spec, UNOCCLUDED_MOTION)
    scenes = Scenes(GivenClips([one.face for one in clean], spec, held_out.scheme), agent.patch_size, len(clean))
    starts = np.random.default_rng(6).integers(held_out.scheme.n_points, size=len(clean)).tolist()
    frames = np.repeat(costs[None], FRAMES, axis=0)

    def patched(trajectories: Sequence[Trajectory]) -> list[PlacedFace]:
        return [
            one._replace(face=scenes.occluded_clip(k, trajectory, NOISE))
            for k, (one, trajectory) in enumerate(zip(clean, trajectories, strict=True))
        ]

    clips = {
        "clean": clean,
        "masked": animated(held_out, spec, dataclasses.replace(UNOCCLUDED_MOTION, masks=1.0)),
        "passing": animated(held_out, spec, dataclasses.replace(UNOCCLUDED_MOTION, occluders=1.0)),
        "random walk": animated(held_out, spec, RANDOM_PATCH_MOTION),
        "another agent": patched(agent.follow(scenes, range(len(clean)), starts, [NOISE] * len(clean))),
        "face-blind map": patched([best_trajectory(frames, start) for start in starts]),
    }
    step = max(len(study.samples) // STILLS, 1)
    return Tests(clips, masked_stills(study.samples[::step], templates, work / "masked"))


def fine_tuned(
    name: str, study: Study, agent: Agent, costs: npt.NDArray[np.float64], faces: int, seed: int, run: Path
) -> StructuralRelationNetwork:
    """Fine-tune the frozen network as a tracker by one of `ARMS`."""
    network, motion = study.network, UNOCCLUDED_MOTION
    occluder: Occluder | None = None
    if name == "random walk":
        motion = dataclasses.replace(UNOCCLUDED_MOTION, noise_patch=SHARE)
    policies: dict[str, Policy] = {
        "RSF": random_policy, "face-blind map": MapPolicy(costs), "greedy": GreedyPolicy(study.localizer),
    }  # fmt: skip
    if name == LEARNED:
        occluder = HardOcclusion(agent)
    elif name in policies:
        spec, scheme = network.config.crop_spec, network.config.scheme
        occluder = PolicyOcclusion(spec, scheme, policies[name], agent.patch_size)
    clips = ClipConfig(motion=motion, frames=8, hard_share=SHARE if occluder else 0.0)
    config = tracker_config(network.config, clips=clips, faces=faces, seed=seed, validation=0)
    weights = train(
        config, study.pack, run, initial=copy.deepcopy(network), occluder=occluder, resume=True,
        schedule=Schedule(workers=0, tensorboard=False),
    )  # fmt: skip
    return load_weights(weights)[0]


def table_9(
    study: Study, agents: Sequence[Agent], templates: Path, work: Path, *, faces: int, seeds: int, arms: Sequence[str]
) -> dict[str, Any]:
    """Fine-tune by every arm, on the same faces, and measure.

    Args:
        study: the frozen network and the faces.
        agents: those of HOFS, of several seeds. The last one is kept for the tests; an arm's run takes the next of the
            others. One alone serves for both, which favours HOFS.
        templates: mask templates for the stills.
        work: folder that keeps runs and scores, apart for other agents: they make the tests.
        faces: frames that each run trains on.
        seeds: runs of each arm.
        arms: some of `ARMS`.

    Returns:
        `faces`; `nme`: arm -> test -> mean NME for each seed, first that of the network before fine-tuning;
        `differences`: arm -> test -> HOFS minus the arm, with the interval over seeds and clips.
    """
    costs = mean_costs(study, agents[-1].patch_size, work)
    tests = make_tests(study, agents[-1], costs, templates, work)
    teachers = agents[:-1] or agents

    def kept(path: Path, tracker: StructuralRelationNetwork | None) -> Scores:
        if tracker is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(tests.scores(tracker)))
        scores: Scores = json.loads(path.read_text())
        return scores

    digests = " ".join(network_digest(agent.qnet) for agent in agents)
    folder = work / "table_9" / short_hash(digests)
    before = folder / "before.json"
    untuned = None if before.exists() else adapted(study.network, tracker_config(study.network.config).model)
    errors: dict[str, dict[str, list[list[float]]]] = {
        UNTUNED: {test: [each] for test, each in kept(before, untuned).items()}
    }
    for seed, name in itertools.product(range(seeds), arms):  # an interrupted study has whole seeds
        run = folder / f"{name.replace('/', '').replace(' ', '-')}-{seed}-{faces}"
        path = run / "scores.json"
        tracker = None
        if not path.exists():
            tracker = fine_tuned(name, study, teachers[seed % len(teachers)], costs, faces, seed, run)
        for test, each in kept(path, tracker).items():
            errors.setdefault(name, {}).setdefault(test, []).append(each)
        print(f"table 9: {name}, seed {seed}", flush=True)
    return {
        "faces": faces,
        "nme": {arm: {test: np.mean(e, axis=1).tolist() for test, e in by.items()} for arm, by in errors.items()},
        "differences": _differences(errors),
    }


def _differences(errors: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, tuple[float, float, float]]]:
    if LEARNED not in errors:
        return {}
    return {
        arm: {
            test: paired_difference(np.array(errors[LEARNED][test]), np.array(each), np.random.default_rng(0))
            for test, each in by_test.items()
        }
        for arm, by_test in errors.items()
        if arm != LEARNED
    }
