"""A batch in parts has the gradient of the whole; memory that is kept is not filled with zeros again."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from srn.errors import InputError
from srn.training.loss import LossTerms
from srn.training.memory import DividedBatches

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: not enough memory: you tried to ...")


class Toy:
    """A layer, its batches, and a memory that takes some examples at once."""

    def __init__(self, room: int, error: Exception | None = None, *, can_divide: bool = True) -> None:
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 2)
        self.batch = [torch.randn(7, 3), torch.randn(7, 2)]
        self.room, self.error, self.said, self.sizes = room, error or MemoryError(), list[str](), list[int]()
        self.divided = DividedBatches(self.cost, self.layer.zero_grad, self.said.append, can_divide=can_divide)

    def cost(self, batch: Sequence[Tensor]) -> LossTerms:
        self.sizes.append(len(batch[0]))
        output = self.layer(batch[0])
        squares = (output - batch[1]).square()
        if len(batch[0]) > self.room:
            raise self.error
        return LossTerms(squares.mean(), output.mean(), output.mean() * 2, squares.mean() * 3, squares.max() * 0)

    def gradient(self) -> list[Tensor]:
        self.terms = self.divided.gradient(self.batch)
        return [parameter.grad.clone() for parameter in self.layer.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("error", [MemoryError(), CUDA, CPU], ids=["Python", "CUDA", "CPU"])
def test_the_parts_have_the_gradient_of_the_whole(error: Exception) -> None:
    whole, parts = Toy(7), Toy(2, error)
    expected = whole.gradient()

    for _ in range(2):
        torch.testing.assert_close(parts.gradient(), expected, atol=1e-7, rtol=1e-5)
        torch.testing.assert_close(parts.terms, whole.terms, atol=1e-7, rtol=1e-5)
    assert whole.sizes == [7]
    assert parts.sizes == [7, 4, 2, 2, 2, 1, 2, 2, 2, 1]  # two tries too large, then at once
    assert parts.said == [f"out of memory: batches of 7 are learned in {n} parts from now on" for n in (2, 4)]
    assert not any(term.requires_grad for term in parts.terms)


def test_a_part_that_fails_late_leaves_no_gradient() -> None:
    toy = Toy(7)
    cost, expected = toy.cost, toy.gradient()

    def late(batch: Sequence[Tensor]) -> LossTerms:
        if toy.sizes[-1:] == [4]:  # the second of two parts
            toy.sizes.append(0)
            raise MemoryError
        return cost(batch)

    toy.divided = DividedBatches(late, toy.layer.zero_grad, toy.said.append)
    toy.divided.parts = 2
    torch.testing.assert_close(toy.gradient(), expected, atol=1e-7, rtol=1e-5)
    assert toy.divided.parts == 4


def test_what_cannot_be_divided_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^a batch of one example: expected enough memory, found too little memory$"):
        Toy(0).gradient()
    several = "^batch_size, with several processes: expected enough memory, found CUDA out of memory"
    with pytest.raises(InputError, match=several):
        Toy(2, CUDA, can_divide=False).gradient()


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory")])
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    with pytest.raises(type(error), match=re.escape(str(error))):
        Toy(2, error).gradient()


FAULTS = """
import resource, sys
import torch
from srn.training.memory import keep_memory
print(keep_memory() if sys.argv[1] == "kept" else None)
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    block = torch.ones(12_000_000)  # 48 MB: glibc itself keeps blocks up to 32
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an option of glibc")
def test_memory_that_is_kept_is_not_fetched_again_from_the_system() -> None:
    kept, returned = (
        subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout.split()
        for how in ("kept", "returned")
    )
    assert kept[0] == "True"
    assert int(returned[1]) >= 30 * 48_000_000 // 2**21  # by pages of 2 MB at most
    # The first few blocks are new. How many depends on where the process lies in memory.
    assert int(kept[1]) < 0.25 * int(returned[1])
