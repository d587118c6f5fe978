"""The paper's tracker: the cascade carried through a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srn.datasets.clip import Clip
from srn.errors import InputError
from srn.evaluation.followers import Float64Array, Track, each_frame, is_on_face
from srn.face.geometry import Box, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.landmarker import FaceLandmarker


@dataclass(frozen=True)
class CascadeFollower:
    """The cascade through a clip, one view per frame.

    This is the paper's tracker, and the study of starts and iterations announced in its section 4.4. The first crop is
    placed by the tight box of the true landmarks. A face is lost when its box overlaps the true one by less than
    `MINIMAL_OVERLAP`: that frame counts with its error, and the next restarts from the true box.

    Attributes:
        landmarker: its `accuracy` is not used.
        start: initial shape of a frame: `mean`, as in a picture, or `previous`, the shape of the frame before.
        placement: placement of the crops: `gt-box`, by the true box (the paper's protocol), or `previous`, upright
            and tight around the shape of the frame before.
        iterations: iteration whose shape is the answer; the last if None. Cost and state are those of all iterations.
        carry_state: hand the recurrent state from frame to frame (equation 13), for weights trained for it.
    """

    landmarker: FaceLandmarker
    name: str
    start: Literal["mean", "previous"] = "mean"
    placement: Literal["gt-box", "previous"] = "gt-box"
    iterations: int | None = None
    carry_state: bool = True

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise InputError.at("iterations", "at least 1", str(self.iterations))

    def __call__(self, clip: Clip) -> Track:
        before: Float64Array | None = None
        hidden: Float32Array | None = None

        def localize(image: ImageArray, truth: Float64Array) -> Float64Array:
            nonlocal before, hidden
            looker = self.landmarker.looker
            if before is None or self.placement == "gt-box":
                geometry = looker.geometry_of_box(Box.around(truth))
            else:
                geometry = looker.geometry_of_shape(before)
            start = before if self.start == "previous" else None
            view = looker.view([image], [geometry], starts=[start], hidden=hidden, iterations=self.iterations)
            shape: Float64Array = view.shapes[0]
            before, hidden = shape, view.hidden if self.carry_state else None
            if not is_on_face(shape, truth):
                before = hidden = None
            return shape

        return each_frame(clip, localize)
