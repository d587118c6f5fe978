"""Interrupt commands at random moments by SIGKILL, SIGTERM and SIGINT, and compare what they leave, and give when they
are repeated, with undisturbed runs.

Each moment is a run of its own in a folder where an older result may lie. After it no file may be broken or lost, and a
process that could end in order says so in one line (exit 130) and leaves nothing unfinished. Then the command runs
again, a training with `--resume`, and must give the files of the undisturbed run. The inputs are four small pictures of
a face, a video of it, and a network of 8 channels. The results are `docs/results/interruptions.md` and `.json`.

    python benchmarks/measure_interruptions.py --moments 51
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gc
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from interrupted import Ended, Strike, Tree, faults, forked, prepared, remains, run_srn, tree, unequal
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn.errors import InputError
from srn.evaluation.provenance import commit
from srn.media.pictures import write_image
from srn.media.pts import write_pts
from srn.media.video_writing import VideoWriter

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
INTERRUPTED = 130
STARTED = 0.01
"""Seconds of processor time after which a forked process has come to the command."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command that is interrupted.

    Attributes:
        words: its arguments; the inputs lie in `../inputs`.
        older: further arguments, with which it makes an older result; None: it starts in an empty folder.
        again: further arguments when it is repeated.
        fresh: whether it runs in a process that loads the libraries itself.
    """

    words: str
    older: str | None = None
    again: str = ""
    fresh: bool = False


INPUTS = "../inputs"
TRAINING = f"--data {INPUTS}/faces.npz --out run --device cpu --precision float32 "
NETWORK = (
    "--set model.crop_size=48 --set model.face_size=32 --set model.iterations=1 --set model.landmark_features=4"
    " --set model.hidden_size=4 --set model.region_size=4 --set model.component_size=4 --set model.stem_channels=4"
    " --set model.map_channels=4,4,4 --set validation=1"
)
WEIGHTS = f"--weights {INPUTS}/tiny.onnx --threads 1"
DETECT = f"detect {INPUTS}/faces --boxes {INPUTS}/boxes.json {WEIGHTS}"

COMMANDS = {
    "train": Command(
        f"train {TRAINING} {NETWORK} --set batch_size=2 --faces 12 --save-every 2 --workers 1", again="--resume"
    ),
    "train --clips": Command(
        f"train --clips {TRAINING} --initial {INPUTS}/tiny.safetensors --set clips.frames=2 --set batch_size=4"
        " --set validation=1 --faces 16 --save-every 2 --workers 0",
        again="--resume",
    ),
    "hofs train": Command(
        f"hofs train --data {INPUTS}/faces.npz --weights {INPUTS}/tiny.safetensors --out run --device cpu --frames 3"
        " --transitions 12 --set lanes=2 --set batch_size=4 --set warm_up=4 --set updates=1 --save-every 2",
        again="--resume",
    ),
    "evaluate": Command(
        f"evaluate {INPUTS}/faces {WEIGHTS} --cache cache --json faces.json --ced faces.svg", "--no-flip-average"
    ),
    "mask": Command(f"mask {INPUTS}/faces masked --seed 0", "--misfit 0.1"),
    "mask, videos": Command(f"mask {INPUTS}/300VW masked --seed 0", "--misfit 0.1"),
    "data pack": Command(f"data pack {INPUTS}/faces --out faces.npz", "--quality 60"),
    "export": Command(f"export {INPUTS}/tiny.safetensors --out tiny.onnx", "--precision float32"),
    "track": Command(f"track {INPUTS}/video.mp4 --out drawn.mp4 --json faces.jsonl {WEIGHTS}", "--frames 2"),
    "detect, JSON": Command(f"{DETECT} --json faces.json --out drawn", "--flip-average"),
    "detect, lines": Command(f"{DETECT} --json faces.jsonl --out drawn --format pts", "--flip-average"),
    "start of detect": Command(f"{DETECT} --json faces.json", fresh=True),
}  # fmt: skip
"""A further command is a further entry."""


def make_inputs(folder: Path) -> None:
    """Make the inputs of all commands."""
    import torch

    from measure_recovery import Portrait, background
    from srn.datasets.catalogue import open_faces
    from srn.model.checkpoint import save_network
    from srn.model.config import preset
    from srn.model.export import export_onnx
    from srn.model.network import StructuralRelationNetwork

    portrait, boxes = Portrait(), {}
    for number in range(4):
        image = background(number)[:160, :160]
        points = portrait.paste(image, 80, 80, 70 + 5 * number, 0.1 * number)
        write_image(folder / "faces" / f"face{number}.png", image)
        write_pts(folder / "faces" / f"face{number}.pts", points)
        boxes[f"face{number}.png"] = [[*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]]
        for clip in (folder / "300VW" / "001", folder / "300VW" / "002"):
            write_image(clip / "imgs" / f"{number + 1:06d}.jpg", image)
            write_pts(clip / "annot" / f"{number + 1:06d}.pts", points)
    (folder / "boxes.json").write_text(json.dumps(boxes))
    with VideoWriter(folder / "video.mp4", 25.0) as video:
        for number in range(12):
            image = background(0)[:160, :200].copy()
            portrait.paste(image, 80 + 3 * number, 80, 80, 0)
            video.write(image, number / 25)
    torch.manual_seed(0)
    config = preset(
        "robust", crop_size=64, face_size=40.0, iterations=1, landmark_features=8, hidden_size=8, region_size=8,
        component_size=8, stem_channels=8, map_channels=(8, 8, 8),
    )  # fmt: skip
    pack, _ = open_faces(folder / "faces").to_pack()
    pack.save(folder / "faces.npz")
    mean = portrait.points - portrait.points.mean(axis=0)
    network = StructuralRelationNetwork(config, (mean / np.ptp(mean)).astype(np.float32)).eval()
    save_network(folder / "tiny.safetensors", network)
    export_onnx(network, folder / "tiny.onnx", provenance={"data": "nothing"})


class Trials:
    """All trials of one command in a folder that has the inputs.

    Attributes:
        before: the files of an older result and a bystander, which must survive.
        whole: the files of an undisturbed run; `unequal` are the names of those that a second one gives otherwise.
    """

    def __init__(self, name: str, command: Command, folder: Path) -> None:
        self.command, self._folder, self._count = command, folder, 0
        self._name = "".join(letter if letter.isalnum() else "-" for letter in name)
        self.bystander: Tree = {"bystander.txt": b"mine"}
        self.before: Tree = self.bystander
        if command.older is not None:
            self.before = self._undisturbed(self.bystander, command.older)[0]
        self.whole, ended = self._undisturbed(self.bystander)
        second, _ = self._undisturbed(self.before)
        self.seconds = ended.seconds
        self.unequal = unequal(second, self.whole, folder)

    def _new(self, before: Tree) -> Path:
        self._count += 1
        return prepared(self._folder / f"{self._name}{self._count}", before)

    def _run(self, place: Path, more: str = "", strike: Strike | None = None) -> Ended:
        return run_srn([*self.command.words.split(), *more.split()], place, strike, fresh=self.command.fresh)

    def _undisturbed(self, before: Tree, more: str = "") -> tuple[Tree, Ended]:
        place = self._new(before)
        ended = self._run(place, more)
        if ended.code != 0:
            raise InputError.at(self.command.words, "an undisturbed run", f"exit {ended.code}: {ended.said[-500:]}")
        return tree(place), ended

    def trial(self, number: signal.Signals, chance: random.Random) -> dict[str, Any] | None:
        """Interrupt one run and repeat it; None where it ended before its moment."""
        before = chance.choice([self.before, self.bystander])
        share = chance.random()
        to_group = number == signal.SIGINT or (number == signal.SIGTERM and chance.random() < 0.5)
        place = self._new(before)
        ended = self._run(place, strike=Strike(number, max(share * self.seconds, STARTED), to_group))
        if not ended.struck:
            shutil.rmtree(place)
            return None
        found = tree(place)
        wrong = faults(found, before, self.whole, stopped=ended.code < 0, folder=self._folder)
        expected = -number if number == signal.SIGKILL else INTERRUPTED
        # 0: its outputs were being completed; SIGTERM: its libraries were being loaded.
        if ended.code not in (expected, 0, -signal.SIGTERM if number == signal.SIGTERM else expected):
            wrong.append(f"exit {ended.code}: {ended.said[-300:]}")
        if "Traceback" in ended.said or (ended.code == INTERRUPTED and "interrupted" not in ended.said):
            wrong.append(f"said: {ended.said[-300:]}")
        repeated = self._run(place, self.command.again)
        other = unequal(tree(place), self.whole, self._folder)
        wrong += [f"after repeating: {name}" for name in other if name not in self.unequal]
        if repeated.code != 0:
            wrong.append(f"repeating: exit {repeated.code}: {repeated.said[-300:]}")
        if not wrong:
            shutil.rmtree(place)
        return {"signal": number.name, "at": round(share, 3), "code": ended.code, "remains": len(remains(found)),
                "faults": wrong, "place": place.name if wrong else ""}  # fmt: skip


def measure(name: str, moments: int, folder: Path, seed: int) -> dict[str, Any]:
    """Interrupt a command at some moments, by each signal in turn."""
    trials, chance = Trials(name, COMMANDS[name], folder), random.Random(f"{name}{seed}")
    found: list[dict[str, Any]] = []
    for _ in range(4 * moments):
        if len(found) == moments:
            break
        trial = trials.trial(SIGNALS[len(found) % len(SIGNALS)], chance)
        found += [trial] if trial else []
        if trial and trial["faults"]:
            print("  ", trial, flush=True)
    counts = collections.Counter(trial["signal"] for trial in found)
    return {
        "moments": len(found), **{number.name: counts[number.name] for number in SIGNALS},
        "seconds": round(trials.seconds, 2), "median_at": round(statistics.median(t["at"] for t in found), 2),
        "remains": sum(trial["remains"] for trial in found), "not_compared": trials.unequal,
        "faulty": [trial for trial in found if trial["faults"]],
    }  # fmt: skip


def page(content: dict[str, Any]) -> str:
    kinds = ("broken", "lost", "after repeating")
    rows = []
    for name, row in content["commands"].items():
        lines = [fault for trial in row["faulty"] for fault in trial["faults"]]
        counts = [sum(line.startswith(kind) for line in lines) for kind in kinds]
        rows.append([name, str(row["moments"]), *(str(row[number.name]) for number in SIGNALS), f"{row['seconds']:.1f}",
                     str(row["remains"]), *map(str, counts), str(len(lines) - sum(counts)),
                     row.get("commit", "")])  # fmt: skip
    total = [sum(row["moments"] for row in content["commands"].values())]
    total += [sum(int(row[column]) for row in rows) for column in range(2, 5)]
    rows.append(
        ["all", *map(str, total), "", *(str(sum(int(row[column]) for row in rows)) for column in range(6, 11)), ""]
    )
    columns = ["command", "moments", *(number.name for number in SIGNALS), "processor seconds of a run", "remains",
               "broken files", "lost files", "files unequal after repeating", "other faults", "commit"]  # fmt: skip
    differing = {f"{name}: {file}" for name, row in content["commands"].items() for file in row["not_compared"]}
    notes = [
        f"seed {content['seed']}; moments are uniform in the processor time of an undisturbed run",
        "remains: hidden `.NAME.XXXXXXXX.partial` files of killed processes, which every command passes over",
        "compared byte for byte: every result file, weights and optimizer state too, whatever the order of their names;"
        " of a log all but the columns of time; videos by times and pixels of frames; TensorBoard's files are not",
        f"not compared, since two undisturbed runs differ: {', '.join(sorted(differing)) or 'none'}",
        "other faults: an exit code that is not 130, a traceback, remains of a process that could end in order",
    ]
    return markdown_page("Interruptions", content, notes, markdown_table(columns, rows))


def run(options: argparse.Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="interruptions-"))
    inputs = folder / "inputs"
    if not inputs.exists():
        inputs.mkdir(parents=True)
        _, status = os.waitpid(forked(lambda: make_inputs(inputs), inputs), 0)
        if status:
            raise InputError.at("inputs", "to be made", Path(f"{inputs}.stderr").read_text()[-500:])
    _load_libraries()
    measured = {}
    if options.keep:
        measured = json.loads((options.out / "interruptions.json").read_text())["commands"]
    for name in options.commands or COMMANDS:
        row = measure(name, options.moments, folder, options.seed)
        print(name, {key: value for key, value in row.items() if key != "faulty"}, flush=True)
        measured[name] = {**row, "commit": commit()}
        rows = {name: measured[name] for name in COMMANDS if name in measured}
        content = {**provenance(options.threads), "seed": options.seed, "commands": rows}
        write_results(options.out, "interruptions", content, page(content))
    if options.folder is None:
        shutil.rmtree(folder)


def _load_libraries() -> None:
    """Load what the commands load, so that forked processes have it; nothing is computed, which could start threads."""
    import av  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401
    import typer._adapters  # noqa: F401

    import srn.cli.main
    import srn.evaluation.report.chart_file
    import srn.hofs.run
    import srn.model.export
    import srn.training.start

    for name in srn.cli.main.COMMANDS:
        srn.cli.main.command_line(name)
    gc.collect()
    gc.freeze()  # or every process would look through all of it, and copy its memory


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("--moments", type=int, default=51, help="moments of each command (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--commands", nargs="+", choices=COMMANDS, help="these alone")
    made.add_argument("--keep", action="store_true", help="keep the rows of an earlier run for the other commands")
    made.add_argument("--folder", type=Path, help="working folder, kept with all faulty trials; a temporary one")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())
