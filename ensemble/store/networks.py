"""Networks of a dataset: stored weights as functions that can be called."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..numerics import member_keys
from ..problem.activations import said
from ..problem.draws import full_space
from ..problem.models import Attention, BiasedTwoLayer, Conv, Deep, DeepLinear, TwoLayer
from ..problem.starts import GivenStart
from ..problem.students import (
    AttentionStudent,
    BiasedStudent,
    ConvStudent,
    DeepLinearStudent,
    DeepStudent,
    TwoLayerStudent,
)
from ..problem.teachers import DeepTeacher
from ..study import Cell, Study, StudyError
from .schema import FINISHED

_VARIABLES = {"student": ("a", "W", "neuron"), "teacher": ("teacher_a", "teacher_W", "teacher_neuron")}
_SIZES = {"neuron": "student_neurons", "teacher_neuron": "teacher_neurons", "input": "coordinates"}


def network(
    ds: xr.Dataset,
    which: Literal["student", "teacher"] = "student",
    *,
    coordinates: Literal["stored", "full"] = "stored",
) -> TwoLayer | BiasedTwoLayer | DeepLinear | Deep | Conv | Attention:
    """The networks of a dataset's members, as they were at their ends.

    **Arguments:**

    - `ds`: a dataset with stored weights, or what `sel` or `isel` left of one (without `drop=True`).
    - `which`: `"student"` or `"teacher"`.
    - `coordinates`: `"stored"`: rows as the dataset has them, d of them or those of reduced coordinates
      (docs/dataset.md); `"full"`: all d.

    **Returns:** one network f(x) = Σ_i a_i σ(w_iᵀx), W_L ⋯ W_1 x of deep linear students (the teacher: of one
    layer), a `BiasedTwoLayer`, `Deep`, `Conv` or `Attention` of one x; where axes or seeds are left, a batch of them,
    whose leaves begin with these dimensions in the dataset's order. Neurons, layers and coordinates that only other
    cells have are left out: no row is padding.

    **Raises:** `StudyError` where weights were not stored, a member has no result, the members that are left differ in
    size or activation, or full coordinates are asked of rows that never had them.
    """
    if which not in _VARIABLES:
        raise StudyError(f"which: got {which!r}; give 'student' or 'teacher'")
    if coordinates not in ("stored", "full"):
        raise StudyError(f"coordinates: got {coordinates!r}; give 'stored' or 'full'")
    if unfinished := int((ds["status"] < FINISHED).sum()):
        raise StudyError(f"ds: {unfinished:,} of its members have no result; finish the run, or select others")
    study = Study.from_json(ds.attrs["study"])
    cells = _cells(ds, study)
    if which == "student" and not all(getattr(cell.student, "is_plain", True) for cell in cells):
        raise StudyError(
            "ds: its students have output_scale, recentred or linearised, so that their functions are not those of "
            "their weights alone; ask for which = 'teacher', or take the arrays of the dataset"
        )
    if all(isinstance(cell.student, DeepLinearStudent) for cell in cells):
        return _deep_linear(ds, which, cells)
    if all(isinstance(cell.student, DeepStudent) for cell in cells):
        return _deep(ds, which, cells)
    if all(isinstance(cell.student, ConvStudent) for cell in cells):
        return _conv(ds, which, cells)
    if all(isinstance(cell.student, AttentionStudent) for cell in cells):
        return _attention(ds, which, cells)
    if all(isinstance(cell.student, BiasedStudent) for cell in cells):
        return _biased(ds, which, cells)
    if not all(isinstance(cell.student, TwoLayerStudent) for cell in cells):
        raise StudyError("ds: its students are no two-layer networks; their weights are the variables of the dataset")
    a, W, neuron = _VARIABLES[which]
    _require_stored(ds, a, W)
    _one((_said(cell.teacher.activation) for cell in cells), "activations")
    sigma = cells[0].teacher.sigma
    count = _size(ds, neuron)
    rows = np.asarray(ds[W].transpose(..., neuron, "input").values)[..., :count, : _size(ds, "input")]
    weights = np.asarray(ds[a].transpose(..., neuron).values)[..., :count]
    inputs = int(_one(np.unique(ds["inputs"].values).tolist(), "numbers of inputs"))
    if coordinates == "full" and rows.shape[-1] < inputs:
        rows = _in_full(rows, ds, cells, study)
    return TwoLayer(weights, rows, sigma)


def _deep_linear(ds: xr.Dataset, which: str, cells: list[Cell]) -> DeepLinear:
    """Layers without the zeros that fill them up to those of other cells."""
    name = {"student": "layer_weights", "teacher": "teacher_matrix"}[which]
    _require_stored(ds, name)
    sizes = _one((cell.student.sizes_of(cell.teacher) for cell in cells), "sizes of layers")
    if which == "teacher":
        return DeepLinear([ds[name].transpose(..., "output", "input").values[..., : sizes[-1], : sizes[0]]])
    values = ds[name].transpose(..., "layer", "layer_output", "layer_input").values
    pairs = enumerate(pairwise(sizes))
    return DeepLinear([values[..., layer, :rows, :columns] for layer, (columns, rows) in pairs])


def _deep_teacher(ds: xr.Dataset, cells: list[Cell]) -> Deep:
    """Deep teachers, without the zeros that fill them up to those of other cells."""
    _require_stored(ds, "teacher_layer_weights", "teacher_layer_biases")
    teachers = [cell.teacher for cell in cells]
    sizes = _one((teacher.sizes for teacher in teachers), "sizes of teachers")
    biased = teachers[0].biases is not None
    _one(((t.residual, t.norm, _said(t.activation), t.biases is None) for t in teachers), "kinds of teachers")
    arrays = _layers(ds, "teacher_", sizes)
    return Deep(arrays[0], teachers[0].sigma, arrays[1] if biased else None, teachers[0].residual, teachers[0].norm)


def _layers(ds: xr.Dataset, before: str, sizes: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Weights and biases of every layer of deep networks of these sizes."""
    layer, output, source = (f"{before}{dim}" for dim in ("layer", "layer_output", "layer_input"))
    weights = ds[f"{before}layer_weights"].transpose(..., layer, output, source).values
    biases = ds[f"{before}layer_biases"].transpose(..., layer, output).values
    pairs = list(enumerate(pairwise(sizes)))
    return (
        [weights[..., place, :rows, :columns] for place, (columns, rows) in pairs],
        [biases[..., place, :rows] for place, (_, rows) in pairs],
    )


