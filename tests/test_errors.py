"""The error tree and its one-line messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srn.errors import (
    DataError,
    InputError,
    MissingDependencyError,
    SrnError,
    WeightsError,
    check_number,
    is_interruption,
    is_out_of_memory,
    printable,
)
from srn.face.geometry import Box
from srn.inference.face_boxes import as_box


@pytest.mark.parametrize("error", [InputError, DataError, WeightsError])
def test_a_message_says_where_what_was_expected_and_what_was_found(error: type[InputError]) -> None:
    built = error.at(Path("faces") / "a.pts", "68 points", "67 points")

    assert type(built) is error
    assert str(built) == f"{Path('faces') / 'a.pts'}: expected 68 points, found 67 points"


@pytest.mark.parametrize("error", [InputError, DataError, WeightsError, MissingDependencyError])
def test_everything_raised_on_purpose_is_a_srn_error(error: type[Exception]) -> None:
    assert issubclass(error, SrnError)


@pytest.mark.parametrize("error", [DataError, WeightsError])
def test_broken_files_are_the_users_input(error: type[Exception]) -> None:
    assert issubclass(error, InputError)


def test_a_missing_dependency_names_the_command_that_brings_it() -> None:
    message = str(MissingDependencyError.for_extra("PyTorch", "train", "srn train"))

    assert message == "srn train needs PyTorch; install it with: pip install 'srn[train]'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[red] :smile: é ä 日本 <b>", "[red] :smile: é ä 日本 <b>"),
        ("a\x1b[31m\x07\r\n\t", r"a\x1b[31m\x07\x0d\x0a\x09"),
        ("caf\udce9.jpg", r"caf\xe9.jpg"),  # a byte that is no UTF-8
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
    ],
)
def test_nothing_in_a_name_acts_on_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("parse", "found"),
    [
        (lambda: json.loads("[1,\n 2"), "a mistake in line 2, column 3"),
        (lambda: json.loads("[" * 100_000), "too many brackets within brackets"),
        (lambda: float("four"), "'four'"),
        (lambda: int("4.5"), "'4.5'"),
        (lambda: json.loads("9" * 5000), "a whole number of more than 4,300 digits"),
        (lambda: dict[str, int]()["name"], "no 'name'"),
        (lambda: Path("/nowhere/at/all").read_text(), "No such file or directory"),
    ],
)
def test_messages_of_python_become_the_users(parse: Callable[[], object], found: str) -> None:
    with pytest.raises(DataError) as caught, DataError.reading("a", "b"):
        parse()
    assert str(caught.value) == f"a: expected b, found {found}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("OpenCV(4.10.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_the_end_of_memory_in_the_words_of_each_library(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def failing_clean_up(interruption: BaseException) -> None:
    """Raise what a library raises whose clean-up is interrupted."""
    try:
        try:
            raise interruption
        finally:
            raise ValueError("an open handle")
    except ValueError as error:
        raise RuntimeError("not closed") from error


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError()])
def test_an_interruption_is_no_broken_file(interruption: BaseException) -> None:
    is_real = isinstance(interruption, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt if is_real else DataError), DataError.reading("a.zip", "an archive"):
        failing_clean_up(interruption)
    with pytest.raises(RuntimeError) as raised:
        failing_clean_up(interruption)
    assert is_interruption(raised.value) == is_real


@pytest.mark.parametrize("digits", [400, 6000])
def test_whole_numbers_of_any_length_are_named(digits: int) -> None:
    """They are no `float`; Python does not even print the longer ones."""
    for make in (
        lambda: check_number("rate", 10**digits),
        lambda: Box(0, 0, 10**digits, 1),
        lambda: as_box([0, 0, 10**digits, 1]),
    ):
        with pytest.raises(InputError, match=r"^[a-z ]+: expected (a|four) number.*, found .{1,120}$"):
            make()
