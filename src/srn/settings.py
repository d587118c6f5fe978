"""Configuration: frozen dataclasses checked at birth, with one JSON form and one way to change values by name.

The JSON of all files is read here, too: no name of an object stands there twice.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from srn.errors import InputError, first_line
from srn.files import write_json


class Limit(NamedTuple):
    """A condition on a number, for `Annotated`."""

    words: str
    holds: Callable[[float], bool]


def at_least(least: float) -> Limit:
    return Limit(f"of at least {least}", lambda value: value >= least)


def above(limit: float) -> Limit:
    return Limit(f"above {limit}", lambda value: value > limit)


def below(limit: float) -> Limit:
    return Limit(f"below {limit}", lambda value: value < limit)


def within(least: float, most: float) -> Limit:
    return Limit(f"from {least} to {most}", lambda value: least <= value <= most)


Count = Annotated[int, at_least(1)]
Index = Annotated[int, at_least(0)]
Seed = Annotated[int, within(0, 2**63 - 1)]
Share = Annotated[float, within(0, 1)]
Positive = Annotated[float, above(0)]
NonNegative = Annotated[float, at_least(0)]


@dataclass(frozen=True)
class Settings:
    """Base of all configurations: a value that does not fit its annotation is an `InputError` when an object is made.

    Subclasses are frozen dataclasses too. Annotations may be `bool`, `int`, `float`, `str`, a `Literal`, a tuple,
    another `Settings`, each of these or None, and `Annotated` with limits such as `within(0, 1)`.

    Attributes:
        stored_names: attribute name -> name in files, where the two differ.
        absent_means: attribute name -> value in files that were written before the attribute existed.
        file_kind: name of a file of these settings, for messages.
    """

    stored_names: ClassVar[Mapping[str, str]] = {}
    absent_means: ClassVar[Mapping[str, Any]] = {}
    file_kind: ClassVar[str] = "settings as JSON"

    def __post_init__(self) -> None:
        for name, annotation in kinds_of(type(self)).items():
            value = getattr(self, name)
            if not _fits(annotation, value):
                raise InputError.at(f"{type(self).__name__}.{name}", _described(annotation), _shown(value))

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form: numbers, text, lists and dictionaries, by the names in files."""
        return {self.stored_names.get(name, name): _plain(getattr(self, name)) for name in kinds_of(type(self))}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read the form that `to_dict` gives; raise `InputError` if a name or a value does not fit."""
        if not isinstance(values, Mapping):
            raise InputError.at(cls.__name__, "an object of names and values", _shown(values))
        known = kinds_of(cls)
        stored = {cls.stored_names.get(name, name): name for name in known}
        for name in values:
            if name not in stored:
                raise InputError.at(cls.__name__, f"one of the names {', '.join(stored)}", repr(name))
        read = dict(cls.absent_means) | {stored[name]: _restored(known[stored[name]], v) for name, v in values.items()}
        missing = [name for name, attribute in stored.items() if attribute not in read]
        if missing:
            raise InputError.at(cls.__name__, f"a value of {missing[0]!r}", "none")
        return cls(**read)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the settings as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that `save` wrote; raise `InputError` if it is missing or holds other settings."""
        try:
            return cls.from_dict(parsed_json(Path(path).read_bytes()))
        except (OSError, ValueError, RecursionError, InputError) as error:
            raise InputError.at(path, cls.file_kind, first_line(error)) from error


