"""What a step of a Pallas kernel takes, counted in its operations before they are compiled."""

import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .hlo import Operations, operations_of


class Counted(NamedTuple):
    """Of one member's step."""

    operations: Operations = Operations()
    loaded: float = 0.0
    """Bytes of arrays that are read: caches serve them."""
    stored: float = 0.0
    """Bytes of arrays that are written: they go as far as the second cache."""

    def plus(self, other: "Counted", times: float = 1.0) -> "Counted":
        return Counted(
            self.operations.plus(other.operations, times),
            self.loaded + times * other.loaded,
            self.stored + times * other.stored,
        )


def step_of(run: Any, arguments: Any) -> Counted:
    """A round of the kernel's while loop."""
    (kernel,) = [e.params["jaxpr"] for e in jax.make_jaxpr(run)(*arguments).eqns if e.primitive.name == "pallas_call"]
    (loop,) = [e for e in kernel.eqns if e.primitive.name == "while"]
    return _count(loop.params["body_jaxpr"].jaxpr)


def _count(jaxpr: Any) -> Counted:
    found = Counted()
    for e in jaxpr.eqns:
        name, out = e.primitive.name, e.outvars[0].aval if e.outvars else None
        if name == "cond":  # what is due is put aside: no part of a step
            continue
        if name == "scan":
            found = found.plus(_count(e.params["jaxpr"].jaxpr), e.params["length"])
        elif name == "while":
            raise ValueError("while: a loop inside a step has no number of rounds that could be counted")
        elif inner := e.params.get("jaxpr", e.params.get("call_jaxpr")):
            found = found.plus(_count(getattr(inner, "jaxpr", inner)))
        elif name == "get":
            found = found.plus(Counted(loaded=_bytes(out)))
        elif name == "swap":
            found = found.plus(Counted(stored=_bytes(out)))
        elif name == "dot_general":
            (contracted, _), _ = e.params["dimension_numbers"]
            size = math.prod(out.shape) * math.prod(e.invars[0].aval.shape[axis] for axis in contracted)
            # The units for products of float64 numbers take two where others take one.
            rate = 2.0 if out.dtype == jnp.float64 else 1.0
            found = found.plus(Counted(Operations(adds=1, multiplies=1)), size / rate)
        elif name == "elementwise_inline_asm_p":
            found = found.plus(Counted(_of_instructions(e.params["asm"])), math.prod(out.shape))
        elif name == "reduce_sum":
            found = found.plus(Counted(Operations(adds=math.prod(e.invars[0].aval.shape))))
        elif any(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in e.invars):
            found = found.plus(Counted(operations_of(name)), math.prod(out.shape))
    return found


def _of_instructions(asm: str) -> Operations:
    """Of PTX: a multiplication with an addition is both; what is left of a root is the card's own approximation."""
    names = re.findall(r"\b(fma|add|sub|mul|rsqrt)\.", asm)
    fused, roots = names.count("fma"), names.count("rsqrt")
    adds = names.count("add") + names.count("sub")
    return Operations(adds=fused + adds, multiplies=fused + names.count("mul"), others=roots)


def _bytes(array: Any) -> int:
    return math.prod(array.shape) * array.dtype.itemsize
