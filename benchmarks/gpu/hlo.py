"""What a compiled program says of a step: loops, kernels, bytes and operations, read from XLA's optimised text."""

import functools
import math
import re
from typing import NamedTuple

FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"}
"""Instructions that launch nothing."""
SIZES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
ROOT_OR_QUOTIENT = 8
"""Instructions of a quotient or a square root: what CUDA's fast path of either takes at least."""


class Operations(NamedTuple):
    """Floating-point operations; what is not counted moves or selects numbers."""

    adds: float = 0.0
    multiplies: float = 0.0
    others: float = 0.0

    @property
    def instructions(self) -> float:
        """At least so many: every addition may be one with a multiplication."""
        return max(self.adds, self.multiplies) + self.others

    def plus(self, other: "Operations", times: float = 1.0) -> "Operations":
        return Operations(*(x + times * y for x, y in zip(self, other, strict=True)))


def operations_of(name: str) -> Operations:
    """Of an operation on one number, by XLA's name of it or JAX's."""
    if name in ("add", "subtract", "sub"):
        return Operations(adds=1)
    if name in ("multiply", "mul", "integer_pow"):
        return Operations(multiplies=1)
    if name in ("divide", "div", "sqrt", "rsqrt"):
        return Operations(others=ROOT_OR_QUOTIENT)
    compares = ("compare", "maximum", "minimum", "max", "min", "lt", "le", "gt", "ge", "eq", "ne")
    return Operations(others={"clamp": 2, **dict.fromkeys(compares, 1)}.get(name, 0))


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
    operations: Operations


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

        self.known = {i.name: i for c in self.computations.values() for i in c.values()}

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
        moved = sum(self._bytes(i) for i in loop.kernels)
        done = functools.reduce(Operations.plus, map(self._operations, loop.kernels), Operations())
        copies = sum("copy" in i.opcode for i in loop.kernels)
        products = sum("gemm" in i.name or "custom-call" in i.opcode for i in loop.kernels)
        figures = (x / steps_a_round for x in (len(loop.kernels), copies, products, moved))
        return Step(*figures, Operations().plus(done, 1 / steps_a_round))

    def _bytes(self, kernel: Instruction) -> int:
        """Every operand once, every result once: what passes between a kernel and the memory at least."""
        if "scatter" in kernel.name:  # in place, and only the rows that are due
            return sum(size(self.known[n].shape) for n in set(kernel.operands) if self.known[n].shape != kernel.shape)
        return size(kernel.shape) + sum(size(self.known[n].shape) for n in set(kernel.operands) if n in self.known)

    def _operations(self, i: Instruction) -> Operations:
        nested = i.called("calls")
        if nested and i.opcode == "fusion":
            return functools.reduce(Operations.plus, map(self._operations, self.computations[nested].values()))
        shapes = [self.known[name].shape for name in i.operands if name in self.known]
        if i.opcode == "dot":
            contracted = [int(n) for n in re.findall(r"lhs_contracting_dims=\{(\d+)\}", i.text)]
            terms = math.prod(dimensions(i.shape)) * math.prod(dimensions(shapes[0])[n] for n in contracted)
            return Operations(adds=terms, multiplies=terms)
        if i.opcode == "reduce":
            return Operations(adds=math.prod(dimensions(shapes[0])) if is_real(shapes[0]) else 0)
        real = any(map(is_real, shapes)) if i.opcode == "compare" else is_real(i.shape)
        return Operations().plus(operations_of(i.opcode), math.prod(dimensions(i.shape)) if real else 0)


def is_real(shape: str) -> bool:
    return shape.startswith(("f64", "f32"))


def dimensions(shape: str) -> list[int]:
    """Of one array, such as `f64[4096,32]{1,0}`."""
    found = re.search(r"\[([\d,]*)\]", shape)
    return [int(n) for n in found.group(1).split(",") if n] if found else []


def size(shape: str) -> int:
    """Bytes of an array or of a tuple of arrays."""
    arrays = re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape)
    return sum(SIZES.get(kind, 4) * math.prod(int(n) for n in dims.split(",") if n) for kind, dims in arrays)
