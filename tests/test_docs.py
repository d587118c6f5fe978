"""The documents: everything they name exists, every snippet runs, every command line is accepted."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from matplotlib.cbook import get_sample_data

from srn.cli import main
from srn.face.weights import CATALOGUE
from srn.inference import face_finder, parts, proposals, runtime, sessions
from srn.media.pictures import read_image
from srn.media.video_writing import VideoWriter

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "srn"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "examples" / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "results" not in page.relative_to(ROOT).parts),
]
PAGES = [*DOCUMENTS, *sorted((ROOT / "docs" / "results").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Snippet:
    """A fenced block; `flags` is the rest of its first line, such as `no-run`."""

    document: Path
    line: int
    language: str
    flags: str
    text: str


def snippets(document: Path) -> Iterator[Snippet]:
    content = document.read_text(encoding="utf-8")
    for match in FENCE.finditer(content):
        line = content.count("\n", 0, match.start()) + 2
        yield Snippet(document, line, match[1], match[2].strip(), match[3])


# --- names and links


def rows() -> list[tuple[str, str]]:
    """Second and third column of the paper map's first table: names, and the modules that hold them."""
    lines = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return [(row[1], row[2]) for row in cells if len(row) == 3 and "`" in row[2]]


@pytest.mark.parametrize(("names", "modules"), rows(), ids=[names[:40] for names, _ in rows()])
def test_the_paper_map_names_what_is_there(names: str, modules: str) -> None:
    files = [SOURCE / f"{module.replace('.', '/')}.py" for module in re.findall(r"`([a-z_0-9.]+)`", modules)]
    assert files
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for name in re.findall(r"`([^`]+)`", names):
        if name.startswith("srn ") or name.endswith(".toml"):  # commands, data
            continue
        word = re.split(r"[. (=]", name.lstrip("."))
        assert re.search(rf"\b{word[-1] if word[-1].isidentifier() else word[0]}\b", text), f"{name} in {modules}"


RESULTS = [page for pattern in ("*.md", "*/README.md") for page in sorted((ROOT / "docs" / "results").glob(pattern))]
RECORD = re.compile(r"^> \*\*A record\*\*: .+$", re.MULTILINE)


@pytest.mark.parametrize("page", RESULTS, ids=name_of)
def test_results_can_be_made_again_or_say_that_they_are_a_record(page: Path) -> None:
    """A page names a script or a command that exists, and weights that are in the repository; a record the former."""
    text = page.read_text(encoding="utf-8")
    record = RECORD.search(text)
    source = record[0] if record else text
    scripts, commands = re.findall(r"(?:python |`)(\w+/\w+\.py)", source), re.findall(r"srn ([a-z]\w+)\b", source)
    assert scripts or commands
    assert all((ROOT / script).is_file() for script in scripts), scripts
    assert set(commands) <= set(main.COMMANDS), commands
    if record is None:
        known = {one.file: one.sha256 for one in CATALOGUE}
        for name, digest in re.findall(r"([\w-]+\.onnx)@([0-9a-f]{12})", text):
            assert known.get(name, "").startswith(digest), f"{name}@{digest} is not in the repository"


