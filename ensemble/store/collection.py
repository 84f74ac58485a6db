"""A collection: the results that are being filled in, box by box, while the engine runs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..engine import DIVERGED, RULE_MET, Ended
from ..plan import stored_arrays
from ..study import Study
from .boxes import Box
from .results import Results
from .schema import FINISHED, NEVER_ENDED, STATUS, add_counts


class Collection:
    """The boxes that a run has to fill; a box's arrays exist from its first member's start to its last one's end.

    `on_complete(number, results)` is called once a box, when its last member has ended.
    """

    def __init__(self, study: Study, boxes: Mapping[int, Box], on_complete: Callable[[int, Results], None]):
        self.study, self.boxes, self.on_complete = study, boxes, on_complete
        self.open: dict[int, Results] = {}
        self.left = {number: box.size for number, box in boxes.items()}
        self.ended = np.zeros(len(STATUS), np.int64)
        """How many members ended with each status."""
        self.owner = np.full(study.members, -1, np.int32)
        for number, box in boxes.items():
            self.owner[box.members(study)] = number

    def adopt(self, number: int, results: Results) -> None:
        """Takes over a box that was partly filled before."""
        self.open[number] = results
        done = results.status[results.status >= FINISHED]
        self.left[number] -= len(done)
        self.ended += np.bincount(done, minlength=len(STATUS))

    def unfinished(self, members: np.ndarray) -> np.ndarray:
        """Those of these members that belong to a box of the collection and have no result."""
        members = members[self.owner[members] >= 0]
        done = np.zeros(len(members), bool)
        for number, results in self.open.items():
            mine = np.flatnonzero(self.owner[members] == number)
            done[mine] = results.status[results.rows(members[mine])] >= FINISHED
        return members[~done]

    def sink(self, stage_numbers: list[int]) -> "GroupSink":
        """Where a group's results go, whose s-th stage is the study's `stage_numbers[s]`-th."""
        return GroupSink(self, stage_numbers)

    def parts(self, members: np.ndarray) -> Iterator[tuple[Results, np.ndarray, np.ndarray]]:
        """(results, rows in them, which of `members` these are) of every box that has some of the members."""
        owners = self.owner[members]
        for number in np.unique(owners).tolist():
            if number not in self.open:
                self.open[number] = Results(self.study, self.boxes[number])
            mine = np.flatnonzero(owners == number)
            results = self.open[number]
            yield results, results.rows(members[mine]), mine

    def counts(self) -> dict[int, dict[int, list[int]]]:
        """How many members have each status, by box that is being filled and by cell."""
        found = {}
        for number, results in self.open.items():
            cells, place = np.unique(results.members // self.study.seeds, return_inverse=True)
            table = np.zeros((len(cells), len(STATUS)), np.int64)
            add_counts(table, place, results.status)
            found[number] = dict(zip(cells.tolist(), table.tolist(), strict=True))
        return found

    def count_finished(self, members: np.ndarray) -> None:
        """Notes members whose results are in, and hands over the boxes that this completes."""
        numbers, counts = np.unique(self.owner[members], return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self.left[number] -= count
            if self.left[number] == 0:
                self.on_complete(number, self.open.pop(number))


class GroupSink:
    """The engine's sink for one group; see `ensemble.engine.Sink`."""

    def __init__(self, collection: Collection, stage_numbers: list[int]):
        self.collection, self.stage_numbers = collection, stage_numbers
        self.probes = set(collection.study.stored_probes)
        self.arrays = stored_arrays(collection.study) if collection.study.store_weights else {}

    def start(self, members, risk):
        for results, rows, mine in self.collection.parts(members):
            results.status[rows] = STATUS["running"]
            # One that goes on from where it had ended does so from here.
            results.arrays["stage_end_step"][rows, self.stage_numbers[-1]] = NEVER_ENDED
            self._store("risk", risk, results, rows, mine)

    def _store(self, of: str, tree: Any, results: Results, rows: np.ndarray, mine: np.ndarray) -> None:
        """Stores the arrays that are part of a model or risk."""
        for name, stored in self.arrays.items():
            if stored.path.split(".")[0] == of:
                results.put(name, (rows,), stored.of(tree)[mine])

    def record(self, members, records, values):
        for results, rows, mine in self.collection.parts(members):
            for name in self.probes:
                if f"{name}_history" in results.arrays:
                    results.put(f"{name}_history", (rows, records[mine]), values[name][mine])

    def stage_end(self, members, stage, steps, values):
        number = self.stage_numbers[stage]
        for results, rows, mine in self.collection.parts(members):
            results.arrays["stage_end_step"][rows, number] = steps[mine]
            for name in self.probes & results.arrays.keys():
                results.put(name, (rows,), values[name][mine])
                if f"{name}_stage" in results.arrays:
                    results.put(f"{name}_stage", (rows, number), values[name][mine])

    def finish(self, members: np.ndarray, end: Ended):
        code = np.where(end.code == RULE_MET, STATUS["converged"], STATUS["max_steps"])
        code = np.where(end.code == DIVERGED, STATUS["diverged"], code)
        for results, rows, mine in self.collection.parts(members):
            arrays = results.arrays
            arrays["stop_step"][rows] = end.step[mine]
            for name in self.probes:
                history = arrays.get(f"{name}_history")
                if history is None:
                    continue
                # A member stays where it stopped: later records repeat its final value.
                later = np.arange(history.shape[1])[None, :] >= end.record[mine][:, None]
                which, records = np.nonzero(later)
                history[rows[which], records] = arrays[name][rows[which]]
            self._store("model", end.model, results, rows, mine)
            code[mine] = np.where(self._left_its_kernel(results, rows), STATUS["diverged"], code[mine])
            results.status[rows] = code[mine]
        self.collection.ended += np.bincount(code, minlength=len(STATUS))
        self.collection.count_finished(members)

    def _left_its_kernel(self, results: Results, rows: np.ndarray) -> np.ndarray:
        """Which members trained on though their exact loss was not known any more."""
        study = self.collection.study
        left = np.zeros(len(rows), bool)
        # The cells of a group have one activation, and are all trained on samples or none.
        if not study.points[results.members[rows[0]] // study.seeds].cell.outgrows_kernel:
            return left
        reached = results.arrays["stage_end_step"][rows] >= 0
        for name in (name for name, array in results.arrays.items() if array.dtype.kind == "f"):
            unknown = np.isnan(results.arrays[name][rows])
            if "stage" in results.variables[name].dims:
                unknown &= reached.reshape(*reached.shape, *(1,) * (unknown.ndim - 2))
            left |= unknown.reshape(len(rows), -1).any(axis=1)
        return left