def parsed_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is none, or an object has two values of one name, of which Python would keep the last.
    """
    return json.loads(text, object_pairs_hook=_named_once)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {name!r} twice")
    return named


AnySettings = TypeVar("AnySettings", bound=Settings)


def with_settings(config: AnySettings, changes: Sequence[str]) -> AnySettings:
    """Change values by name, such as `weight_decay=0.05` or `augmentation.turned=0.2`: the option `--set NAME=VALUE`.

    A dot leads into nested settings, commas separate the parts of a tuple, and `none` stands for None. Checks see all
    changes made; an unknown name or unfit value is an `InputError`.
    """
    split = []
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise InputError.at("--set", "NAME=VALUE", repr(change))
        split.append((name.split("."), text, change))
    return _changed(config, split)


def _changed(config: AnySettings, changes: Sequence[tuple[list[str], str, str]]) -> AnySettings:
    """Apply changes as (names of the way, text of the value, the whole change)."""
    nested = {name: value for name in kinds_of(type(config)) if isinstance(value := getattr(config, name), Settings)}
    single = {name: kind for name, kind in kinds_of(type(config)).items() if _settings_class(kind) is None}
    values: dict[str, Any] = {}
    inner: dict[str, list[tuple[list[str], str, str]]] = {}
    for (first, *rest), text, change in changes:
        if rest and first in nested:
            inner.setdefault(first, []).append((rest, text, change))
        elif rest or first not in single:
            known = ", ".join([*single, *(f"{name}.*" for name in nested)])
            raise InputError.at(f"--set {change}", f"a name among {known}", repr(".".join([first, *rest])))
        else:
            try:
                values[first] = _parsed(single[first], text)
            except ValueError as error:
                raise InputError.at(f"--set {change}", _described(single[first]), repr(text)) from error
    values |= {name: _changed(nested[name], some) for name, some in inner.items()}
    return dataclasses.replace(config, **values)


_KINDS: dict[Any, dict[str, Any]] = {}


def kinds_of(cls: type[Settings]) -> dict[str, Any]:
    """Resolved annotations of a class's values, by attribute name, in their order."""
    if cls not in _KINDS:
        hints = get_type_hints(cls, include_extras=True)
        _KINDS[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _KINDS[cls]


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """`X | None` -> (X, None's type); the annotation itself otherwise."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _settings_class(annotation: Any) -> type[Settings] | None:
    kinds = _alternatives(annotation)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), None)


def _parts(annotation: Any, length: int) -> tuple[Any, ...]:
    """Annotations of a tuple's items; as many as annotated where the length is fixed."""
    kinds = get_args(annotation)
    return (kinds[0],) * length if kinds[-1:] == (Ellipsis,) else kinds


def _fits(annotation: Any, value: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *limits = get_args(annotation)
        return _fits(kind, value) and all(limit.holds(value) for limit in limits)
    if origin in (Union, types.UnionType):
        return any(_fits(kind, value) for kind in get_args(annotation))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if origin is tuple:
        kinds = _parts(annotation, len(value)) if isinstance(value, tuple) else ()
        return isinstance(value, tuple) and len(kinds) == len(value) and all(map(_fits, kinds, value))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


_NOUNS = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "none"}


def _described(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *limits = get_args(annotation)
        return f"{_described(kind)} {' and '.join(limit.words for limit in limits)}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(annotation)))
    if origin is Literal:
        *choices, last = map(str, get_args(annotation))
        return f"{', '.join(choices)} or {last}" if choices else last
    if origin is tuple:
        first, *others = get_args(annotation)
        if others[-1:] == [Ellipsis]:
            return f"any number of values, each {_described(first)}"
        return f"({', '.join(map(_described, (first, *others)))})"
    return _NOUNS.get(annotation, annotation.__name__)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | tuple | list) else str(value)
    return " ".join(text.split())


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_dict()
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _restored(annotation: Any, value: Any) -> Any:
    """A value out of JSON: lists become tuples, objects become nested settings."""
    nested = _settings_class(annotation)
    if nested is not None and value is not None:
        return nested.from_dict(value)
    for kind in _alternatives(annotation):
        if get_origin(kind) is tuple and isinstance(value, list):
            kinds = _parts(kind, len(value))
            return tuple(map(_restored, kinds, value)) if len(kinds) == len(value) else tuple(value)
    return value


def setting_text(value: Any) -> str:
    """Return a value, other than nested settings, as `--set` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(setting_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _parsed(annotation: Any, text: str) -> Any:
    """A value out of the text of `--set`. Raises `ValueError` where the text is none of the annotation's."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parsed(get_args(annotation)[0], text)
    if origin in (Union, types.UnionType):
        if text.lower() == "none" and type(None) in get_args(annotation):
            return None
        return _parsed(next(kind for kind in get_args(annotation) if kind is not type(None)), text)
    if origin is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == text), text)
    if origin is tuple:
        texts = text.split(",") if text else []
        kinds = _parts(annotation, len(texts))
        if len(kinds) != len(texts):
            raise ValueError(text)
        return tuple(map(_parsed, kinds, texts))
    if annotation is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    value = annotation(text)
    if annotation is float and not math.isfinite(value):
        raise ValueError(text)
    return value
