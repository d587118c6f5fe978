"""Facial landmarks that hold under occlusion.

Examples:
    >>> import numpy as np
    >>> from srn import FaceLandmarker, draw_faces, read_image
    >>> landmarker = FaceLandmarker(threads=1)
    >>> image = np.full((240, 320, 3), 128, np.uint8)  # or read_image("photo.jpg"): (H, W, 3) uint8 RGB
    >>> landmarker.detect(image)
    Faces(0 faces)
    >>> faces = landmarker.detect(image, boxes=[(100, 60, 220, 180)])
    >>> faces
    Faces(1 face, ibug68)
    >>> faces[0].landmarks.shape, faces[0].visibility.shape, faces[0].confidence.shape
    ((68, 2), (68,), (68,))
    >>> draw_faces(image, faces).shape
    (240, 320, 3)
"""

import importlib as _importlib
import os as _os
import typing as _typing

if _typing.TYPE_CHECKING:
    from srn.errors import InputError, SrnError
    from srn.face.geometry import Box, CropSpec
    from srn.face.localizer import Localizer, Prediction
    from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme
    from srn.inference.box_fit import BoxFit
    from srn.inference.drawing import TrackPainter, draw_faces
    from srn.inference.face import Face, Faces
    from srn.inference.face_finder import FaceFinder, FoundFace, LandmarkBoxFinder
    from srn.inference.landmarker import FaceLandmarker
    from srn.inference.runtime import OnnxLocalizer
    from srn.inference.smoothing import SmoothingConfig
    from srn.inference.tracker import FaceTracker
    from srn.inference.tracks import TrackerConfig
    from srn.media.pictures import read_image

__version__ = "0.1.0"

# From 1.29 on ONNX Runtime reports to its makers over the network, and keeps a number of the machine in the user's
# cache folder, unless this is set before it is imported.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# To use.
__all__ = ["Face", "FaceLandmarker", "FaceTracker", "Faces", "__version__", "draw_faces", "read_image"]

# To extend.
__all__ += ["Box", "BoxFit", "CropSpec", "FaceFinder", "FoundFace", "InputError", "LandmarkBoxFinder", "Localizer"]
__all__ += ["OnnxLocalizer", "Prediction", "SmoothingConfig", "SrnError", "TrackPainter", "TrackerConfig"]

# Schemes.
__all__ += ["COFW_29", "IBUG_68", "WFLW_98", "LandmarkScheme"]

# A name is imported when it is used: `import srn` and `srn --help` do not wait for NumPy, OpenCV and ONNX Runtime.
_PLACES = {
    "errors": ("InputError", "SrnError"),
    "face.geometry": ("Box", "CropSpec"),
    "face.localizer": ("Localizer", "Prediction"),
    "face.scheme": ("COFW_29", "IBUG_68", "WFLW_98", "LandmarkScheme"),
    "inference.drawing": ("TrackPainter", "draw_faces"),
    "inference.face": ("Face", "Faces"),
    "inference.box_fit": ("BoxFit",),
    "inference.face_finder": ("FaceFinder", "FoundFace", "LandmarkBoxFinder"),
    "inference.landmarker": ("FaceLandmarker",),
    "inference.runtime": ("OnnxLocalizer",),
    "inference.smoothing": ("SmoothingConfig",),
    "inference.tracker": ("FaceTracker",),
    "inference.tracks": ("TrackerConfig",),
    "media.pictures": ("read_image",),
}


def __getattr__(name: str) -> object:
    for place, names in _PLACES.items():
        if name in names:
            value = globals()[name] = getattr(_importlib.import_module(f"{__name__}.{place}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
