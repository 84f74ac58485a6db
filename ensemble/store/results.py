"""Results in memory: one array a variable, filled in by the engine as members end; then a labelled dataset."""

import numpy as np
import xarray as xr

from ..engine import DIVERGED, RULE_MET, Ended
from ..study import Study
from .schema import FINISHED, SCHEMA_VERSION, STATUS, check, sizes, variables


class Results:
    """The members of a study as flat arrays, the first axis the member's number."""

    def __init__(self, study: Study):
        self.study = study
        self.variables = variables(study)
        self.sizes = sizes(study)
        precision = np.dtype(study.precision)
        self.arrays = {
            name: np.full((study.members, *(self.sizes[d] for d in v.dims)), v.fill, v.dtype or precision)
            for name, v in self.variables.items()
        }

    @property
    def status(self) -> np.ndarray:
        return self.arrays["status"]

    def adopt(self, ds: xr.Dataset) -> None:
        """Takes over the finished members of an earlier dataset of the same study."""
        done = ds["status"].values.reshape(-1) >= FINISHED
        for name, array in self.arrays.items():
            array[done] = ds[name].values.reshape(array.shape)[done]

    def sink(self, stage_numbers: list[int]) -> "GroupSink":
        """Where a group's results go, whose s-th stage is the study's `stage_numbers[s]`-th."""
        return GroupSink(self, stage_numbers)

    def put(self, name: str, index: tuple, values: np.ndarray) -> None:
        """Assigns values that may be shorter than a variable's own dimensions; what is beyond is 0.

        A neuron, teacher neuron or input that a cell does not have is stored as zero, which leaves the
        functions as they are.
        """
        array = self.arrays[name]
        rows = len(values)
        padded = np.zeros((rows, *array.shape[array.ndim - values.ndim + 1 :]), array.dtype)
        padded[(slice(None), *(slice(0, n) for n in values.shape[1:]))] = values
        array[index] = padded

    def dataset(self, provenance: dict[str, str | int | float]) -> xr.Dataset:
        """The labelled dataset, checked against the schema."""
        study = self.study
        axes = tuple(study.axes)
        grid = tuple(self.sizes[name] for name in (*axes, "seed"))
        data = {}
        for name, variable in self.variables.items():
            values = self.arrays[name].reshape(*grid, *self.arrays[name].shape[1:])
            data[name] = (
                (*axes, "seed", *variable.dims),
                values,
                _attributes(variable.units, variable.long_name),
            )
        data["status"][2].update(flag_values=np.array(list(STATUS.values()), np.int8), flag_meanings=" ".join(STATUS))
        for name, (values, long_name) in self._cell_sizes().items():
            if name in axes:  # the coordinate says it
                continue
            data[name] = (axes, values.reshape(grid[:-1]), _attributes("1", long_name))
        complete = int(np.all(self.status >= FINISHED))
        attributes = {
            "title": f"gd-atlas ensemble: {study.name}",
            "question": study.question,
            "Conventions": "CF-1.11",
            "schema_version": SCHEMA_VERSION,
            "complete": complete,
            "study": study.model_dump_json(exclude_none=True),
            "study_hash": study.hash,
            **provenance,
        }
        ds = xr.Dataset(data, coords=self._coordinates(), attrs=attributes)
        check(ds)
        return ds

    def _cell_sizes(self) -> dict[str, tuple[np.ndarray, str]]:
        cells = [p.cell for p in self.study.points]
        shapes = np.array([(c.student.width, *c.teacher.shape(), self.study.space(c).columns) for c in cells], np.int64)
        return {
            "student_neurons": (
                shapes[:, 0],
                "student neurons m of the cell; neurons beyond are stored as 0",
            ),
            "teacher_neurons": (
                shapes[:, 1],
                "teacher neurons m* of the cell; neurons beyond are stored as 0",
            ),
            "inputs": (shapes[:, 2], "dimension d of the input x"),
            "coordinates": (shapes[:, 3], "coordinates that rows of W are written in: d, or at most m + r of a basis"),
        }

    def _coordinates(self) -> dict:
        study = self.study
        coords = {
            name: (
                name,
                np.array(axis.values),
                _attributes(axis.units, axis.long_name or name.replace("_", " ")),
            )
            for name, axis in study.axes.items()
        }
        coords["seed"] = ("seed", np.arange(study.seeds), _attributes("1", "seed of the member's draws"))
        if study.record_steps:
            steps = np.array(study.record_steps, np.int64)
            coords["step"] = ("record", steps, _attributes("step", "descent steps taken at the record"))
        names = np.array(study.stage_names)
        coords["stage"] = ("stage", names, _attributes("1", "stage of the protocol"))
        return coords


class GroupSink:
    """The engine's sink for one group; see `ensemble.engine.Sink`."""

    def __init__(self, results: Results, stage_numbers: list[int]):
        self.results, self.stage_numbers = results, stage_numbers

    def start(self, members, teacher_a, teacher_W):
        results = self.results
        results.status[members] = STATUS["running"]
        if results.study.store_weights:
            results.put("teacher_a", (members,), teacher_a)
            results.put("teacher_W", (members,), teacher_W)

    def record(self, members, records, values):
        for name in self.results.study.probes:
            if f"{name}_history" in self.results.arrays:
                self.results.put(f"{name}_history", (members, records), values[name])

    def stage_end(self, members, stage, steps, values):
        number = self.stage_numbers[stage]
        self.results.arrays["stage_end_step"][members, number] = steps
        for name in self.results.study.probes:
            self.results.put(name, (members,), values[name])
            if f"{name}_stage" in self.results.arrays:
                self.results.put(f"{name}_stage", (members, number), values[name])

    def finish(self, members: np.ndarray, end: Ended):
        results = self.results
        arrays = results.arrays
        arrays["stop_step"][members] = end.step
        for name in results.study.probes:
            history = arrays.get(f"{name}_history")
            if history is None:
                continue
            # A member stays where it stopped: later records repeat its final value.
            later = np.arange(history.shape[1])[None, :] >= end.record[:, None]
            rows, records = np.nonzero(later)
            history[members[rows], records] = arrays[name][members[rows]]
        if results.study.store_weights:
            results.put("a", (members,), end.a)
            results.put("W", (members,), end.W)
        code = np.where(end.code == RULE_MET, STATUS["converged"], STATUS["max_steps"])
        code = np.where(end.code == DIVERGED, STATUS["diverged"], code)
        # Last, so that a member that has a result has all of it.
        results.status[members] = code


def _attributes(units: str, long_name: str) -> dict:
    return {"units": units, "long_name": long_name}
