"""The programs that are looked at: students of four widths under plain descent and Adam, in both precisions."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

import ensemble as ens
from ensemble.engine import Pool
from ensemble.engine.kernels import together
from ensemble.engine.lanes import NEVER, Lanes
from ensemble.plan import groups


class Case(NamedTuple):
    """One program: a kernel on one shape."""

    kernel: str
    neurons: int
    inputs: int = 16
    teacher_neurons: int = 4
    precision: str = "float64"
    update: str = "descent"
    activation: str = "abs_centred"

    def __str__(self) -> str:
        return (
            f"{self.kernel} m={self.neurons} m*={self.teacher_neurons} d={self.inputs} {self.precision} {self.update}"
        )


def study(case: Case, seeds: int = 1, **changes: Any) -> ens.Study:
    """A study whose one stage is the case's program."""
    protocol = {"kind": "fixed_decay", "step_size": 0.05, "weight_decay": 0.01, "steps": 400}
    fields = {
        "name": "accelerator",
        "seeds": seeds,
        "records": 0,
        "coordinates": "full",
        "precision": case.precision,
        "probes": ["loss"],
        "teacher": {
            "kind": "orthonormal",
            "activation": case.activation,
            "neurons": case.teacher_neurons,
            "inputs": case.inputs,
        },
        "student": {"neurons": case.neurons, "start": "balanced"},
        "protocol": protocol | ({"update": {"kind": case.update}} if case.update != "descent" else {}),
    }
    return ens.Study.model_validate(fields | changes)


def pool_of(case: Case) -> Pool:
    (pool,) = groups(study(case))[0].pools
    return pool


def program_of(case: Case, memory: int):
    """(function, arguments' shapes, lanes of a call) of a case on a device of so many bytes."""
    pool = pool_of(case)
    count = together.lanes_a_call(pool, memory)
    if case.kernel == "fused":
        from ensemble.engine.kernels.fused import advance_members

        run = functools.partial(advance_members, False, pool.program)
    else:
        run = functools.partial(together.advance_together, pool.program)
    integer = np.dtype(np.int32)
    lanes: Lanes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), pool.like)
    arguments = lanes, jax.ShapeDtypeStruct((16,), integer), jax.ShapeDtypeStruct((), integer)
    return run, arguments, count


__all__ = ["NEVER", "Case", "pool_of", "program_of", "study"]
