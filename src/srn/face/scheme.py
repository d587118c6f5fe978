"""Landmark schemes as data: the part of the face to which each point belongs. No other module has an index literal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from srn.errors import InputError

COMPONENTS = ("brows", "eyes", "nose", "mouth", "left_cheek", "right_cheek")
"""The six facial components of the paper (figure 1), in the order of its equations. A cheek is half the outline."""

REGIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"ocular": ("brows", "eyes"), "snout": ("nose", "mouth"), "cheek": ("left_cheek", "right_cheek")}
)
"""The three regions of the paper (section 3.1), each of two components."""


@dataclass(frozen=True, eq=False, repr=False)  # schemes are named constants: equality is identity
class LandmarkScheme:
    """A numbering of facial landmarks. Indices count from 0; left and right are the picture's.

    Attributes:
        name: short identifier, stored in checkpoints and results.
        n_points: number of landmarks N.
        components: point indices of each of `COMPONENTS`; every index occurs once.
        mirror_pairs: pairs (left, right) of points that swap when the picture is flipped; all others stay.
        eye_corners: the outer eye corners (left, right), which define the inter-ocular distance.
        eyes: points whose mean is the centre of the left and of the right eye, which define the inter-pupil distance.
        contours: polylines for drawing, as (component, indices, closed).

    Raises:
        InputError: a component or an index is missing or occurs twice, a point has two mirror images, or the eyes or a
            contour have no points, one twice, or one that is none of the scheme's.

    Examples:
        >>> from srn import COFW_29, IBUG_68
        >>> IBUG_68
        LandmarkScheme(ibug68, 68 points)
        >>> IBUG_68.part("left_eye"), COFW_29.part("left_eye")
        ((36, 37, 38, 39, 40, 41), (8, 10, 12, 13, 16))
        >>> IBUG_68.component_of(30), IBUG_68.mirror[36:39].tolist()
        ('nose', [45, 44, 43])
    """

    name: str
    n_points: int
    components: Mapping[str, tuple[int, ...]]
    mirror_pairs: tuple[tuple[int, int], ...]
    eye_corners: tuple[int, int]
    eyes: tuple[tuple[int, ...], tuple[int, ...]]
    contours: tuple[tuple[str, tuple[int, ...], bool], ...] = field(default=())

    def __post_init__(self) -> None:
        if tuple(self.components) != COMPONENTS:
            raise InputError.at(f"scheme {self.name}", f"components {COMPONENTS}", str(tuple(self.components)))
        indices = sorted(i for points in self.components.values() for i in points)
        if indices != list(range(self.n_points)):
            expected = f"each of 0..{self.n_points - 1} in one component"
            raise InputError.at(f"scheme {self.name}", expected, f"{len(indices)} indices")
        paired = [i for pair in self.mirror_pairs for i in pair]
        for i in paired:
            if i not in indices or paired.count(i) > 1:
                found = f"{i} in more" if i in indices else f"{i}, which is none of the {self.n_points}"
                raise InputError.at(f"scheme {self.name}, mirror_pairs", "each point in one pair at most", found)
        self._check_lines()
        object.__setattr__(self, "components", MappingProxyType(dict(self.components)))

    def _check_lines(self) -> None:
        """Check the eyes and the contours: a negative index would be a point counted from the end."""
        left, right = self.eyes
        lines = [("eye_corners", self.eye_corners), ("eyes", (*left, *right))]
        lines += [("contours", points) for _, points, _ in self.contours]
        for name, points in lines:
            if len({*points} & {*range(self.n_points)}) < len(points):
                expected = f"different points from 0 to {self.n_points - 1}"
                raise InputError.at(f"scheme {self.name}, {name}", expected, str(points))
        if not (left and right and all(points for _, points, _ in self.contours)):
            raise InputError.at(f"scheme {self.name}", "points of each eye and each contour", "none of one")
        for component, _, _ in self.contours:
            if component not in COMPONENTS:
                raise InputError.at(f"scheme {self.name}, contours", f"one of {', '.join(COMPONENTS)}", repr(component))

    def __repr__(self) -> str:
        return f"LandmarkScheme({self.name}, {self.n_points} points)"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        # Worker processes look built-in schemes up by name instead of copying their (unpicklable) mappings. A fresh
        # process does not know a registered scheme, so that is pickled with its definition.
        if SCHEMES.get(self.name) is self and self.name in BUILT_IN:
            return scheme_by_name, (self.name,)
        return _registered, (self.definition(),)

    def definition(self) -> tuple[object, ...]:
        """Return all fields in order as plain tuples; schemes with the same definition are the same scheme."""
        components = tuple((name, tuple(points)) for name, points in self.components.items())
        eyes = (self.eye_corners, self.eyes)
        return (self.name, self.n_points, components, self.mirror_pairs, *eyes, self.contours)

    @cached_property
    def mirror(self) -> npt.NDArray[np.int64]:
        """(N,) permutation, its own inverse: `flipped[i] = original[mirror[i]]` after negating the x coordinates."""
        permutation = np.arange(self.n_points)
        for left, right in self.mirror_pairs:
            permutation[left], permutation[right] = right, left
        permutation.setflags(write=False)
        return permutation

    def region(self, name: str) -> tuple[int, ...]:
        """Return the point indices of one of `REGIONS`, its components one after the other."""
        return tuple(i for component in REGIONS[name] for i in self.components[component])

    @cached_property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """Point indices of the named parts of a face, the same names in every scheme.

        The six `components`, `left_brow`, `right_brow`, `left_eye`, `right_eye` and `jaw` (both cheeks). A part that
        the scheme does not annotate is empty. Left and right are the picture's.
        """
        sides = {"left": {left for left, _ in self.mirror_pairs}, "right": {right for _, right in self.mirror_pairs}}
        halves = {
            f"{side}_{component[:-1]}": tuple(i for i in self.components[component] if i in points)
            for component in ("brows", "eyes")
            for side, points in sides.items()
        }
        return MappingProxyType({**self.components, **halves, "jaw": self.region("cheek")})

    def part(self, name: str) -> tuple[int, ...]:
        """Return the point indices of one of `parts`.

        Raises:
            InputError: there is no such part.
        """
        if name not in self.parts:
            raise InputError.at("part of a face", f"one of {', '.join(self.parts)}", repr(name))
        return self.parts[name]

    def component_of(self, index: int) -> str:
        """Return the component to which point `index` belongs."""
        return next(name for name, points in self.components.items() if index in points)


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def _pairs(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(left, right, strict=True))


IBUG_68 = LandmarkScheme(
    name="ibug68",
    n_points=68,
    components={
        "brows": _span(17, 26),
        "eyes": _span(36, 47),
        "nose": _span(27, 35),
        "mouth": _span(48, 67),
        "left_cheek": _span(0, 8),
        "right_cheek": _span(9, 16),
    },
    mirror_pairs=(
        *((i, 16 - i) for i in range(8)),
        *((17 + i, 26 - i) for i in range(5)),
        *_pairs((31, 32), (35, 34)),
        *_pairs((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46)),
        *_pairs((48, 49, 50, 59, 58), (54, 53, 52, 55, 56)),
        *_pairs((60, 61, 67), (64, 63, 65)),
    ),
    eye_corners=(36, 45),
    eyes=(_span(36, 41), _span(42, 47)),
    contours=(
        ("left_cheek", _span(0, 8), False),
        ("right_cheek", _span(8, 16), False),
        ("brows", _span(17, 21), False),
        ("brows", _span(22, 26), False),
        ("nose", _span(27, 30), False),
        ("nose", _span(31, 35), False),
        ("eyes", _span(36, 41), True),
        ("eyes", _span(42, 47), True),
        ("mouth", _span(48, 59), True),
        ("mouth", _span(60, 67), True),
    ),
)
"""The 68 points of 300W, 300VW and COFW68 (Sagonas et al. 2013)."""

COFW_29 = LandmarkScheme(
    name="cofw29",
    n_points=29,
    components={
        "brows": _span(0, 7),
        "eyes": _span(8, 17),
        "nose": _span(18, 21),
        "mouth": _span(22, 27),
        # The chin, the only outline point, lies on the symmetry axis. As in the 68 points, the left cheek has it.
        "left_cheek": (28,),
        "right_cheek": (),
    },
    mirror_pairs=((0, 1), (4, 6), (2, 3), (5, 7), (8, 9), (10, 11), (12, 14), (16, 17), (13, 15), (18, 19), (22, 23)),
    eye_corners=(8, 9),
    eyes=((16,), (17,)),
    contours=(
        ("brows", (0, 4, 2, 5), True),
        ("brows", (1, 6, 3, 7), True),
        ("eyes", (8, 12, 10, 13), True),
        ("eyes", (9, 14, 11, 15), True),
        ("nose", (18, 20, 19, 21), True),
        ("mouth", (22, 24, 23, 25), True),
        ("mouth", (22, 26, 23, 27), True),
    ),
)
"""The 29 points of COFW (Burgos-Artizzu et al. 2013)."""

WFLW_98 = LandmarkScheme(
    name="wflw98",
    n_points=98,
    components={
        "brows": _span(33, 50),
        "eyes": (*_span(60, 75), 96, 97),
        "nose": _span(51, 59),
        "mouth": _span(76, 95),
        "left_cheek": _span(0, 16),
        "right_cheek": _span(17, 32),
    },
    mirror_pairs=(
        *((i, 32 - i) for i in range(16)),
        *_pairs((33, 34, 35, 36, 37, 38, 39, 40, 41), (46, 45, 44, 43, 42, 50, 49, 48, 47)),
        *_pairs((55, 56), (59, 58)),
        *_pairs((60, 61, 62, 63, 64, 65, 66, 67), (72, 71, 70, 69, 68, 75, 74, 73)),
        *_pairs((76, 77, 78, 87, 86), (82, 81, 80, 83, 84)),
        *_pairs((88, 89, 95), (92, 91, 93)),
        (96, 97),
    ),
    eye_corners=(60, 72),
    eyes=(_span(60, 67), _span(68, 75)),
    contours=(
        ("left_cheek", _span(0, 16), False),
        ("right_cheek", _span(16, 32), False),
        ("brows", _span(33, 41), True),
        ("brows", _span(42, 50), True),
        ("nose", _span(51, 54), False),
        ("nose", _span(55, 59), False),
        ("eyes", _span(60, 67), True),
        ("eyes", _span(68, 75), True),
        ("mouth", _span(76, 87), True),
        ("mouth", _span(88, 95), True),
    ),
)
"""The 98 points of WFLW (Wu et al. 2018)."""

BUILT_IN = tuple(scheme.name for scheme in (IBUG_68, COFW_29, WFLW_98))
"""Names of the schemes known to every process."""

_known = {scheme.name: scheme for scheme in (IBUG_68, COFW_29, WFLW_98)}

SCHEMES: Mapping[str, LandmarkScheme] = MappingProxyType(_known)
"""The schemes by name: the built-in and the registered ones."""


def register_scheme(scheme: LandmarkScheme) -> LandmarkScheme:
    """Register a scheme for `scheme_by_name` in this process.

    Returns:
        The scheme to use: an equal one that is already registered, or else the given one.

    Raises:
        InputError: a different scheme of this name is registered.
    """
    known = _known.setdefault(scheme.name, scheme)
    if known.definition() != scheme.definition():
        raise InputError.at("landmark scheme", "a name of its own", f"{scheme.name!r}, which another scheme has")
    return known


def _registered(definition: tuple[object, ...]) -> LandmarkScheme:
    name, n_points, components, mirror_pairs, eye_corners, eyes, contours = cast(Any, definition)
    return register_scheme(LandmarkScheme(name, n_points, dict(components), mirror_pairs, eye_corners, eyes, contours))


def describe_scheme(scheme: LandmarkScheme) -> str:
    """Return the description stored in files: the name of a built-in scheme, the definition of any other as JSON."""
    return scheme.name if scheme.name in BUILT_IN else json.dumps(scheme.definition())


def described_scheme(text: str) -> LandmarkScheme:
    """Return the scheme of a `describe_scheme` text; one that is not built in gets registered.

    Raises:
        InputError: the text describes no scheme, or a different scheme of this name is registered.
    """
    if not text.startswith("["):
        return scheme_by_name(text)
    try:
        return _registered(_as_tuples(json.loads(text)))
    except (ValueError, TypeError) as error:
        raise InputError.at("landmark scheme", "a scheme's definition", str(error)) from error


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value


def scheme_by_name(name: str) -> LandmarkScheme:
    """Look up a scheme.

    Raises:
        InputError: no scheme has this name.
    """
    if name not in SCHEMES:
        raise InputError.at("landmark scheme", f"one of {', '.join(SCHEMES)}", repr(name))
    return SCHEMES[name]
