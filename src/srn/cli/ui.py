"""`srn ui`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.errors import MissingDependencyError

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")]


def ui(
    port: Port = 8001,
    open_page: Open = True,
    weights: options.Weights = None,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Try it in the browser: drop pictures or videos, use the camera, hide parts of faces by hand.

    The page comes from this machine and is for this machine alone; no picture leaves it. Ctrl-C ends it.

    Example: `srn ui`
    """
    with MissingDependencyError.importing("ui", "srn ui"):
        from srn.evaluation.speed_steps import portrait
        from srn.inference.landmarker import FaceLandmarker
        from srn.serve.limits import Limits
        from srn.serve.run import listening, run, url_of
        from srn.ui.app import make_page

    def opened(name: Path | str | None) -> FaceLandmarker:
        return options.open_landmarker(None if name is None else Path(name), "balanced", False, engine, None)

    app = make_page(opened(weights), opened, Limits(), portrait())
    socket = listening("127.0.0.1", port)
    url = url_of(socket)

    def ready() -> None:
        options.note(f"{url}: Ctrl-C ends it")
        if open_page:
            webbrowser.open(url)

    run(app, socket, ready)
    options.note("ended")
