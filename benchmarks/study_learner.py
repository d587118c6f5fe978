"""What helps the agent's learner, one change at a time, on the same experience; writes `docs/results/hofs_learner.md`.

    python tools/study_learner.py DATA PACK --weights WEIGHTS --work RUNS [--seeds 3]

DATA, PACK and WEIGHTS: as in `tools/measure_hofs.py`. Experience is played at random and once, and all learners learn
from it: so a variant costs a minute and not a run, and differs from the others in nothing but itself. What this leaves
out is an agent's influence on what it sees. RUNS keeps what the frozen network says of the test clips.
"""

from __future__ import annotations

import dataclasses
import datetime
import platform
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from measure_hofs import NOISE, TestSet, frozen_network, make_test_set, reached, study_parser, test_faces
from torch import Tensor

from srn.datasets.pack import FacePack
from srn.files import write_atomically
from srn.hofs.baselines import best_trajectory, greedy_trajectory, random_walk, trajectory_reward
from srn.hofs.clips import AnimatedClips
from srn.hofs.config import AgentConfig
from srn.hofs.features import place_features
from srn.hofs.learner import Learner, new_qnet
from srn.hofs.qnet import QNet
from srn.hofs.scenes import Place, Scenes, next_landmark
from srn.hofs.world import OcclusionWorld

LETTER: dict[str, Any] = {
    "target_every": 0, "double_q": False, "dropout": 0.0, "loss": "squared", "clip_end": "terminal",
}  # fmt: skip
RAW = "the same, values in units of the error"
VARIANTS: dict[str, dict[str, Any]] = {
    "all of it": {},
    "no double Q": {"double_q": False},
    "no target network, no double Q": {"target_every": 0, "double_q": False},
    "no dropout": {"dropout": 0.0},
    "squared loss": {"loss": "squared"},
    "a clip's end ends the return": {"clip_end": "terminal"},
    "gamma 0: the next step alone": {"discount": 0.0},
    "eq. 12 to the letter": LETTER,
    RAW: LETTER,
}
"""RAW is the head without a unit of its own: what the learner was before it had one."""


def starts(n_points: int) -> list[int]:
    """Every fourth landmark."""
    return list(range(0, n_points, 4))


def features_of(qnet: QNet, test: TestSet) -> list[list[Tensor]]:
    """Features (N, F) of all places of each frame of each clip, in half precision."""
    with torch.no_grad():
        return [
            [
                place_features(
                    qnet, test.scenes, [Place(clip, frame, k, NOISE) for k in range(table.shape[1])]
                ).half()
                for frame in range(len(table))
            ]
            for clip, table in enumerate(test.tables)
        ]


def walk(values: npt.NDArray[np.float32], start: int) -> npt.NDArray[np.int64]:
    """The path (T,) of an agent with the values (T, N)."""
    path = []
    for row in values:
        candidates = [next_landmark(start, action, len(row)) for action in range(3)]
        start = candidates[int(np.argmax(row[candidates]))]
        path.append(start)
    return np.array(path)


