"""Settings: checked at birth, one JSON form, values changed by name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from srn.errors import InputError
from srn.settings import (
    Count,
    Index,
    NonNegative,
    Positive,
    Settings,
    Share,
    above,
    at_least,
    below,
    setting_text,
    with_settings,
    within,
)


@dataclass(frozen=True)
class Inner(Settings):
    share: Share = 0.5
    span: tuple[float, float] = (1.0, 2.0)


@dataclass(frozen=True)
class Outer(Settings):
    stored_names: ClassVar[Mapping[str, str]] = {"crop_size": "frame_size"}
    absent_means: ClassVar[Mapping[str, Any]] = {"kind": "old"}
    file_kind: ClassVar[str] = "an outer.json"

    crop_size: Count = 160
    inner: Inner = field(default_factory=Inner)
    other: Inner | None = None
    kind: Literal["old", "new"] = "new"
    number: Literal[1, 2] = 1
    sizes: tuple[Count, Count] = (3, 4)
    parts: tuple[Literal["a", "b"], ...] = ()
    on: bool = False
    place: Index = 0
    width: Positive = 1.0
    weight: NonNegative = 0.0
    rate: Annotated[float, at_least(0), below(1)] = 0.0
    length: float | None = None
    name: str = "x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop_size", 1),
        ("inner", Inner(share=1)),
        ("other", Inner()),
        ("kind", "old"),
        ("number", 2),
        ("sizes", (1, 9)),
        ("parts", ("a", "b", "a")),
        ("on", True),
        ("place", 0),
        ("width", 3),
        ("rate", 0.99),
        ("length", None),
        ("length", 2.5),
    ],
)
def test_values_that_fit_are_kept_as_they_are(name: str, value: Any) -> None:
    assert getattr(Outer(**{name: value}), name) is value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crop_size", 0, "a whole number of at least 1, found 0"),
        ("crop_size", 1.0, "a whole number of at least 1, found 1.0"),
        ("crop_size", True, "a whole number of at least 1, found True"),
        ("inner", {"share": 0.5}, "Inner, found {'share': 0.5}"),
        ("kind", "none", "old or new, found 'none'"),
        ("number", True, "1 or 2, found True"),
        ("number", 1.0, "1 or 2, found 1.0"),
        ("sizes", (1, 0), "(a whole number of at least 1, a whole number of at least 1), found (1, 0)"),
        ("sizes", (1, 2, 3), "(a whole number of at least 1, a whole number of at least 1), found (1, 2, 3)"),
        ("sizes", [1, 2], "(a whole number of at least 1, a whole number of at least 1), found [1, 2]"),
        ("parts", ("c",), "any number of values, each a or b, found ('c',)"),
        ("on", 1, "true or false, found 1"),
        ("place", -1, "a whole number of at least 0, found -1"),
        ("width", 0.0, "a number above 0, found 0.0"),
        ("width", True, "a number above 0, found True"),
        ("width", float("inf"), "a number above 0, found inf"),
        ("weight", float("nan"), "a number of at least 0, found nan"),
        ("rate", 1.0, "a number of at least 0 and below 1, found 1.0"),
        ("length", "long", "a number or none, found 'long'"),
        ("name", 3, "text, found 3"),
    ],
)
def test_a_value_that_does_not_fit_names_class_and_attribute(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Outer(**{name: value})
    assert str(caught.value) == f"Outer.{name}: expected {message}"


def test_changed_copies_are_checked_and_originals_stay() -> None:
    with pytest.raises(InputError, match=r"^Inner\.share: expected a number from 0 to 1, found 7$"):
        replace(Inner(), share=7)
    with pytest.raises(FrozenInstanceError):
        Inner().share = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("limit", "inside", "outside"),
    [(at_least(1), 1, 0.9), (above(1), 1.1, 1), (below(1), 0.9, 1), (within(1, 2), 2, 2.1)],
)
def test_limits(limit: Any, inside: float, outside: float) -> None:
    assert limit.holds(inside)
    assert not limit.holds(outside)


# --- the JSON form


FULL = Outer(crop_size=8, inner=Inner(0.25, (3.0, 4.0)), other=Inner(), parts=("b",), on=True, length=2)


def test_the_json_form_has_the_names_of_files_and_comes_back() -> None:
    values = FULL.to_dict()

    assert list(values)[:2] == ["frame_size", "inner"]
    assert values["inner"] == {"share": 0.25, "span": [3.0, 4.0]}
    assert Outer.from_dict(json.loads(json.dumps(values))) == FULL
    assert Outer.from_dict(Outer().to_dict()) == Outer()


def test_a_file_comes_back(tmp_path: Path) -> None:
    FULL.save(tmp_path / "new" / "outer.json")

    assert Outer.load(tmp_path / "new" / "outer.json") == FULL
    assert (tmp_path / "new" / "outer.json").read_text() == json.dumps(FULL.to_dict(), indent=1) + "\n"


def test_a_name_that_older_files_lack_has_its_old_meaning() -> None:
    values = FULL.to_dict()
    del values["kind"]

    assert Outer.from_dict(values) == replace(FULL, kind="old")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_size": None}, "Outer: expected a value of 'frame_size', found none"),
        ({"crop_size": 8}, "Outer: expected one of the names frame_size, inner, "),
        ({"inner": {"share": 2, "span": [1, 2]}}, "Inner.share: expected a number from 0 to 1, found 2"),
        ({"inner": {"share": 1, "span": [1]}}, "Inner.span: expected (a number, a number), found (1,)"),
        ({"inner": {"share": 1, "span": 1}}, "Inner.span: expected (a number, a number), found 1"),
        ({"inner": [1]}, "Inner: expected an object of names and values, found [1]"),
    ],
)
def test_a_form_that_does_not_fit_gives_one_clear_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values = {name: value for name, value in {**FULL.to_dict(), **change}.items() if value is not None}

    with pytest.raises(InputError) as caught:
        Outer.from_dict(values)
    assert str(caught.value).startswith(message)

    (tmp_path / "outer.json").write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        Outer.load(tmp_path / "outer.json")
    assert str(caught.value).startswith(f"{tmp_path / 'outer.json'}: expected an outer.json, found ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "No such file or directory"), ("", "a mistake in line 1, column 1"), ("{", "a mistake in line 1"),
        ("[]", "Outer: expected an object"), ('"text"', "Outer: "), ("3", "Outer: "),
        ("[" * 99999, "too many brackets"), ('{"kind": "old", "kind": "new"}', "the name 'kind' twice"),
        ('{"inner": {"share": 0, "share": 1}}', "the name 'share' twice"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_settings(text: str | None, found: str, tmp_path: Path) -> None:
    path = tmp_path / "outer.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(InputError, match=f"^{path}: expected an outer.json, found {found}"):
        Outer.load(path)


# --- changes by name


def test_changes_by_name() -> None:
    changed = with_settings(
        Outer(),
        [
            "crop_size=8", "inner.share=1", "inner.span=3,4.5", "kind=old", "number=2", "parts=b,a", "on=TRUE",
            "length=2", "name=a=b", "parts=", "length=none", "length=7",
        ],
    )  # fmt: skip

    assert changed == Outer(
        crop_size=8, inner=Inner(1.0, (3.0, 4.5)), kind="old", number=2, on=True, length=7.0, name="a=b"
    )
    assert isinstance(changed.inner.share, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("crop_size", "--set: expected NAME=VALUE, found 'crop_size'"),
        ("crop=1", "expected a name among crop_size, kind, number, sizes, "),
        ("inner=1", "inner.*"),
        ("inner.shape=1", "expected a name among share, span, found 'shape'"),
        ("other.share=1", "found 'other.share'"),
        ("crop_size.x=1", "found 'crop_size.x'"),
        ("crop_size=1.5", "--set crop_size=1.5: expected a whole number of at least 1, found '1.5'"),
        ("sizes=1", "expected (a whole number of at least 1, a whole number of at least 1), found '1'"),
        ("width=much", "expected a number above 0, found 'much'"),
        ("width=nan", "expected a number above 0, found 'nan'"),
        ("on=1", "expected true or false, found '1'"),
        ("kind=none", "Outer.kind: expected old or new, found 'none'"),
        ("number=3", "Outer.number: expected 1 or 2, found '3'"),
        ("crop_size=0", "Outer.crop_size: expected a whole number of at least 1, found 0"),
    ],
)
def test_changes_that_do_not_fit_give_one_clear_line(change: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        with_settings(Outer(), [change])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_load_nothing_but_the_standard_library() -> None:
    code = "import sys; before = set(sys.modules); import srn.settings; print(*(set(sys.modules) - before))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "srn.settings" in loaded


@pytest.mark.parametrize(
    ("name", "text"),
    [("on", "true"), ("length", "none"), ("sizes", "1,9"), ("parts", ""), ("width", "0.25"), ("name", "x y")],
)
def test_a_value_as_it_is_set(name: str, text: str) -> None:
    """A message about a run that is resumed says what to give, in the words of `--set`."""
    assert setting_text(getattr(with_settings(Outer(), [f"{name}={text}"]), name)) == text
