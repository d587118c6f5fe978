"""Detect the faces of many picture files: read ahead and decoded in threads, in common batches, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from srn.errors import DataError, first_line, is_out_of_memory, let_interruption_pass
from srn.face.geometry import ImageArray
from srn.inference.cores import usable_cores
from srn.inference.face import Faces
from srn.inference.landmarker import FaceLandmarker
from srn.media.boxes import PictureBoxes
from srn.media.journal import stamp_of
from srn.media.listing import PictureFile
from srn.media.picture_count import stated_count, told_count
from srn.media.pictures import Picture, decode_picture, decoded_bytes, read_encoded

BLOCK = 32
"""Pictures of a list that may share a batch: those from a multiple of it to the next.

Blocks depend on the place in the list alone. So a run that goes on, or is spread over machines, forms the same batches
as one that was not disturbed, and a face's numbers, which depend on its batch in the last bits, are the same.
"""
MEMORY = 256 << 20  # bytes of decoded pictures at a time; a larger picture is alone
_FILES_AHEAD = 16  # that are read and not decoded yet
_MOST_THREADS = 8

Finished = TypeVar("Finished")


class Detection(NamedTuple):
    """The faces of a picture file, in pixels of `image` (H, W, 3) uint8 RGB; `left_out` more had a low confidence.

    `pictures` says how many the file holds: it is the first of them. `stamp` tells its content (`stamp_of`), `profile`
    its colours (`Picture`).
    """

    picture: PictureFile
    image: ImageArray
    faces: Faces
    left_out: int = 0
    pictures: int = 1
    stamp: tuple[int, int] | None = None
    profile: bytes | None = None


class Choice(NamedTuple):
    """Which faces are kept.

    Attributes:
        boxes: the user's own face boxes, instead of the face finder's.
        min_score: lowest score of a face.
        min_confidence: lowest mean confidence of a face. If None, doubtful ones (`Face.is_doubtful`) of the face
            finder are left out, and those of the user's boxes are kept.
    """

    boxes: PictureBoxes | None = None
    min_score: float = 0.0
    min_confidence: float | None = None

    def of(self, found: Detection) -> Detection:
        """Leave out the faces of a detection that are not to be kept."""
        faces, left_out = self.kept(found.faces, boxed=self.boxes is not None)
        return found._replace(faces=faces, left_out=left_out)

    def kept(self, found: Faces, *, boxed: bool = False) -> tuple[Faces, int]:
        """Return the faces that are kept, and how many are left out for their low confidence.

        `boxed` says that they were looked for in the user's boxes.
        """
        faces = kept = found.above(score=self.min_score)
        if self.min_confidence:
            kept = faces.above(confidence=self.min_confidence)
        elif self.min_confidence is None and not boxed:
            kept = Faces(face for face in faces if not face.is_doubtful)
        return kept, len(faces) - len(kept)


def detect_pictures(
    landmarker: FaceLandmarker,
    pictures: Sequence[PictureFile],
    choice: Choice,
    finish: Callable[[Detection], Finished],
    *,
    finished: Container[Path] = (),
    memory: int = MEMORY,
    tell: Callable[[str], object] = lambda line: None,
    animation: str | None = None,
) -> Iterator[list[Finished | DataError]]:
    """Detect the faces of picture files.

    Args:
        finish: what is done with each detection, in a thread: it draws, encodes, writes.
        finished: stems of the pictures that are passed over.
        memory: bytes that decoded pictures take at most, in all stages together; a larger picture is alone.
        tell: gets a line for each file of several pictures, and where memory does not suffice for what is tried.
        animation: what that line says is to be done about an animation (`told_count`).

    Yields:
        For each batch of pictures, in their order: what `finish` returns, or the error where a picture cannot be read
        or processed.
    """
    with ThreadPoolExecutor(min(max(2, usable_cores()), _MOST_THREADS)) as pool:
        files = iter([(n, picture) for n, picture in enumerate(pictures) if picture.stem not in finished])
        stages = _Stages(pool, files, finish=finish, memory=memory, tell=tell, animation=animation)
        try:
            while batch := stages.next_batch():
                found = iter(stages.detect(landmarker, [one for one in batch if isinstance(one, Detection)], choice))
                stages.finish([one if isinstance(one, DataError) else next(found) for one in batch])
                del batch, found  # the memory of the pictures
                yield from stages.taken()
            stages.settle()
            yield from stages.taken()
        finally:
            pool.shutdown(cancel_futures=True)


class _File(NamedTuple):
    """A file that was read: its first picture takes `size` bytes, and it holds `held` of them."""

    content: bytes
    size: int
    held: int
    stamp: tuple[int, int] | None


class _Next(NamedTuple):
    """A picture that is being decoded, the first of its file; `number` is its place in the list."""

    number: int
    picture: PictureFile
    file: _File
    decoded: Future[Picture]

    @property
    def size(self) -> int:
        return self.file.size


class _Stages(Generic[Finished]):
    """Pictures on their way: files being read, pictures being decoded, a batch being detected, another being finished.

    The caller's thread moves them on. `_used` is the memory that decoded pictures take, in bytes.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, files: Iterator[tuple[int, PictureFile]], *,
        finish: Callable[[Detection], Finished], memory: int, tell: Callable[[str], object], animation: str | None,
    ) -> None:  # fmt: skip
        self._pool, self._files, self._finish, self._memory, self._tell = pool, files, finish, memory, tell
        self._animation = animation
        self._reading: deque[tuple[int, PictureFile, Future[_File]]] = deque()
        self._decoding: deque[_Next] = deque()
        self._finishing: list[tuple[Detection, Future[Finished]] | DataError] = []
        self._used = self._of_batch = self._of_finishing = 0
        self._most = BLOCK  # pictures of a batch; less once memory has ended
        self._ready: list[list[Finished | DataError]] = []

    def next_batch(self) -> list[Detection | DataError]:
        """Give the next pictures that share a batch, still without faces; an empty list at the end."""
        batch: list[Detection | DataError] = []
        block = self._of_batch = 0
        while self._decode_ahead():
            one = self._decoding[0]
            # A batch takes half of the memory; the next one is decoded meanwhile.
            full = len(batch) >= self._most or self._of_batch + one.size > self._memory // 2
            if batch and (full or one.number // BLOCK != block):
                break
            block = one.number // BLOCK
            self._of_batch += one.size
            batch.append(self._decoded(self._decoding.popleft()))
        return batch

    def _decode_ahead(self) -> bool:
        """Begin to decode as many pictures as memory allows; returns whether there is one for the batch."""
        while True:
            while len(self._reading) < _FILES_AHEAD and (file := next(self._files, None)) is not None:
                self._reading.append((*file, self._pool.submit(_encoded, file[1].path)))
            if not self._reading or (self._decoding and not self._reading[0][2].done()):
                break
            number, picture, read = self._reading[0]
            error = read.exception()
            had = _File(b"", 0, 1, None) if error else read.result()
            if self._used and self._used + had.size > self._memory:
                if self._decoding or not self._finishing:
                    break
                self.settle()
                continue
            self._reading.popleft()
            self._used += had.size
            decoded: Future[Picture] = Future()
            if error is None:
                decoded = self._pool.submit(decode_picture, had.content, picture.path)
            else:
                decoded.set_exception(error)
            self._decoding.append(_Next(number, picture, had._replace(content=b""), decoded))
        return bool(self._decoding)

    def _decoded(self, one: _Next) -> Detection | DataError:
        """Wait for a picture. One that found no memory is decoded again when less is taken."""
        path = one.picture.path
        try:
            try:
                image, profile = one.decoded.result()
            except MemoryError:
                self.settle()
                self._tell(f"{path}: no memory to decode it beside others; once more")
                image, profile = decode_picture(read_encoded(path), path)
        except DataError as error:
            return error
        except MemoryError as error:
            return DataError.at(path, "a picture that fits into memory", first_line(error))
        if one.file.held > 1:
            self._tell(told_count(one.file.held, path, self._animation))
        return Detection(one.picture, image, Faces(), 0, one.file.held, one.file.stamp, profile)

    def detect(
        self, landmarker: FaceLandmarker, loaded: Sequence[Detection], choice: Choice
    ) -> list[Detection | DataError]:
        """Detect the faces of a few pictures. If that fails, each half is tried alone: most are not to blame."""
        if not loaded:
            return []
        given = None if choice.boxes is None else [choice.boxes[one.picture.path] for one in loaded]
        at_once = landmarker.batch_size
        try:
            found = landmarker.detect_batch([one.image for one in loaded], given)
        except Exception as error:  # of OpenCV, of ONNX Runtime, out of memory
            let_interruption_pass(error)
            of_memory, half, path = is_out_of_memory(error), len(loaded) // 2, loaded[0].picture.path
            if half:
                if of_memory and half < self._most:
                    self._most = half
                    self._tell(f"no memory for {len(loaded)} pictures at once: from now on at most {half}")
                parts = loaded[:half], loaded[half:]
                return [one for part in parts for one in self.detect(landmarker, part, choice)]
            return [DataError.at(path, "a picture that can be processed", first_line(error))]
        if landmarker.batch_size < at_once:
            self._tell(f"no memory for {at_once} faces at once: from now on at most {landmarker.batch_size}")
        return [choice.of(one._replace(faces=faces)) for one, faces in zip(loaded, found, strict=True)]

    def finish(self, batch: Sequence[Detection | DataError]) -> None:
        """Hand a detected batch to the threads that finish it, after the batch before."""
        self.settle()
        self._of_finishing = self._of_batch
        self._finishing = [
            one if isinstance(one, DataError) else (one, self._pool.submit(self._finish, one)) for one in batch
        ]

    def settle(self) -> None:
        """Wait for the batch that is being finished, and free its memory."""
        done: list[Finished | DataError] = []
        for one in self._finishing:
            if isinstance(one, DataError):
                done.append(one)
                continue
            try:
                done.append(one[1].result())
            except MemoryError:  # now that less is taken
                done.append(self._finish(one[0]))
        self._ready += [done] if done else []
        self._used -= self._of_finishing
        self._finishing, self._of_finishing = [], 0

    def taken(self) -> list[list[Finished | DataError]]:
        """Take the batches that are ready."""
        ready, self._ready = self._ready, []
        return ready


def _encoded(path: Path) -> _File:
    stamp = stamp_of(path)  # before it is read: what changes later is another content
    content = read_encoded(path)
    return _File(content, decoded_bytes(content), stated_count(content), stamp)
