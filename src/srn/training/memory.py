"""Steps that fit the memory: a batch that does not is divided, and the gradients of its parts are added up.

And memory that stays: a step needs the same again as the step before.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence

from torch import Tensor

from srn.errors import InputError, first_line, is_out_of_memory
from srn.training.loss import LossTerms

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def keep_memory() -> bool:
    """Let this process keep memory that it frees, for its next allocations; tell whether it does: with glibc only.

    glibc returns large blocks to the system, which fills them with zeros, page by page, when they are allocated again:
    a third of the time of `paper` on a CPU, a tenth of that of `robust` (docs/speed.md). This holds for the whole
    process: a matter for its owner.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return set_option is not None and all([set_option(_M_MMAP_MAX, 0), set_option(_M_TRIM_THRESHOLD, -1)])


class DividedBatches:
    """Computes the gradient of batches, each in as many parts as the memory needs; they only grow in number.

    The cost of a batch is a mean over its examples. So the sum of the parts' gradients, each weighted by its share of
    the examples, is that of the whole batch. Only batch norm tells them apart: its statistics are those of a part.

    Args:
        cost: computes the cost of a batch of examples, in tensors (B, ...), with its graph.
        clear: sets the gradients to zero.
        say: takes a line for the user.
        can_divide: False where several processes exchange gradients, since they would wait for each other.
    """

    def __init__(
        self,
        cost: Callable[[Sequence[Tensor]], LossTerms],
        clear: Callable[[], None],
        say: Callable[[str], None],
        *,
        can_divide: bool = True,
    ) -> None:
        self._cost, self._clear, self._say, self._can_divide = cost, clear, say, can_divide
        self.parts = 1

    def gradient(self, batch: Sequence[Tensor]) -> LossTerms:
        """Compute the gradient of a batch; return the terms of its cost, without their graph.

        Raises:
            InputError: there is not even memory for one example, or the batch cannot be divided.
        """
        while True:
            self._clear()
            try:
                return self._added_up(batch)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            # Outside the handler, the error no longer keeps the tensors of the failed try.
            examples = len(batch[0])
            if not self._can_divide or self.parts >= examples:
                where = "a batch of one example" if self._can_divide else "batch_size, with several processes"
                raise InputError.at(where, "enough memory", reason)
            self.parts = min(2 * self.parts, examples)
            self._say(f"out of memory: batches of {examples} are learned in {self.parts} parts from now on")

    def _added_up(self, batch: Sequence[Tensor]) -> LossTerms:
        pieces = zip(*(tensor.tensor_split(self.parts) for tensor in batch), strict=True)
        added: list[Tensor] | None = None
        for piece in pieces:
            share = len(piece[0]) / len(batch[0])
            terms = self._cost(piece)
            (terms.total * share).backward()
            weighted = [term.detach() * share for term in terms]
            added = weighted if added is None else [a + b for a, b in zip(added, weighted, strict=True)]
        assert added is not None
        return LossTerms(*added)
