"""Write `portraits.json` anew from the shipped weights, and drawings of its points for inspection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.cbook import get_sample_data

from srn import FaceLandmarker, draw_faces, read_image
from srn.media.pictures import write_image
from srn.synthesis.occluders import drawn_mask

FOLDER = Path(__file__).parent


def main() -> None:
    landmarker = FaceLandmarker(accuracy="best", threads=1)
    hopper, astronaut = (
        read_image(get_sample_data("grace_hopper.jpg", asfileobj=False)),
        read_image(FOLDER / "astronaut.jpg"),
    )
    (face,) = landmarker.detect(hopper)
    masked = hopper.copy()
    drawn_mask(masked, face.landmarks.round(2), face.scheme, np.random.default_rng(2))
    pinned = {}
    for name, image in (("hopper", hopper), ("astronaut", astronaut), ("hopper, masked", masked)):
        faces = landmarker.detect(image)
        (found,) = faces
        pinned[name] = found.landmarks.round(2).tolist()
        write_image(f"{name}.png", draw_faces(image, faces))
    (FOLDER / "portraits.json").write_text(json.dumps(pinned) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
