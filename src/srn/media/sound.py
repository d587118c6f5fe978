"""The sound of a video, packet by packet, on the clock that its reader gives the frames."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, cast

from srn.errors import DataError
from srn.media import ffmpeg
from srn.media.video_reading import DEFAULT_RATE, SET_BACK_FRAMES

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

SET_BACK_S = 0.1  # by which the clock of the sound runs back where another recording begins
MOST_AHEAD = 1000  # packets of sound of a recording whose pictures have not begun


def opened_sound(path: str | os.PathLike[str]) -> InputContainer | None:
    """Open a video for its sound; None where it has none."""
    with DataError.reading(path, "a video to take the sound from"):
        source = ffmpeg.open_input(path)
    if source.streams.audio:
        return source
    source.close()
    return None


def begin_s(source: InputContainer) -> float:
    """Return the time at which a video's sound begins."""
    sound = source.streams.audio[0]
    return float((sound.start_time or 0) * (sound.time_base or 0))


def sound_packets(source: InputContainer) -> Iterator[Packet[AudioStream]]:
    """Yield the packets of the first sound. Their times rise.

    Recordings that were joined each begin anew. The sound comes later by as much as the reader lets their pictures come
    later. What would be played beside the end of the recording before is left out.
    """
    pictures, sound = ffmpeg.picture_streams(source)[0], source.streams.audio[0]
    rate = float(pictures.average_rate or pictures.guessed_rate or DEFAULT_RATE)
    later = [0.0]  # seconds, by recording
    shown, order, heard, recording = 0.0, -inf, -inf, 0
    waiting: deque[tuple[int, float, Packet[AudioStream]]] = deque()  # for the pictures of their recording
    last: int | None = None  # time of a packet, as the file counts
    for packet in itertools.chain(source.demux(pictures, sound), [None]):
        if packet is not None and packet.pts is not None and packet.dts is not None:
            moment, now = float(packet.pts * packet.time_base), float(packet.dts * packet.time_base)
            if packet.stream.index == pictures.index:
                if order - now > SET_BACK_FRAMES / rate:
                    later.append(shown + 1 / rate - moment)
                order, shown = now, max(shown, moment + later[-1])
            else:
                recording += heard - now > SET_BACK_S
                heard = now
                waiting.append((recording, now, cast("Packet[AudioStream]", packet)))
        while waiting and (waiting[0][0] < len(later) or packet is None or len(waiting) > MOST_AHEAD):
            number, now, piece = waiting.popleft()
            if number == len(later):  # the sound alone begins anew: it goes on where it was
                later.append(0.0 if last is None else float(last * piece.time_base) - now)
            if last is None or _time(piece, later[number]) > last:
                last = _time(piece, later[number])
                ticks = last - cast("int", piece.dts)
                piece.pts, piece.dts = cast("int", piece.pts) + ticks, last
                yield piece


def _time(packet: Packet[AudioStream], later_s: float) -> int:
    return cast("int", packet.dts) + round(later_s / packet.time_base)
