"""Devices: how many compiled programs a process keeps."""

import gc
import weakref

import jax.numpy as jnp

from ensemble.engine import Compiled, kept, places


def test_a_process_keeps_a_bounded_number_of_programs():
    """Memory regions of programs are bounded by the system: a thousand structures would crash a process."""

    @kept
    def program(number: int) -> Compiled:
        return Compiled(lambda x: x + number)

    limit = program.cache_info().maxsize
    first = program(0)
    assert program(0) is first and float(first(places()[0], jnp.zeros(()))) == 0.0
    alive = [weakref.ref(first)]
    del first
    alive += [weakref.ref(program(number)) for number in range(1, limit + 1)]
    gc.collect()
    assert alive[0]() is None and all(ref() is not None for ref in alive[1:])
    assert float(program(0)(places()[0], jnp.ones(()))) == 1.0