def mean_reward(test: TestSet, path: Any) -> float:
    """Mean over clips and starts of `path(clip, table, start)`'s reward."""
    return float(
        np.mean([trajectory_reward(t, path(k, t, s)) for k, t in enumerate(test.tables) for s in starts(t.shape[1])])
    )


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--transitions", type=int, default=9216)
    parser.add_argument("--frames", type=int, default=2, help="of the clips that are learned from")
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--test-clips", type=int, default=16)
    arguments = parser.parse_args()
    network, localizer = frozen_network(arguments.weights)
    pack = FacePack.load(arguments.pack)
    _, held_out = test_faces(arguments.data)
    spec = network.config.crop_spec
    test = make_test_set(
        "animated", AnimatedClips(held_out, spec, 16, seed=1), arguments.test_clips, localizer, arguments.work
    )
    base = AgentConfig(
        transitions=arguments.transitions, warm_up=arguments.transitions, replay="single-queue",
        capacity=arguments.transitions, train_encoder=False, precision="auto",
    )  # fmt: skip
    clips = AnimatedClips(pack, spec, arguments.frames, seed=0, count=arguments.transitions // arguments.frames)
    world = OcclusionWorld(Scenes(clips), localizer, reward=base.reward)
    player = Learner(base, world, new_qnet(base, network))
    while player.transitions < arguments.transitions:
        player.play()
        if player.rounds % 50 == 0:
            print(f"{player.transitions} transitions", flush=True)
    seen = features_of(player.qnet, test)

    def follow(qnet: QNet) -> float:
        with torch.no_grad():
            values = [torch.stack([qnet.value(f.float()) for f in frames]).numpy() for frames in seen]
        return mean_reward(test, lambda clip, _, start: walk(values[clip], start))

    rng = np.random.default_rng(0)
    random = float(
        np.mean([mean_reward(test, lambda _, t, s: random_walk(len(t), t.shape[1], s, rng)) for _ in range(10)])
    )
    best = mean_reward(test, lambda _, table, start: best_trajectory(table, start))

    def others(clip: int, table: npt.NDArray[np.float64], start: int) -> npt.NDArray[np.int64]:
        mean = np.mean([t.mean(axis=0) for k, t in enumerate(test.tables) if k != clip], axis=0)
        return best_trajectory(np.repeat(mean[None], len(table), axis=0), start)

    greedy = mean_reward(test, lambda _, table, start: greedy_trajectory(table, start))
    lines = [
        "| learner | reached |",
        "|---|---|",
        f"| greedy oracle, one step | {reached(greedy, random, best) * 100:.0f} % |",
        f"| best path over the mean cost of each landmark in the other clips | "
        f"{reached(mean_reward(test, others), random, best) * 100:.0f} % |",
    ]
    for name, changes in VARIANTS.items():
        ways = []
        for seed in range(arguments.seeds):
            config = dataclasses.replace(base, **changes, seed=seed)
            learner = Learner(config, world, new_qnet(config, network), player.memory)
            learner.replay = player.replay
            learner.learn()
            if name == RAW:
                offset = float((learner.qnet.head[-1].bias * learner.qnet.scale).detach())  # type: ignore[operator]
                learner.qnet.start_from(offset, 1.0)
            for _ in range(arguments.updates - 1):
                learner.learn()
            ways.append(reached(follow(learner.qnet), random, best))
        spread = f" +- {np.std(ways, ddof=1) * 100:.0f}" if len(ways) > 1 else ""
        lines.append(f"| {name} | {np.mean(ways) * 100:.0f}{spread} % |")
        print(lines[-1], flush=True)
    command = (
        f"python tools/study_learner.py DATA PACK --weights WEIGHTS --work RUNS --seeds {arguments.seeds} "
        f"--transitions {arguments.transitions} --frames {arguments.frames} --updates {arguments.updates} "
        f"--test-clips {len(test.tables)}"
    )
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    text = [
        "# HOFS: what helps the learner",
        "",
        f"`{command}` on {today}, {torch.get_num_threads()} thread(s), {platform.machine()}; frozen network "
        f"`{arguments.weights.name}`." + (f" {arguments.note}" if arguments.note else ""),
        "",
        f"Every learner learns the head alone, from the same {arguments.transitions} transitions of random walks in "
        f"{len(clips)} clips of {arguments.frames} frames. `reached`: the share of the way from a random walk to the "
        f"best path, on {len(test.tables)} animated clips of test faces from {len(starts(test.scenes.n_points))} "
        f"starts each; mean and standard deviation over {arguments.seeds} seeds.",
        "",
        *lines,
    ]
    write_atomically(arguments.out / "hofs_learner.md", ("\n".join(text) + "\n").encode())
    print("\n".join(text))


if __name__ == "__main__":
    main()
