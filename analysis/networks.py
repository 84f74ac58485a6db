"""Stored networks of a dataset, member by member: what every measure of networks maps over, in batches."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, reduce
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
import xarray as xr

from ensemble import TwoLayer
from ensemble.numerics.threads import on_the_calling_thread
from ensemble.problem.activations import AbstractActivation
from ensemble.problem.models import DeepLinear
from ensemble.problem.students import DeepLinearStudent, TwoLayerStudent

from .members import axes, finished, standard
from .problems import cells, require_plain

BATCH = 64


class Networks(NamedTuple):
    """The finished members of a dataset."""

    ds: xr.Dataset
    """In standard form."""
    sigma: AbstractActivation | None
    """None of deep linear networks."""
    done: np.ndarray
    """Which members are finished, over (axes, seed), flat."""
    arrays: tuple[np.ndarray, ...]
    """`a`, `W`, `teacher_a`, `teacher_W` of these, or the product of all layers and the teacher's matrix; leading axis
    the member."""

    @property
    def dims(self) -> tuple[str, ...]:
        return (*axes(self.ds), "seed")

    def labelled(
        self, found: Mapping[str, np.ndarray | None], says: Mapping[str, tuple[tuple[str, ...], str, str]]
    ) -> xr.Dataset:
        """Values of the finished members as a dataset over axes and `seed`; NaN of the others.

        `says`: (further dimensions, units, long name) of every variable. A value that is None has no member.
        """
        shape = [self.ds.sizes[name] for name in self.dims]
        data = {}
        for name, (dims, units, long_name) in says.items():
            values = found[name]
            assert values is not None
            whole = np.full((self.done.size, *values.shape[1:]), np.nan)
            whole[self.done] = values
            attributes = {"units": units, "long_name": long_name}
            data[name] = ((*self.dims, *dims), whole.reshape(*shape, *values.shape[1:]), attributes)
        coords = {name: self.ds[name] for name in self.dims if name in self.ds.coords}
        return xr.Dataset(data, coords=coords, attrs={"study_hash": self.ds.attrs["study_hash"]})


def networks(ds: xr.Dataset, what: str) -> Networks:
    """The two-layer networks of a dataset, for `what` (which the messages name).

    **Raises:** `ValueError` where weights were not stored, students are no two-layer networks, or activations differ.
    """
    if "W" not in ds or "teacher_W" not in ds:
        raise ValueError(
            f"W: {what} needs the weights of two-layer students; run the study with `store_weights = true`"
        )
    ds = standard(ds)
    found = cells(ds)
    if not all(isinstance(cell.student, TwoLayerStudent) for cell in found.flat):
        raise ValueError(f"student: got one that is no two_layer; {what} is of two-layer networks: select other cells")
    _require_gaussian(found, what)
    sigmas = list(dict.fromkeys(cell.teacher.sigma for cell in found.flat))
    if len(sigmas) > 1:
        names = ", ".join(sorted(sigma.name for sigma in sigmas))
        raise ValueError(f"activation: got an axis over {names}; select one value of it first")
    dims = (*axes(ds), "seed")
    done = finished(ds).transpose(*dims).values.reshape(-1)
    arrays = tuple(
        ds[name].transpose(*dims, ...).values.reshape(done.size, *ds[name].shape[len(dims) :])[done]
        for name in ("a", "W", "teacher_a", "teacher_W")
    )
    return Networks(ds, sigmas[0], done, arrays)


def matrices(ds: xr.Dataset, what: str) -> Networks:
    """The deep linear networks of a dataset as the matrices that they are.

    **Raises:** `ValueError` where weights were not stored, and for a student of another kind.
    """
    if "layer_weights" not in ds:
        raise ValueError(f"layer_weights: {what} needs the weights; run the study with `store_weights = true`")
    ds = standard(ds)
    dims, found = (*axes(ds), "seed"), cells(ds)
    if not all(isinstance(cell.student, DeepLinearStudent) for cell in found.flat):
        raise ValueError("student: got deep linear ones and others; select the cells of one kind first")
    _require_gaussian(found, what)
    done = finished(ds).transpose(*dims).values
    layers = ds["layer_weights"].transpose(*dims, "layer", "layer_output", "layer_input").values
    targets = ds["teacher_matrix"].transpose(*dims, "output", "input").values
    products = np.zeros_like(targets)
    for place, cell in np.ndenumerate(found):
        # Beyond a cell's own layers, rows and columns there are zeros, which are no factors.
        sizes = pairwise(cell.student.sizes_of(cell.teacher))
        own = [layers[place][:, layer, :rows, :columns] for layer, (columns, rows) in enumerate(sizes)]
        product = reduce(lambda before, W: W @ before, own)
        products[place][:, : product.shape[1], : product.shape[2]] = product
    return Networks(ds, None, done.reshape(-1), (products[done], targets[done]))


def _require_gaussian(found: np.ndarray, what: str) -> None:
    """**Raises:** `ValueError` where a function is not that of the weights, or x is not N(0, I)."""
    require_plain(found, what)
    kinds = {cell.data.inputs.kind for cell in found.flat if cell.data is not None} - {"gaussian"}
    if kinds:
        raise ValueError(
            f"data.inputs: got {' and '.join(sorted(kinds))}; {what} is one over x ~ N(0, I): select other cells"
        )


@cache
def for_threads(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays and static values, compiled to be called from several threads at once."""
    # What Equinox does not know it passes on to jax.jit.
    return eqx.filter_jit(function, compiler_options=on_the_calling_thread())  # pyright: ignore[reportCallIssue]


def mapped(of_member: Callable[..., Any], members: Networks, *static: Any, batch: int = BATCH) -> Any:
    """`of_member(student, teacher, *static)` of every finished member, as NumPy arrays; leading axis the member.

    `of_member` is a function of a module (one program for every call) whose results are arrays of one shape. Batches
    have one size, so that a member's bits do not depend on how many there are; the last is padded with its first row.
    Without a finished member the result has the right shapes and no row.
    """
    count = len(members.arrays[0])
    if not count:
        like = tuple(jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for x in members.arrays)
        shapes = eqx.filter_eval_shape(_batch, of_member, members.sigma, static, *like)
        return jax.tree.map(lambda x: np.empty((0, *x.shape[1:])), shapes)

    program = for_threads(_batch)

    def of_batch(begin: int) -> Any:
        rows = np.arange(begin, begin + batch)
        rows = np.where(rows < count, rows, begin)
        return jax.tree.map(np.asarray, program(of_member, members.sigma, static, *(x[rows] for x in members.arrays)))

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(of_batch, range(0, count, batch)))
    return jax.tree.map(lambda *xs: np.concatenate(xs)[:count], *parts)


def _batch(
    of_member: Callable[..., Any], sigma: AbstractActivation | None, static: tuple[Any, ...], *arrays: Any
) -> Any:
    def one(*leaves):
        return of_member(*_pair(sigma, *leaves), *static)

    return jax.vmap(one)(*arrays)


def _pair(sigma: AbstractActivation | None, *leaves: Any) -> tuple[Any, Any]:
    if sigma is None:
        product, target = leaves
        return DeepLinear([product]), DeepLinear([target])
    a, W, teacher_a, teacher_W = leaves
    return TwoLayer(a, W, sigma), TwoLayer(teacher_a, teacher_W, sigma)
