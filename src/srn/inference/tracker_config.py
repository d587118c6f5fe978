"""`TrackerConfig`: the settings of `FaceTracker`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from srn.errors import InputError
from srn.inference.looker import MISPLACED
from srn.inference.smoothing import SmoothingConfig
from srn.settings import Count, Index, NonNegative, Positive, Settings, Share

Start = Literal["mean", "previous"]


@dataclass(frozen=True)
class TrackerConfig(Settings):
    """Settings of `FaceTracker`. Lengths are in face sizes (`Box.size`), times in seconds, intervals in frames.

    Attributes:
        smooth: report smoothed landmarks, with hidden ones held in place.
        flow: propagate landmarks from frame to frame by optical flow, to place crops and to smooth.
        least_flow: lowest mean trust in the optical flow at which it is used.
        smoothing: settings of the filters.
        mirror_every: interval between views of a track's mirrored crop; 0 for none. Half the difference between the
            two views changes slowly, so it also corrects the frames between them.
        mirror_gain: weight of a new such difference against the earlier ones.
        start: initial shape of the network in each frame. `mean`: as in a picture; `previous`: the shape of the frame
            before.
        iterations: number of iterations of the network that are used; all if None.
        find_every, find_when_empty, find_after_change: intervals of `FinderSchedule`.
        max_displacement: displacement of its crop above which a tracked face is viewed again.
        keep_confidence: mean confidence below which a face is lost.
        accept_confidence: lowest mean confidence of a new face, or of a lost one that is found again.
        max_shift, max_stretch: largest distance of a face from its predicted position, and ratio of its sizes.
        max_misfit: largest root mean square distance between the mean shape and a face aligned to it, in face units.
        max_misses: number of consecutive runs of the finder that may miss a face without, or with low, confidence.
        min_age_s: age below which a track that is lost is discarded.
        coast_s: time for which a lost face is still reported, with falling confidence.
        memory_s: time for which the number of a lost face is kept.
        fade_s, slow_s: times in which the confidence and the speed of a lost face fall to 1/e.
        reach, reach_per_s, max_reach: largest distance of a found box from a face's predicted position, its growth
            with each second since the face was lost, and the upper limit of the sum.
    """

    smooth: bool = True
    flow: bool = True
    least_flow: Share = 0.3
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    mirror_every: Index = 4
    mirror_gain: Share = 0.3
    start: Start = "mean"
    iterations: Count | None = None
    find_every: Count = 30
    find_when_empty: Count = 5
    find_after_change: Count = 8
    max_displacement: NonNegative = MISPLACED
    keep_confidence: Share = 0.2
    accept_confidence: Share = 0.28
    max_shift: NonNegative = 0.6
    max_stretch: Positive = 1.6
    max_misfit: NonNegative = 0.25
    max_misses: Count = 2
    min_age_s: NonNegative = 0.2
    coast_s: NonNegative = 1.0
    memory_s: NonNegative = 4.0
    fade_s: Positive = 0.4
    slow_s: Positive = 1.0
    reach: Positive = 0.6
    reach_per_s: NonNegative = 1.5
    max_reach: Positive = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_confidence > self.accept_confidence:
            found = f"{self.keep_confidence:g} and {self.accept_confidence:g}"
            raise InputError.at("TrackerConfig.keep_confidence", "at most accept_confidence", found)