def _deep(ds: xr.Dataset, which: str, cells: list[Cell]) -> TwoLayer | Deep:
    """Deep students or their teachers, without the zeros that fill them up to those of other cells."""
    if which == "teacher" and all(isinstance(cell.teacher, DeepTeacher) for cell in cells):
        return _deep_teacher(ds, cells)
    if which == "teacher":
        _require_stored(ds, "teacher_a", "teacher_W")
        count, inputs = _one((cell.teacher.shape() for cell in cells), "sizes of teachers")
        sigma = _one((cell.teacher.activation for cell in cells), "activations")
        W = ds["teacher_W"].transpose(..., "teacher_neuron", "input").values[..., :count, :inputs]
        return TwoLayer(ds["teacher_a"].transpose(..., "teacher_neuron").values[..., :count], W, sigma)
    _require_stored(ds, "layer_weights", "layer_biases")
    sizes = _one((cell.student.sizes_of(cell.teacher) for cell in cells), "sizes of layers")
    student = cells[0].student
    pairs = ((cell.student, _said(cell.student.sigma(cell.teacher))) for cell in cells)
    kinds = ((s.residual, s.norm, s.bias, s.parametrisation, sigma) for s, sigma in pairs)
    _one(kinds, "kinds of layers")
    weights, biases = _layers(ds, "", sizes)
    return Deep(
        weights,
        student.sigma(cells[0].teacher),
        biases if student.bias else None,
        student.residual,
        student.norm,
        student.multipliers_of(cells[0].teacher),
    )


def _conv(ds: xr.Dataset, which: str, cells: list[Cell]) -> Conv:
    """Convolutions without the filters and coordinates that only other cells have."""
    before, neuron = ("", "neuron") if which == "student" else ("teacher_", "teacher_neuron")
    read_out, filters = f"{before}read_out", f"{before}filters"
    _require_stored(ds, read_out, filters)
    _one((_said(cell.teacher.activation) for cell in cells), "activations")
    sizes = _one(((c.teacher.patches, c.teacher.step, c.teacher.pooling) for c in cells), "patches")
    shapes = (c.teacher.filters.shape() for c in cells)
    counts = (c.student.width if which == "student" else shape[0] for c, shape in zip(cells, shapes, strict=True))
    count, patch = _one(counts, "numbers of filters"), _one((c.teacher.filters.shape()[1] for c in cells), "patches")
    a = ds[read_out].transpose(..., neuron).values[..., :count]
    W = ds[filters].transpose(..., neuron, "patch_input").values[..., :count, :patch]
    return Conv(a, W, cells[0].teacher.sigma, patches=sizes[0], stride=sizes[1], pooling=sizes[2])


