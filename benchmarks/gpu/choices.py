"""What the kernels' own numbers cost and gain on this card: steps between two looks, lanes of a call, threads."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ensemble.engine.kernels import fused, together
from ensemble.engine.kernels.resident import Resident
from ensemble.engine.kernels.xla import advance_program

from .lanes import Run
from .programs import Case, pool_of


class Choice(NamedTuple):
    """One number set to one value, on one case."""

    kernel: str
    number: str
    value: Any
    case: Case
    members: int


_SHAPES = ((8, 8, 8), (20, 20, 20), (32, 16, 4), (50, 50, 50))
"""(m, d, m*)."""


def choices() -> Iterator[Choice]:
    for m, d, mt in _SHAPES:
        case = Case("xla", m, d, mt)
        usual = 2 ** (22 - 2 * (m - 1).bit_length())
        for steps in (1, 8) if m in (8, 32) else ():
            yield Choice("xla", "steps a look", steps, case, 4 * usual)
        for lanes in (usual, 4 * usual) if m != 20 else (4 * usual,):
            yield Choice("xla", "lanes a call", lanes, case, lanes)
    for m, d, mt in _SHAPES:
        M, _, D = fused.padded(m, mt, d)
        now = fused.warps(M, D)
        for warps in sorted({max(1, now // 2), now, 2 * now}):
            yield Choice("fused", "warps", warps, Case("fused", m, d, mt), 2**14)


def _program(choice: Choice) -> Callable:
    if choice.number == "steps a look":
        return functools.partial(together.advance_together, steps_a_look=choice.value)
    if choice.number == "warps":
        return functools.partial(fused.advance_members, False, num_warps=choice.value)
    return together.advance_together


def run_of(choice: Choice) -> Run:
    pool = pool_of(choice.case)

    def changed(kernel: Any) -> None:
        kernel.count = choice.members
        kernel.tile = choice.members if choice.kernel == "xla" else 1
        kernel.run = advance_program(pool.program, _program(choice))
        kernel.resident = Resident(pool, kernel.run, kernel.count, kernel.count, kernel.tile)

    return Run(choice.kernel, choice.case, choice.members, changed)


def measured(steps: int, until: float) -> list[dict[str, Any]]:
    """ns a member-step of every choice; they are compiled side by side and timed one after the other.

    **Arguments:** `until`, of `time.perf_counter`: nothing is compiled or timed later, which its row says.
    """
    late = "left out: the time was over"

    def begun(choice: Choice) -> Run | str:
        if time.perf_counter() > until:
            return late
        try:
            run = run_of(choice)
            run.advance(1)
            return run
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0][:300]

    found = []
    todo = list(choices())
    with ThreadPoolExecutor(12) as pool:
        runs = list(pool.map(begun, todo))
    for choice, run in zip(todo, runs, strict=True):
        row = choice._asdict() | {"case": str(choice.case), "lanes": choice.members}
        run = late if time.perf_counter() > until else run
        found.append(row | ({"error": run} if isinstance(run, str) else {"ns": run.nanoseconds(steps)}))
        print(found[-1], flush=True)
    return found
