"""What a compiled program says of a step: loops, kernels, bytes and operations, read from XLA's optimised text."""

import math
import re
from typing import NamedTuple

FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"}
"""Instructions that launch nothing."""
SIZES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
ROOT_OR_QUOTIENT = 10
"""Instructions of a quotient or a square root: what CUDA's own fast path takes of either, about."""
OPERATIONS = {
    **dict.fromkeys(("add", "subtract", "multiply", "compare", "maximum", "minimum"), 1),
    "clamp": 2,
    **dict.fromkeys(("divide", "sqrt", "rsqrt"), ROOT_OR_QUOTIENT),
}
"""Floating-point instructions an element; what is not here moves or selects numbers."""


class Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    text: str

    def called(self, key: str) -> str | None:
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.text)
        return found and found.group(1)

    @property
    def rounds(self) -> int | None:
        """Of a loop whose number of rounds is known before it starts, so that nobody reads its condition."""
        found = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', self.text)
        return int(found.group(1)) if found else None


class Loop(NamedTuple):
    """A while loop: its own kernels a round, and the loops inside it."""

    rounds: int | None
    kernels: tuple[Instruction, ...]
    inside: tuple["Loop", ...]
    conditionals: int


class Step(NamedTuple):
    """What one step of all lanes of a call takes, the loop that holds the steps alone."""

    kernels: float
    copies: float
    products: float
    """Among the kernels: matrix products."""
    bytes: float
    operations: float


_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")


class Module:
    """An optimised module of XLA as text."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            head = re.match(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
            if head:
                current = self.computations.setdefault(head.group(2), {})
                self.entry = head.group(2) if head.group(1) else self.entry
                continue
            found = _INSTRUCTION.match(re.sub(r"/\*.*?\*/", "", line))
            if found:
                name, shape, opcode, rest = found.groups()
                operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
                current[name] = Instruction(name, shape, opcode, tuple(operands), line)

    def loops(self, computation: str | None = None) -> tuple[Loop, ...]:
        """The while loops of a computation, the entry's by default."""
        whole = self.computations[computation or self.entry].values()
        return tuple(self._loop(i) for i in whole if i.opcode == "while")

    def _loop(self, loop: Instruction) -> Loop:
        body = loop.called("body")
        assert body is not None
        own = [i for i in self.computations[body].values() if i.opcode not in FREE]
        return Loop(
            rounds=loop.rounds,
            kernels=tuple(i for i in own if i.opcode not in ("while", "conditional")),
            inside=self.loops(body),
            conditionals=sum(i.opcode == "conditional" for i in own),
        )

    def step(self, loop: Loop, steps_a_round: int) -> Step:
        """A step of a loop that takes `steps_a_round` in a round."""
        own = {i.name: i for c in self.computations.values() for i in c.values()}
        moved = sum(self._bytes(i, own) for i in loop.kernels)
        done = sum(self._operations(i) for i in loop.kernels)
        copies = sum("copy" in i.opcode for i in loop.kernels)
        products = sum("gemm" in i.name or "custom-call" in i.opcode for i in loop.kernels)
        return Step(*(x / steps_a_round for x in (len(loop.kernels), copies, products, moved, done)))

    def _bytes(self, kernel: Instruction, known: dict[str, Instruction]) -> int:
        """Every operand once, every result once: what passes between a kernel and the memory at least."""
        return size(kernel.shape) + sum(size(known[name].shape) for name in set(kernel.operands) if name in known)

    def _operations(self, kernel: Instruction) -> float:
        name = kernel.called("calls")
        inner = self.computations[name].values() if name else [kernel]
        return sum(self._operations_of(i) for i in inner)

    def _operations_of(self, i: Instruction) -> float:
        nested = i.called("calls")
        if nested and i.opcode == "fusion":
            return sum(self._operations_of(j) for j in self.computations[nested].values())
        inner = {j.name: j for c in self.computations.values() for j in c.values()}
        if i.opcode == "dot":
            contracted = [int(n) for n in re.findall(r"lhs_contracting_dims=\{(\d+)\}", i.text)]
            sides = dimensions(inner[i.operands[0]].shape)
            return math.prod(dimensions(i.shape)) * math.prod(sides[n] for n in contracted)
        if i.opcode == "reduce":
            return math.prod(dimensions(inner[i.operands[0]].shape))
        real = i.shape.startswith(("f64", "f32")) or i.opcode == "compare" and "f" in inner[i.operands[0]].shape[:1]
        return OPERATIONS.get(i.opcode, 0) * math.prod(dimensions(i.shape)) if real else 0.0


def dimensions(shape: str) -> list[int]:
    """Of one array, such as `f64[4096,32]{1,0}`."""
    found = re.search(r"\[([\d,]*)\]", shape)
    return [int(n) for n in found.group(1).split(",") if n] if found else []


def size(shape: str) -> int:
    """Bytes of an array or of a tuple of arrays."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(SIZES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n) for kind, dims in arrays)
