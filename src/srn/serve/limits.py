"""What one request may cost, and how many are taken at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

from srn.errors import InputError


@dataclass(frozen=True)
class Limits:
    """Limits of the service. Each refusal names the limit that it comes from.

    Attributes:
        megabytes: of a request's body, 10^6 bytes (413).
        megapixels: of a picture, 10^6 pixels; read from its header before it is decoded (413).
        queue: requests at a time, those in work among them; further ones are told to come again (429).
        memory: of all pictures at a time, encoded and decoded, 10^6 bytes (429).
        seconds: for a request's body to arrive (408), and for its answer after that (503).
    """

    megabytes: float = 20.0
    megapixels: float = 50.0
    queue: int = 256
    memory: float = 1000.0
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < 1e9:
                raise InputError.at(f"limits: {field.name}", "a number above 0 and below 10^9", repr(value))


class Refused(Exception):
    """A request that is not answered with faces: the HTTP status, and the reason for people."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason
