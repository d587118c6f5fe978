"""Architecture of a network: plain data, stored inside every checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from srn.errors import InputError, WeightsError
from srn.face.geometry import CropSpec
from srn.face.scheme import BUILT_IN, LandmarkScheme, describe_scheme, described_scheme, scheme_by_name
from srn.settings import Count, Index, Positive, Settings, below, parsed_json

Size = Annotated[Count, below(10_001)]
EncoderName = Literal["patches", "shared-map"]
Hierarchy = Literal["g", "f", "d", "mu"]

HIERARCHIES: tuple[Hierarchy, ...] = get_args(Hierarchy)

PATCH_FEATURES = 256
"""Features that the paper's patch encoder gives for one landmark: 64 channels at 2 x 2 positions."""


@dataclass(frozen=True)
class Architecture(Settings):
    """Settings that a file of weights holds as one line of JSON, names sorted. Messages call them by their `title`."""

    title: ClassVar[str]

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: str | os.PathLike[str] | None = None) -> Self:
        """Read the line that `to_json` gives, from the file `path`.

        Raises:
            WeightsError: it describes nothing that this version knows.
        """
        with WeightsError.reading(cls.title if path is None else f"{path}: {cls.title}", cls.file_kind):
            return cls.from_dict(parsed_json(text))


