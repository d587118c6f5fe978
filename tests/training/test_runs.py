"""Run folders: one process at a time, a log without doubled or torn rows, an optimizer that goes on."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from rich.console import Console

from srn.errors import InputError, WeightsError
from srn.evaluation.run_folder import (
    AGENT_FILE,
    CONFIG_FILE,
    FACES_FILE,
    KEPT_AGENT,
    LOG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
)
from srn.files import csv_text
from srn.training.runs import (
    CsvLog,
    Run,
    RunLog,
    choose_device,
    continues,
    open_run,
    optimizer_state,
    part,
    process_group,
    restore_optimizer,
)

HOLDER = textwrap.dedent(
    """
    import sys, time
    from srn.training.runs import open_run
    with open_run(sys.argv[1], resume=False):
        print("held", flush=True)
        time.sleep(100)
    """
)


def test_a_second_process_on_one_folder_gets_one_clear_error(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        words = f"{tmp_path}: expected a run that no other process holds, found one at work there"
        with pytest.raises(InputError, match=f"^{re.escape(words)}$"), open_run(tmp_path, resume=False):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with open_run(tmp_path, resume=False) as run:  # a killed process leaves nothing locked
        assert run.folder == tmp_path


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    expected = pytest.raises(InputError, match="expected a folder that can be written")
    with expected, open_run(tmp_path / "file" / "run", resume=False):
        pass


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [LOG_FILE, CONFIG_FILE, FACES_FILE, KEPT_AGENT, WEIGHTS_FILE, AGENT_FILE])
def test_files_that_no_run_has_written_are_kept(tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / name).write_text("mine")
    message = re.escape(f"{tmp_path}: expected an empty or new folder, or that of a run, found another {name}")
    if name not in (CONFIG_FILE, FACES_FILE, KEPT_AGENT):
        with pytest.raises(InputError, match=message):
            continues(tmp_path, resume)
    with pytest.raises(InputError, match=message), open_run(tmp_path, resume=resume):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}

    (tmp_path / name).unlink()
    with open_run(tmp_path, resume=resume):
        (tmp_path / name).write_text("a run's, which was killed before it saved a state")
    with open_run(tmp_path, resume=resume) as run:
        assert not run.continues


def test_the_state_comes_back_only_to_the_same_run(tmp_path: Path) -> None:
    with open_run(tmp_path, resume=True) as run:
        assert run.saved_state({"pack": "a"}) is None
        run.save_state({"x": torch.ones(2)}, {"step": "3", "pack": "a"})
    with pytest.raises(InputError, match="a run that was already started there"), open_run(tmp_path, resume=False):
        pass
    with open_run(tmp_path, resume=True) as run:
        saved = run.saved_state({"pack": "a", "name that the file lacks": "b"})
        assert saved is not None
        assert saved[1] == {"step": "3", "pack": "a"}
        assert torch.equal(saved[0]["x"], torch.ones(2))
        with pytest.raises(WeightsError, match=f"{STATE_FILE}: expected a run with pack b, found a"):
            run.saved_state({"pack": "b"})


def test_resuming_where_nothing_was_saved_says_so(tmp_path: Path) -> None:
    said = io.StringIO()
    (tmp_path / "config.json").write_text("{}")
    assert not continues(tmp_path, True, Console(file=said))
    assert said.getvalue() == f"{tmp_path}: no run was saved there yet: a new one begins\n"
    assert not continues(tmp_path, False, Console(file=said))
    (tmp_path / STATE_FILE).write_bytes(b"")
    assert continues(tmp_path, True, Console(file=said))
    assert said.getvalue().count("\n") == 1


def log(folder: Path, done: int, console: Console) -> RunLog:
    return RunLog(Run(folder, done > 0, True), ("step", "loss"), done=done, total=9, unit="steps", console=console)


def test_a_resumed_log_has_each_step_once_and_no_torn_row(tmp_path: Path) -> None:
    said = io.StringIO()
    with log(tmp_path, 0, Console(file=said)) as before:
        for step in (2, 4, 6):
            before.write({"step": step, "loss": 0.5}, "fine", line=step != 4)
    assert said.getvalue() == "2/9  fine\n6/9  fine\n"
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write("8")  # killed in the middle of a row

    with log(tmp_path, 5, Console(file=said)) as after:
        after.write({"step": 6, "loss": ""}, "")
    assert said.getvalue().splitlines()[2:] == [f"{tmp_path}: goes on after 5 of 9 steps", "6/9  "]
    assert (tmp_path / LOG_FILE).read_text() == "step,loss\n2,0.5\n4,0.5\n6,\n"


@pytest.mark.parametrize("fused", [True, False])
def test_an_optimizer_goes_on_with_the_very_numbers(fused: bool) -> None:
    def steps(layer: torch.nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for number in range(count):
            x = torch.arange(2 * 3 * 25, dtype=torch.float32).view(2, 3, 5, 5).sin() + number
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()

    def made() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return layer, torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)

    whole, whole_optimizer = made()
    steps(whole, whole_optimizer, 1)
    # A file keeps no memory layout.
    kept = {name: tensor.clone().contiguous() for name, tensor in optimizer_state(whole_optimizer).items()}
    weights = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    resumed, optimizer = made()
    resumed.load_state_dict(weights)
    restore_optimizer(optimizer, kept | {"network.weight": torch.zeros(1)})

    steps(whole, whole_optimizer, 2)
    steps(resumed, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_parts_of_a_state() -> None:
    assert part({"a.x": torch.ones(1), "b.x": torch.ones(1), "a.y.z": torch.ones(1)}, "a.").keys() == {"x", "y.z"}


def test_one_process_is_its_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group(choose_device("cpu")) as processes:
        assert processes == (0, 1)


def test_processes_wait_for_each_other_before_they_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless one failed: the others may be anywhere."""
    calls: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)

    with process_group(choose_device("cpu")) as processes:
        assert processes == (1, 2)
    with pytest.raises(InputError), process_group(choose_device("cpu")):
        raise InputError("no faces")

    begin, wait, end = "init_process_group", "barrier", "destroy_process_group"
    assert calls == [begin, wait, end, begin, end]