@pytest.mark.parametrize("document", PAGES, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        command = re.fullmatch(r"(?:\.\./|reference/)*cli/(\w+)\.md", target)  # made by docs/site/hooks.py
        if command:
            assert command[1] in (*main.COMMANDS, "index"), target
        elif "://" not in target and not target.startswith("mailto:"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_modules_and_files_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"`(srn(?:\.\w+)+)", text):
        assert is_importable(name), name
    for path in re.findall(r"`((?:src|tests|benchmarks|docs|licenses)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def is_importable(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of a module or class."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("srn"):  # an optional package is not here
                places = [ROOT.joinpath("src", *parts[:n]).with_suffix(".py") for n in range(2, len(parts) + 1)]
                return any(place.is_file() for place in places)
            continue
        for attribute in parts[count:]:
            known = {*getattr(found, "__dataclass_fields__", ()), *getattr(found, "__annotations__", ())}
            if attribute in known:
                return True
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


# --- snippets that run


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory that the documents assume: a portrait, pictures, boxes, a video, 300W if it is here."""
    portrait = get_sample_data("grace_hopper.jpg", asfileobj=False)
    shutil.copy(str(portrait), tmp_path / "portrait.jpg")
    (tmp_path / "holiday").mkdir()
    shutil.copy(str(portrait), tmp_path / "holiday" / "hopper.jpg")
    (tmp_path / "boxes.json").write_text('{"portrait.jpg": [[175, 174, 355, 334]]}')
    with VideoWriter(tmp_path / "clip.mp4", 30.0) as writer:
        for k in range(2):
            writer.write(read_image(tmp_path / "portrait.jpg"), k / 30)
        writer.complete()
    data = ROOT.parent / "shared" / "data" / "300W"
    if data.is_dir():
        (tmp_path / "300W").symlink_to(data)
    for place in (runtime, face_finder, proposals, parts):
        monkeypatch.setattr(place, "open_session", opened_once)
    monkeypatch.chdir(tmp_path)
    return tmp_path


_sessions: dict[tuple[bytes, str], sessions.Session] = {}


def opened_once(content: bytes, *place: Any, **options: Any) -> sessions.Session:
    """Open a session, or return it if it is open: snippets open the same networks again and again."""
    key = hashlib.sha256(content).digest(), str(sorted(options.items()))
    if key not in _sessions:
        _sessions[key] = sessions.open_session(content, *place, **options)
    return _sessions[key]


def runs(snippet: Snippet) -> bool:
    """Whether a block runs: Python unless it is marked `no-run`, commands if they are marked `run`."""
    missing = [name for name in ("torch",) if name in snippet.flags.split() and not importlib.util.find_spec(name)]
    wanted = {"python": "no-run" not in snippet.flags, "sh": "run" in snippet.flags.split()}
    return wanted.get(snippet.language, False) and not missing


OUTPUTS = ("--out", "--json", "--jsonl", "--plot", "--sheet")


def run_commands(text: str) -> None:
    """Run each line, and look for the files that it promises."""
    for line in text.splitlines():
        program, *words = words_of(line)
        assert program == "srn", line
        assert main.command_line(words[0])(words, standalone_mode=False) in (None, 0), line
        promised = [words[k + 1] for k, word in enumerate(words) if word in OUTPUTS]
        assert all(Path(output).exists() for output in promised), line


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(runs(s) for s in snippets(d))], ids=name_of)
def test_snippets_run(document: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks of a document run one after another; those marked `no-run` need files of the reader's own."""
    values: dict[str, Any] = {"frames": [read_image(desk / "portrait.jpg")] * 2}
    for snippet in snippets(document):
        needs_data = '"300W"' in snippet.text and not (desk / "300W").exists()
        if snippet.language == "python":  # also one that does not run
            code = compile("\n" * (snippet.line - 1) + snippet.text, str(document), "exec")
        if needs_data or not runs(snippet):
            continue
        if snippet.language == "python":
            exec(code, values)
        else:
            run_commands(snippet.text)
    capsys.readouterr()


# --- command lines


@dataclass(frozen=True)
class CommandLine:
    """A command of a document; `whole` if it stands in a block, where nothing may be missing."""

    document: Path
    text: str
    whole: bool


def command_lines(document: Path) -> Iterator[CommandLine]:
    content = document.read_text(encoding="utf-8")
    for snippet in snippets(document):
        if snippet.language in ("", "sh", "console"):
            joined = snippet.text.replace("\\\n", " ")
            for line in joined.splitlines():
                words = line.removeprefix("$ ")
                if re.match(r"(srn|make|pip install|python benchmarks/\S+) ", words):
                    yield CommandLine(document, words, "..." not in words)
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", content)):
        if re.match(r"(srn [a-z]|make |python benchmarks/)", span):
            yield CommandLine(document, span, False)
    for line in re.findall(r"^    ((?:srn|python benchmarks/).*)$", FENCE.sub("", content), re.MULTILINE):
        yield CommandLine(document, line, "..." not in line)


COMMANDS = [command for document in DOCUMENTS for command in command_lines(document)]


def words_of(text: str) -> list[str]:
    """Split like a shell; optional parts lose their brackets, and `...` is left out."""
    words = [word.strip("[]") for word in shlex.split(text, comments=True)]
    return [word for word in words if word not in ("", "...", "…")]


def check_srn(words: list[str], *, whole: bool) -> None:
    """Parse a command line with the real command, which then does nothing."""
    command = typer.main.get_command(main.command_line())
    waiting: list[Any] = [command]
    while waiting:
        one = waiting.pop()
        inner = getattr(one, "commands", {})
        waiting += inner.values()
        if not inner:
            one.callback = lambda **_: None
    try:
        command.main(words, prog_name="srn", standalone_mode=False)
    except Exception as error:
        # A command named in a sentence, such as `srn train --clips`, may lack what it needs to run.
        if whole or type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError", "BadOptionUsage"):
            pytest.fail(f"srn {' '.join(words)}: {type(error).__name__}: {error}")


def check_benchmark(script: str, words: list[str]) -> None:
    """Hold a command line against the parser of a benchmark."""
    pytest.importorskip("torch")
    module = importlib.import_module(Path(script).stem)
    parser = module.parser()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "exit", lambda code=0: pytest.fail(f"{script} {words}: exit {code}"))
        parser.parse_args(words)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{name_of(c.document)}: {c.text[:60]}")
def test_command_lines_are_accepted(command: CommandLine) -> None:
    first, *words = words_of(command.text)
    if first == "srn":
        check_srn(words, whole=command.whole)
    elif first == "python":
        assert (ROOT / words[0]).is_file()
        if command.whole:
            check_benchmark(words[0], words[1:])
    elif first == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[0] in targets
    elif first == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extras in re.findall(r"\[([\w,]+)\]", command.text):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])
        names = [word for word in words if re.match(r"srn(\W|$)", word)]
        assert not names, "PyPI has another program of this name (docs/start.md)"


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.whole and c.text.startswith("srn detect") and
                                     c.document.name == "README.md"], ids=lambda c: str(c.text))  # fmt: skip
def test_the_readmes_detections_run(command: CommandLine, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(command.text)[1:]

    main.command_line(words[0])(words, standalone_mode=False)

    capsys.readouterr()
    outputs = [words[index + 1] for index, word in enumerate(words) if word in ("--out", "--json")]
    assert outputs or words
    assert all((desk / output).exists() for output in outputs)


def test_all_settings_of_the_documents_exist() -> None:
    """`--set NAME=VALUE` of `srn train` and `srn hofs train`."""
    pytest.importorskip("torch")
    from srn.hofs.config import AgentConfig
    from srn.settings import with_settings
    from srn.training.config import tracker_config, train_config

    recipe = train_config("robust")
    for command in COMMANDS:
        words = words_of(command.text)
        changes = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set" and "=" in words[i + 1]]
        changes = [change for change in changes if not change.partition("=")[2].isupper()]
        if words[:3] == ["srn", "hofs", "train"]:
            with_settings(AgentConfig(), changes)
        elif words[:2] == ["srn", "train"]:
            with_settings(tracker_config(recipe.model) if "--clips" in words else recipe, changes)