@dataclass(frozen=True)
class ModelConfig(Architecture):
    """Architecture of a `StructuralRelationNetwork`.

    Attributes:
        preset: name of the preset it was derived from, for people.
        crop_size, face_size: see `CropSpec`.
        iterations: cascade steps I (the paper: 3).
        encoder: `patches` encodes 36 x 36 pixel patches around every landmark in each iteration (the paper);
            `shared-map` computes one feature pyramid per face and samples it around every landmark.
        batch_norm: whether batch norm follows the encoder's convolutions (the paper: no).
        landmark_features: features of one landmark that reach the recurrent layer and the HSRM.
        hidden_size: size of the recurrent state h (the paper: 512).
        region_size, component_size: width of the layers g and f (the paper: 512, 256).
        without: hierarchies of the HSRM left out (table 7).
        non_local: the non-local block (table 8).
        non_local_softmax: softmax weights instead of the paper's dot product over the number of positions.
        offsets_per_landmark: outputs of d for each landmark: 1 (the paper) or 2 (an x and a y).
        local_offsets: whether each landmark adds a linear function of its own relational features.
        coarse_shape: whether the initial shape is read from the whole face (`shared-map` only).
        hourglass: whether the initial shape is read from the heat maps of a one-stage hourglass (SRN+HG, table 4).
        point_heads: whether visibility and expected error are predicted for each point.
        visibility_width: width of a visibility head of its own, which also reads the samples of the maps (`shared-map`
            only); 0: visibility comes from the point heads.
        error_direction: whether the direction of each point's error is predicted beside its size (`DirectionHead`).
        recurrence: `iteration`: h goes from iteration to iteration (eq. 5); `frame`: every iteration reads the state
            that the previous frame left (eq. 13).
        stem_channels, map_channels: channels of the stem and of the pyramid's levels at strides 4, 8 and 16.
        blocks: residual blocks at strides 4, 8 and 16.
    """

    title: ClassVar[str] = "model config"
    file_kind: ClassVar[str] = "a network's description as JSON"
    stored_names: ClassVar[Mapping[str, str]] = {"crop_size": "frame_size"}
    absent_means: ClassVar[Mapping[str, Any]] = {
        "hourglass": False,
        "blocks": (2, 2, 2),
        "visibility_width": 0,
        "error_direction": False,
    }

    preset: str = "robust"
    scheme_name: str = "ibug68"
    crop_size: Size = 160
    face_size: Positive = 120.0
    iterations: Size = 3
    encoder: EncoderName = "shared-map"
    batch_norm: bool = True
    landmark_features: Size = 64
    hidden_size: Size = 256
    region_size: Size = 256
    component_size: Size = 128
    without: tuple[Hierarchy, ...] = ()
    non_local: bool = True
    non_local_softmax: bool = True
    offsets_per_landmark: Literal[1, 2] = 2
    local_offsets: bool = True
    coarse_shape: bool = True
    hourglass: bool = False
    point_heads: bool = True
    visibility_width: Annotated[Index, below(10_001)] = 48
    error_direction: bool = False
    recurrence: Literal["iteration", "frame"] = "iteration"
    stem_channels: Size = 24
    map_channels: tuple[Size, Size, Size] = (32, 64, 128)
    blocks: tuple[Size, Size, Size] = (2, 3, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder == "patches" and self.coarse_shape:
            raise InputError.at("coarse_shape", "the shared-map encoder, which sees the whole face", "patches")
        if self.encoder == "patches" and self.landmark_features != PATCH_FEATURES:
            raise InputError.at("landmark_features", f"{PATCH_FEATURES} with patches", str(self.landmark_features))
        if self.encoder == "shared-map" and self.crop_size % 16:
            raise InputError.at("crop_size", "a multiple of 16 with the shared map", str(self.crop_size))
        if self.visibility_width and not (self.point_heads and self.encoder == "shared-map"):
            raise InputError.at("visibility_width", "0 without point heads and shared map", str(self.visibility_width))
        if self.error_direction and not self.point_heads:
            raise InputError.at("error_direction", "point heads, which predict the size of the error", "none")
        if self.hourglass and self.coarse_shape:
            raise InputError.at("initial shape", "one of coarse_shape and hourglass", "both")
        scheme_by_name(self.scheme_name)

    @property
    def learns_start(self) -> bool:
        """Whether the shape that the cascade starts from is the network's own and not the mean shape."""
        return self.coarse_shape or self.hourglass

    @property
    def scheme(self) -> LandmarkScheme:
        return scheme_by_name(self.scheme_name)

    @property
    def crop_spec(self) -> CropSpec:
        return CropSpec(self.crop_size, self.face_size)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, with the definition of a scheme that is not built in."""
        own = {} if self.scheme_name in BUILT_IN else {"scheme": describe_scheme(self.scheme)}
        return dict(sorted((super().to_dict() | own).items()))

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read the form that `to_dict` gives, and register its scheme."""
        if isinstance(values, Mapping) and "encoder" in values:
            if "scheme" in values:
                described_scheme(values["scheme"])
            values = {"batch_norm": values["encoder"] != "patches", **values}  # older files lack it
            values.pop("scheme", None)
        return super().from_dict(values)


PRESETS: Mapping[str, ModelConfig] = MappingProxyType(
    {
        "robust": ModelConfig(),
        # Fewer blocks: with its hourglass the network stays within 0.4 GMAC.
        "robust-hg": ModelConfig(preset="robust-hg", coarse_shape=False, hourglass=True, blocks=(2, 2, 2)),
        # A quarter of the cost of robust and a quarter of its size, for phones and crowds.
        "fast": ModelConfig(
            preset="fast",
            crop_size=128,
            face_size=96.0,
            landmark_features=28,
            hidden_size=96,
            region_size=96,
            component_size=64,
            visibility_width=16,
            stem_channels=16,
            map_channels=(24, 40, 64),
            blocks=(2, 3, 3),
        ),
        "paper": ModelConfig(
            preset="paper",
            crop_size=224,
            # The authors scale the face box's diagonal to 198 of 224 pixels; `Box.size` is the diagonal over sqrt 2.
            face_size=140.0,
            encoder="patches",
            batch_norm=False,
            landmark_features=PATCH_FEATURES,
            hidden_size=512,
            region_size=512,
            component_size=256,
            non_local_softmax=False,
            offsets_per_landmark=1,
            local_offsets=False,
            coarse_shape=False,
            point_heads=False,
            visibility_width=0,
        ),
    }
)
"""`robust`: the default, a fifth of the cost of `paper`, the published network (20,834,028 parameters at 68 points).
`fast`: the same in small, 1.49 million parameters and 0.08 GMAC a face.
`robust-hg`: robust with a one-stage hourglass that gives the initial shape (SRN+HG)."""


def preset(name: str, **changes: Any) -> ModelConfig:
    """Return a preset with some values changed; raise `InputError` for an unknown name or an unfit value."""
    if name not in PRESETS:
        raise InputError.at("preset", f"one of {', '.join(PRESETS)}", repr(name))
    chosen = PRESETS[name]
    if not changes.get("point_heads", chosen.point_heads) or changes.get("encoder", chosen.encoder) == "patches":
        changes.setdefault("visibility_width", 0)  # the preset's head has nothing to stand on
    return dataclasses.replace(chosen, **changes)
