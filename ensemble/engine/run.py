"""Running workloads side by side: where one leaves cores without work, the next begins."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from .kernels import choose
from .stream import Stream
from .workload import Flights, Work, Workload

_MOST_SIDE_BY_SIDE = 8


class Watch(NamedTuple):
    """What a caller wants to know and decide while workloads run; asked about once a second."""

    progress: Callable[[Work], None] = lambda work: None
    """Called with all that was done so far."""
    wants_stop: Callable[[], bool] = lambda: False
    """Whether to end early: members in flight are left unfinished."""
    wants_flights: Callable[[], bool] = lambda: False
    """Whether `keep` is to be called now, with every member at rest; asked last once before an early end."""
    keep: Callable[[list[Flights]], None] = lambda flights: None
    """Takes the members in flight, those of one program together."""


def run_workloads(works: Iterable[Workload], watch: Watch | None = None) -> Work:
    """Runs every member of `works` to its end; results reach the sinks as soon as they are known.

    Workloads begin in order, the next one when those before have nobody left to start and too few members in flight
    for every core. `works` may be a generator: it is asked for the next one only then.
    """
    watch = watch or Watch()
    queue = iter(works)
    done, running = Work(), []
    calls: dict[Future, Stream] = {}
    more = True
    moved = False  # since the members in flight were kept
    with ThreadPoolExecutor(_MOST_SIDE_BY_SIDE) as pool:
        while True:
            while more and len(running) < _MOST_SIDE_BY_SIDE and all(run.leaves_room for run in running):
                work = next(queue, None)
                more = work is not None
                if work is not None and len(work.members):
                    stream = Stream(work, [choose(pool, work.engine)(pool, len(work.members)) for pool in work.pools])
                    if stream.is_over:
                        done = done.plus(stream.done)
                    else:
                        running.append(stream)
            stops, keeps = watch.wants_stop(), watch.wants_flights()
            if not stops and not (keeps and moved):
                moved = True
                calls |= {pool.submit(run.advance): run for run in running if run not in calls.values()}
            if not calls:
                if keeps:
                    watch.keep([flights for run in running for flights in run.flights()])
                    moved = False
                if stops or not running:
                    break
                continue
            for call in wait(calls, return_when=FIRST_COMPLETED).done:
                run = calls.pop(call)
                call.result()
                run.settle()
                if run.is_over:
                    running.remove(run)
                    done = done.plus(run.done)
            watch.progress(functools.reduce(Work.plus, (run.done for run in running), done))
    return functools.reduce(Work.plus, (run.done for run in running), done)
