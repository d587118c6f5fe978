"""Landmarks from the ONNX file alone: NumPy, ONNX Runtime and OpenCV, without the package."""

import json
import sys
from collections.abc import Sequence

import cv2
import numpy as np
import onnxruntime


def landmarks(weights: str, image: np.ndarray, box: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points (N, 2) in picture pixels, visibility (N,), confidence (N,) for an RGB picture and a face box."""
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    config, n = json.loads(facts["config"]), len(json.loads(facts["mean_shape"]))
    side, face = session.get_inputs()[0].shape[2], config["face_size"]
    x0, y0, x1, y1 = box
    scale = face / (np.hypot(x1 - x0, y1 - y0) / np.sqrt(2))  # crop pixels per picture pixel
    shift = (side - 1) / 2 - scale * np.array([x0 + x1, y0 + y1]) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    feeds = {
        "image": crop.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255),
        "initial_shape": np.zeros((1, n, 2), np.float32),
        "hidden": np.zeros((1, session.get_inputs()[2].shape[1]), np.float32),
        "initial_weight": np.zeros(1, np.float32),
    }
    shapes, visibility, error = session.run(["shapes", "visibility", "expected_error"], feeds)
    ratio = 0.03 / np.maximum(error[0] / 2, 1e-6)
    return (shapes[0, -1] - shift) / scale, visibility[0], 1 - (1 + ratio) * np.exp(-ratio)


if __name__ == "__main__":
    picture = np.asarray(cv2.imread(sys.argv[2], cv2.IMREAD_COLOR_RGB))
    found = landmarks(sys.argv[1], picture, [float(v) for v in sys.argv[3:7]])
    for (x, y), seen, sure in zip(*found, strict=True):
        print(f"{x:.2f} {y:.2f} {seen:.2f} {sure:.2f}")
