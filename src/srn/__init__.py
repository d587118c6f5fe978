"""Facial landmarks that hold under occlusion.

from srn import FaceLandmarker
faces = FaceLandmarker().detect(image)  # image: (H, W, 3) uint8 RGB
"""

from srn.errors import SrnError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme
from srn.inference.drawing import draw_faces
from srn.inference.face import Face
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker, TrackerConfig

__version__ = "0.1.0"

__all__ = [
    "COFW_29",
    "IBUG_68",
    "WFLW_98",
    "Box",
    "Face",
    "FaceLandmarker",
    "FaceTracker",
    "LandmarkScheme",
    "SrnError",
    "TrackerConfig",
    "__version__",
    "draw_faces",
]
