"""The examples and the notebook run, in this process, and give what they promise."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import runpy
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn import FaceLandmarker
from srn.media.pictures import read_image
from srn.media.video_writing import VideoWriter

EXAMPLES = Path(__file__).parents[1] / "examples"
ASTRONAUT = Path(__file__).parent / "data" / "astronaut.jpg"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a portrait and a short video of it that sways."""
    shutil.copy(ASTRONAUT, tmp_path / "portrait.jpg")
    image = read_image(ASTRONAUT)
    with VideoWriter(tmp_path / "clip.mp4", 30.0) as writer:
        for k in range(4):
            shift = np.array([[1, 0, 2.0 * k], [0, 1, 0]])
            moved = cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
            writer.write(moved.astype(np.uint8), k / 30)
        writer.complete()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def difference(one: Path, other: Path) -> npt.NDArray[np.float64]:
    """(H, W) mean absolute difference of two pictures over their colours."""
    return np.abs(read_image(one).astype(float) - read_image(other)).mean(axis=-1)


def test_photo(desk: Path, capsys: pytest.CaptureFixture[str], portraits: list[Any]) -> None:
    example("photo").main(["portrait.jpg", "--out", "drawn.png"])

    found = re.search(r"nose at \((\d+), (\d+)\), 0 of 68 points hidden", capsys.readouterr().out)
    assert found is not None
    nose = portraits[1].landmarks[27:36].mean(axis=0)
    assert np.abs(np.array([found[1], found[2]], float) - nose).max() < 2
    changed = np.argwhere(difference(desk / "drawn.png", desk / "portrait.jpg") > 30)
    low, high = portraits[1].landmarks.min(axis=0)[::-1], portraits[1].landmarks.max(axis=0)[::-1]
    assert (changed.min(axis=0) > low - 30).all()
    assert (changed.max(axis=0) < high + 30).all()


def test_folder(desk: Path) -> None:
    cv2.imwrite(str(desk / "empty.png"), np.full((60, 80, 3), 128, np.uint8))

    example("folder").main([".", "--out", "table.csv"])

    with open(desk / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["portrait.jpg"]
    assert float(rows[0]["confidence"]) > 0.7
    assert int(rows[0]["visible"]) > 60


def test_video(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("video").main(["clip.mp4", "--out", "overlay.mp4"])

    assert "1 tracked" in capsys.readouterr().out
    capture = cv2.VideoCapture(str(desk / "overlay.mp4"))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == 4


def test_webcam_with_a_video_instead_of_a_camera(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("webcam")
    monkeypatch.setattr(module, "has_windows", lambda: False)

    module.main(["clip.mp4"])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("face 1 seen" in line for line in lines)


def test_blur(desk: Path, portraits: list[Any]) -> None:
    example("blur").main(["portrait.jpg", "--out", "covered.png", "--style", "fill"])
    example("blur").main(["portrait.jpg", "--out", "eyes.png", "--target", "eyes"])

    def touched(name: str, point: npt.NDArray[np.float64]) -> bool:
        x, y = point.round().astype(int)
        return bool(difference(desk / name, desk / "portrait.jpg")[y - 3 : y + 4, x - 3 : x + 4].max() > 5)

    landmarks = portraits[1].landmarks
    assert all(touched("covered.png", point) for point in landmarks)
    assert all(touched("eyes.png", point) for point in landmarks[36:48])
    assert not touched("eyes.png", landmarks[57])  # the lower lip
    assert not touched("covered.png", np.array([8.0, 8.0]))


def test_pose(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture turned by 20 degrees turns the head's roll by 20 degrees, and nothing else."""
    image = read_image(ASTRONAUT)
    turn = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), -20, 1.0)  # clockwise
    turned = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    cv2.imwrite(str(desk / "turned.png"), turned[..., ::-1])

    example("pose").main(["portrait.jpg", "--out", "pose.png"])
    example("pose").main(["turned.png", "--out", "pose.png"])

    found = re.findall(r"face 1: yaw (-?\d+), pitch (-?\d+), roll (-?\d+)", capsys.readouterr().out)
    upright, leaning = np.array(found, float)
    assert np.abs(upright).max() < 25
    np.testing.assert_allclose(leaning - upright, [0, 0, 20], atol=4)


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service on this machine that wants the token `secret`."""
    uvicorn = pytest.importorskip("uvicorn", reason="the service needs srn[serve]")
    pytest.importorskip("fastapi", reason="the service needs srn[serve]")
    pytest.importorskip("prometheus_client", reason="the service needs srn[serve]")
    from srn.serve.app import make_app

    with socket.create_server(("127.0.0.1", 0)) as place:
        app = make_app(FaceLandmarker(threads=1), token="secret")
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_client(desk: Path, service: str, portraits: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    client = example("client")

    client.main(["portrait.jpg", "--url", service, "--token", "secret"])

    found = re.search(r"portrait.jpg: face 1, tip of the nose at \((\d+), (\d+)\)", capsys.readouterr().out)
    assert found is not None
    assert np.abs(np.array([found[1], found[2]], float) - portraits[1].landmarks[30]).max() < 2
    with pytest.raises(SystemExit, match="401: expected the header"):
        client.main(["portrait.jpg", "--url", service])
    with pytest.raises(SystemExit, match="Connection refused; is `srn serve` running"):
        client.main(["portrait.jpg", "--url", "http://127.0.0.1:1"])


def test_the_notebook(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells run one after another, and it holds no output that could grow stale."""
    notebook = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    values: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), values)
    assert values["moved"] < 5  # % of the inter-ocular distance, behind the mask
    assert (values["masked"].visibility[values["mouth"]] < 0.5).all()
    assert values["numbers"] == {1}


@pytest.mark.parametrize("name", ["photo", "folder", "video", "blur", "pose"])
def test_a_broken_file_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    given = tmp_path if name == "folder" else tmp_path / "broken.jpg"
    monkeypatch.setattr(sys, "argv", [name, str(given), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"^[^\n]*broken\.jpg: expected a [^\n]*$"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_a_missing_camera_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    level = cv2.utils.logging.getLogLevel()
    monkeypatch.setattr(sys, "argv", ["webcam", "97"])
    try:
        with pytest.raises(SystemExit, match=r"^camera 97: [^\n]*$"):
            runpy.run_path(str(EXAMPLES / "webcam.py"), run_name="__main__")
    finally:
        cv2.utils.logging.setLogLevel(level)
    assert capfd.readouterr().err == ""  # nothing of OpenCV's beside it


def test_every_example_is_tested_and_listed() -> None:
    programs = {path.stem for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f'example("{name}")' in tests for name in programs - {"onnx_only"}), programs
    assert all(f"{name}.py" in listed for name in programs), programs
