"""`srn serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from srn.cli import options
from srn.errors import InputError, MissingDependencyError

Host = Annotated[str, typer.Option(help="Address to listen on; another one than this machine's own needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="SRN_TOKEN", help="Ask for `Authorization: Bearer TOKEN`. Other users see command lines."),
]
Public = Annotated[bool, typer.Option("--public", help="Listen beyond this machine without a token.")]
Megabytes = Annotated[float, typer.Option("--max-megabytes", help="Largest body of a request.")]
Megapixels = Annotated[float, typer.Option("--max-megapixels", help="Largest picture.")]
Queue = Annotated[int, typer.Option(min=1, help="Requests at a time; further ones are told to come again.")]
Memory = Annotated[float, typer.Option(help="Megabytes that pictures take at a time, encoded and decoded.")]
Seconds = Annotated[float, typer.Option(help="Time for a body to arrive, and for its answer after that.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    public: Public = False,
    weights: options.Weights = None,
    flip_average: options.Flip = False,
    smallest: options.Smallest = None,
    max_faces: options.MaxFaces = 256,
    max_megabytes: Megabytes = 20.0,
    max_megapixels: Megapixels = 50.0,
    queue: Queue = 256,
    memory: Memory = 1000.0,
    seconds: Seconds = 60.0,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Answer pictures with their faces over HTTP, on this machine.

    POST a picture to /detect: the answer is what `srn detect --json` says of it. Requests that wait are detected
    together. /docs explains the rest, /health and /metrics watch it. Ctrl-C and SIGTERM finish what is in progress.

    Example: `srn serve --port 8000`, then
    `curl --data-binary @portrait.jpg http://127.0.0.1:8000/detect`
    """
    with MissingDependencyError.importing("serve", "srn serve"):
        from srn.serve.app import make_app
        from srn.serve.limits import Limits
        from srn.serve.run import is_loopback, listening, names_of, run, url_of
    limits = Limits(max_megabytes, max_megapixels, queue, memory, seconds)
    own = is_loopback(host)
    if not own and token is None and not public:
        raise InputError.at(
            "--host", "a token (SRN_TOKEN or --token) for an address that others reach, or --public", host
        )
    landmarker = options.open_landmarker(
        weights, "balanced", flip_average, engine, None, smallest=smallest, max_faces=max_faces
    )
    opened = listening(host, port)
    app = make_app(landmarker, limits, token, names_of(host) if own else None)
    run(app, opened, lambda: options.note(f"{url_of(opened)} ({landmarker.localizer.name}), Ctrl-C ends it"))
    options.note("ended")
