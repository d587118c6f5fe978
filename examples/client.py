"""Ask a running `srn serve` for the faces of pictures, with nothing but the standard library.

srn serve --port 8000                                           # in another terminal
python examples/client.py portrait.jpg --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BUSY = (429, 503)
"""Answers that mean: come again."""


def ask(url: str, picture: bytes, token: str | None = None, tries: int = 5) -> Any:
    """Post a picture and return its record, as in the JSON of `srn detect`; a busy service is asked again."""
    headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
    for left in reversed(range(tries)):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/detect", picture, headers)) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = json.load(error)["error"]
            if error.code not in BUSY or not left:
                raise SystemExit(f"{error.code}: {reason}") from error
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except urllib.error.URLError as error:
            raise SystemExit(f"{url}: {error.reason}; is `srn serve` running?") from error
    raise AssertionError("the last try returns or ends the program")


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token")
    given = parser.parse_args(words)

    for path in given.pictures:
        record = ask(given.url, path.read_bytes(), given.token)
        for number, face in enumerate(record["faces"], 1):
            x, y = face["landmarks"][30]
            print(f"{path.name}: face {number}, tip of the nose at ({x:.0f}, {y:.0f})")
        if not record["faces"]:
            print(f"{path.name}: no face")


if __name__ == "__main__":
    main()
