"""What a dataset's study says of every grid point, and the problems that a reduction is known for."""

import jax
import numpy as np
import xarray as xr

from ensemble import Study, TwoLayer
from ensemble.study import Cell

from .members import axes


def cells(ds: xr.Dataset) -> np.ndarray:
    """The study's cell of every grid point, as an array of objects over the axes.

    An axis that was selected away must have left its coordinate, as `ds.sel(axis=value)` does.

    **Raises:** `ValueError` where it did not, and for an axis that the study does not have: `concat` keeps the study of
    its first dataset alone, which says nothing of the others.
    """
    study = Study.from_json(ds.attrs["study"])
    for name in axes(ds):
        if name not in study.axes:
            raise ValueError(
                f"axes: got {name!r}, which the dataset's study does not have, so that nobody knows how its members "
                f"were made; take one of the datasets that were joined, with sel({name}=…)"
            )
    for name in study.axes:
        if name not in ds.coords:
            raise ValueError(f"axes: got no coordinate {name!r}; select it with sel or isel, and without drop=True")
    known = {tuple(point.labels.values()): point.cell for point in study.points}
    found = np.empty([ds.sizes[name] for name in axes(ds)], object)
    values = {name: np.atleast_1d(ds[name].values).tolist() for name in study.axes}
    for place in np.ndindex(*found.shape):
        at = dict(zip(axes(ds), place, strict=True))
        found[place] = known[tuple(values[name][at.get(name, 0)] for name in study.axes)]
    return found


def require_penalty(found: np.ndarray, what: str, served: tuple[str, ...] = ("l2", "path_norm")) -> None:
    """**Raises:** `ValueError` where cells were run under a penalty that `what` does not serve."""
    for penalty in (stage.penalty for cell in found.flat for stage in cell.stages.stages):
        if penalty.kind not in served:
            reason = "" if penalty.total_variation else f" ({penalty.kind} {penalty.over_measures})"
            raise ValueError(
                f"penalty: got {penalty.kind!r}; {what} serve {' and '.join(served)} alone{reason}: select other cells"
            )


def require_population(found: np.ndarray, what: str) -> None:
    """**Raises:** `ValueError` where cells were run on samples or under other inputs: `what` are those of N(0, I)."""
    for data in (cell.data for cell in found.flat if not of_population(cell)):
        trained = "members trained on samples" if data.is_sampled else f"{data.inputs.kind} inputs"
        raise ValueError(
            f"data: got {trained}; {what} are known of the population risk of N(0, I) alone: select other cells"
        )


def of_population(cell: Cell) -> bool:
    """Whether members are trained on the population risk of N(0, I)."""
    return cell.data is None or not (cell.data.is_sampled or cell.data.inputs.kind != "gaussian")


def all_plain(found: np.ndarray) -> bool:
    """Whether the students of all cells are networks as their weights say: none with an output scale, recentred or
    linearised."""
    return all(getattr(cell.student, "is_plain", True) for cell in found.flat)


def require_plain(found: np.ndarray, what: str) -> None:
    """**Raises:** `ValueError` where cells have students whose function is not that of their weights alone."""
    if not all_plain(found):
        raise ValueError(
            f"student: got output_scale, recentred or linearised; {what} are of the network itself: select other cells"
        )


def shared_teacher(cell: Cell) -> TwoLayer | None:
    """The teacher that all seeds of a cell have; None where seeds draw their own."""
    if cell.teacher.known() is None or getattr(cell.teacher, "output_weights", None) == "random":
        return None
    return cell.teacher.draw(jax.random.key(0), cell.teacher.plane())
