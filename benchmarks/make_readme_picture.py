"""Make `docs/images/hopper.jpg`: one portrait, clean and hidden in three ways, with what `srn` says of each.

    python tools/make_readme_picture.py

The portrait is Rear Admiral Grace Hopper, a public-domain photograph of the U.S. Navy that ships with Matplotlib. The
occluders are drawn by `srn.synthesis.occluders`, through the landmarks found in the clean picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.cbook import get_sample_data

from srn import FaceLandmarker, draw_faces
from srn.face.geometry import ImageArray
from srn.media.pictures import read_image, write_image
from srn.synthesis.occluders import drawn_mask, fingers, sunglasses

OUT = Path(__file__).parents[1] / "docs" / "images" / "hopper.jpg"
HEIGHT = 420


def main() -> None:
    portrait = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))[90:450, 60:460]
    landmarker = FaceLandmarker()
    (clean,) = landmarker.detect(portrait)
    shape, scheme = clean.landmarks, clean.scheme

    def hidden(kind: str) -> ImageArray:
        picture = np.array(portrait)
        if kind == "mask":
            drawn_mask(picture, shape, scheme, np.random.default_rng(2))
        elif kind == "sunglasses":
            sunglasses(picture, shape, scheme, np.random.default_rng(6))
        elif kind == "hand":
            fingers(picture, shape[54], 130, np.random.default_rng(2))
        return picture

    tiles = []
    for kind in ("clean", "mask", "sunglasses", "hand"):
        picture = hidden(kind)
        tiles.append(draw_faces(picture, landmarker.detect(picture), boxes=False))
    write_image(OUT, np.concatenate(tiles, axis=1), quality=88)
    print(OUT)


if __name__ == "__main__":
    main()