def _biased(ds: xr.Dataset, which: str, cells: list[Cell]) -> BiasedTwoLayer:
    """Networks with biases, without the neurons and coordinates that only other cells have."""
    before, neuron = ("", "neuron") if which == "student" else ("teacher_", "teacher_neuron")
    names = [f"{before}{kind}" for kind in ("outer_weights", "inner_weights", "inner_biases", "outer_bias")]
    _require_stored(ds, *names)
    _one((_said(cell.teacher.activation) for cell in cells), "activations")
    shapes = [cell.teacher.network.shape() for cell in cells]
    counts = (c.student.width if which == "student" else shape[0] for c, shape in zip(cells, shapes, strict=True))
    count, inputs = _one(counts, "numbers of neurons"), _one((shape[1] for shape in shapes), "numbers of inputs")
    a, biases = (ds[name].transpose(..., neuron).values[..., :count] for name in (names[0], names[2]))
    W = ds[names[1]].transpose(..., neuron, "input").values[..., :count, :inputs]
    return BiasedTwoLayer(a, W, biases, ds[names[3]].values, cells[0].teacher.sigma)


def _attention(ds: xr.Dataset, which: str, cells: list[Cell]) -> Attention:
    """Blocks without the heads, units and coordinates that only other cells have."""
    before = "" if which == "student" else "teacher_"
    names = [f"{before}{kind}_weights" for kind in ("query", "key", "value", "output")]
    _require_stored(ds, *names)
    parts = ((c.student if which == "student" else c.teacher, c) for c in cells)
    heads, units, width, tokens = _one(
        (
            (part.heads, part.head_size or c.teacher.head_size, c.teacher.token_inputs, c.teacher.tokens)
            for part, c in parts
        ),
        "sizes of heads",
    )
    head, unit = f"{before}head", f"{before}head_unit"
    *projections, output = names
    arrays = [ds[name].transpose(..., head, unit, "token_input").values for name in projections]
    query, key, value = (W[..., :heads, :units, :width] for W in arrays)
    return Attention(
        query, key, value, ds[output].transpose(..., head, unit).values[..., :heads, :units], tokens=tokens
    )


def _require_stored(ds: xr.Dataset, *names: str) -> None:
    for name in names:
        if name not in ds:
            raise StudyError(f"ds: holds no {name}; run the study with store_weights = true")


def _cells(ds: xr.Dataset, study: Study) -> list[Cell]:
    """The cells of the members that are left."""
    for name in study.axes:
        if name not in ds.coords:
            raise StudyError(f"ds: has no coordinate {name!r}; select it with sel or isel, and without drop=True")
    kept = {name: set(np.atleast_1d(ds[name].values).tolist()) for name in study.axes}
    return [p.cell for p in study.points if all(value in kept[name] for name, value in p.labels.items())]


def _size(ds: xr.Dataset, dim: str) -> int:
    return int(_one(np.unique(ds[_SIZES[dim]].values).tolist(), _SIZES[dim].replace("_", " ")))


def _one(values: Iterable[Any], what: str) -> Any:
    """The value that all members have."""
    found = list(dict.fromkeys(values))
    if len(found) > 1:
        raise StudyError(f"ds: its members have different {what} ({', '.join(map(str, found))}); select one of them")
    return found[0]


def _said(chosen: Any) -> str:
    return str(said(chosen))


def _in_full(rows: np.ndarray, ds: xr.Dataset, cells: list[Cell], study: Study) -> np.ndarray:
    """Rows in reduced coordinates as rows of all d inputs, in the basis that they were reduced by.

    Given rows were reduced by QR of teacher and student, [W*; W]ᵀ = QR, which the study still knows. Drawn ones were
    drawn in coordinates of a basis that never was: any rotation that keeps the teacher's plane is as good as any other.
    """
    if not all(isinstance(cell.student.start, GivenStart) for cell in cells):
        raise StudyError(
            "coordinates: got 'full', but these members were drawn in reduced coordinates (theory.md §3): the basis "
            'behind them was never chosen, so that no row has d entries; run the study with coordinates = "full"'
        )
    dims = ds["W"].dims[:-2]
    found = np.empty((*rows.shape[:-1], cells[0].teacher.shape()[1]), rows.dtype)
    for place in np.ndindex(*rows.shape[:-2]):
        member = ds.isel(dict(zip(dims, place, strict=True)))
        labels = {name: member[name].item() for name in study.axes}
        (cell,) = (p.cell for p in study.points if p.labels == labels)
        keys = member_keys(study.root_seed, int(member["seed"].item()))
        model, risk = cell.student.draw(cell.teacher, keys, full_space(cell.teacher.shape()[1]))
        basis = jnp.linalg.qr(jnp.concatenate([risk.teacher.W, model.W]).T)[0]
        found[place] = rows[place] @ np.asarray(basis).T[: rows.shape[-1]]
    return found