def test_a_log_grows_by_a_row_and_drops_the_rows_that_a_resumed_run_repeats(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.csv"
    log = CsvLog(path, ("step", "loss"))
    for step in (10, 20, 30):
        log.append({"loss": step / 100, "step": step})
    assert path.read_bytes() == b"step,loss\n10,0.1\n20,0.2\n30,0.3\n"
    resumed = CsvLog(path, ("step", "loss"), last=20)
    assert path.read_text() == "step,loss\n10,0.1\n20,0.2\n"
    resumed.append({"step": 30, "loss": ""})
    assert path.read_text() == "step,loss\n10,0.1\n20,0.2\n30,\n"


def test_a_log_of_older_columns_gets_the_new_ones_empty(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(csv_text([("step", "old", "loss"), (1, 2, 3)]))
    CsvLog(tmp_path / "log.csv", ("step", "loss", "new"), last=5, line_end="\r\n")
    assert (tmp_path / "log.csv").read_bytes() == b"step,loss,new\r\n1,3,\r\n"


def test_a_torn_or_foreign_row_of_a_log_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,2\nx,3\n,4\n2,0.1\n3,0")
    CsvLog(tmp_path / "log.csv", ("step", "loss"), last=9)
    assert (tmp_path / "log.csv").read_text() == "step,loss\n1,2\n2,0.1\n"


def test_a_log_on_a_full_disk_is_named_and_tensorboard_ends_no_run(tmp_path: Path) -> None:
    class Board:
        def add_scalar(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    said = io.StringIO()
    with log(tmp_path, 0, Console(file=said)) as opened:
        opened._board = Board()
        opened.write({"step": 1, "loss": 0.5}, "")
        opened.write({"step": 2, "loss": 0.5}, "")
        assert said.getvalue().count("TensorBoard's file cannot be written: No space left on device\n") == 1
        (tmp_path / LOG_FILE).unlink()
        (tmp_path / LOG_FILE).symlink_to("/dev/full")
        message = re.escape(
            f"{tmp_path / LOG_FILE}: expected a file that can be written, found No space left on device"
        )
        with pytest.raises(InputError, match=message):
            opened.write({"step": 3, "loss": 0.5}, "")
