"""Results in memory: one array a variable; then a labelled dataset."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ..study import Study
from .boxes import Box
from .labels import labelled
from .schema import FINISHED, NEVER_ENDED, STATUS, check, sizes, variables


class Results:
    """Members of a study as flat arrays, one row a member: all of them, or those of a box."""

    def __init__(self, study: Study, box: Box | None = None):
        self.study = study
        self.box = Box.whole(study) if box is None else box
        self.members = self.box.members(study)
        self.variables = variables(study)
        self.sizes = sizes(study)
        precision = np.dtype(study.precision)
        self.arrays = {
            name: np.full((self.box.size, *(self.sizes[d] for d in v.dims)), v.fill, v.dtype or precision)
            for name, v in self.variables.items()
        }

    @property
    def status(self) -> np.ndarray:
        return self.arrays["status"]

    def rows(self, members: np.ndarray) -> np.ndarray:
        """Where members stand in the arrays."""
        return np.searchsorted(self.members, members)

    def adopt(self, ds: xr.Dataset) -> None:
        """Takes over the members of an earlier dataset of the same study and box that were begun."""
        begun = ds["status"].values.reshape(-1) > STATUS["not_run"]
        # What the version that began the box did not store, the box does not have.
        self.arrays = {name: array for name, array in self.arrays.items() if name in ds}
        for name in self.arrays:
            values = ds[name].values
            self.put(name, (begun,), values.reshape(self.box.size, *values.shape[len(self.box.shape) :])[begun])

    def prolong(self, old: "Results") -> None:
        """Takes over members of a shorter run of the same grid that has all of this box.

        Those that converged or diverged stay as they ended. Those that took all their steps are `running` again, and
        go on from the end of their last stage where they came to it (`flights_of_ended`), else from the start.
        """
        rows = old.rows(self.members)
        capped = old.status[rows] == STATUS["max_steps"]
        self.arrays = {name: array for name, array in self.arrays.items() if name in old.arrays}
        for name, array in self.arrays.items():
            values = old.arrays[name][rows]
            if self.variables[name].dims[:1] == ("record",):
                # A member stays where it stopped: later records repeat its final value.
                array[:] = old.arrays[name.removesuffix("_history")][rows][:, None]
                array[:, : values.shape[1]] = values
            else:
                array[:] = values
        self.arrays["stop_step"][capped] = NEVER_ENDED
        self.status[capped] = STATUS["running"]

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

    def dataset(self, provenance: Mapping[str, str | int | float]) -> xr.Dataset:
        """The labelled dataset, checked against the schema."""
        arrays = {name: a.reshape(*self.box.shape, *a.shape[1:]) for name, a in self.arrays.items()}
        complete = bool(np.all(self.status >= FINISHED))
        ds = labelled(self.study, self.box, arrays, complete, provenance)
        check(ds)
        return ds
