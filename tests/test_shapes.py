"""Every function of the analysis × every shape that a dataset comes in: no axes, one cell, one seed, what xarray makes.

A call returns a result, or refuses with a sentence of the library's own; nothing else. Results have no name that an
axis may have.
"""

import functools
import inspect
import re

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.members import axes
from analysis.plots.layout import Sheet
from analysis.plots.neurons import certificate_picture
from analysis.report.content import content
from analysis.two_layer import reference
from ensemble.study.axes import reserved
from tests.studies import small

START = {"field": "student.start", "values": ["balanced", "symmetric"]}
WIDE = {"field": "student.neurons", "values": [4, 3]}


def joined(parts: list[xr.Dataset], along: str) -> xr.Dataset:
    return xr.concat(parts, along, data_vars="all")


@pytest.fixture(scope="module")
def datasets() -> dict[str, xr.Dataset]:
    """A dataset of every shape, made of five small runs."""
    two = ens.run(small(seeds=4))
    none = ens.run(small(axes={}))
    text = ens.run(small(axes={"start": START, "weight_decay": [0.05]}))
    return {
        "two axes": two,
        "no axes": none,
        "no axes, one seed": none.isel(seed=[0]),
        "axis of texts, axis of one value": text,
        "an axis called width": ens.run(small(axes={"width": WIDE, "separation": [0.4, 0.8, 1.2]})),
        "one seed": ens.run(small(seeds=1, axes={"weight_decay": [0.0, 0.05]})),
        "one cell": two.sel(weight_decay=0.05, separation=0.8),
        "one seed selected": two.sel(seed=1),
        "one member": two.isel(seed=2, weight_decay=1, separation=1),
        "one axis": two.isel(weight_decay=1),
        "axis of one value": two.sel(separation=[0.8]),
        "another order": two.isel(separation=[2, 0], seed=[3, 1, 0]),
        "joined along an axis": joined([two.sel(weight_decay=0.0), two.sel(weight_decay=0.05)], "weight_decay"),
        "joined along seeds": joined([two.isel(seed=[0, 1]), two.isel(seed=[2, 3])], "seed"),
        "joined along a new axis": joined([two, two], "run").assign_coords(run=[1, 2]),
        "where": two.where(two["loss"] < 0.05),
        "where of nothing": two.where(two["loss"] < -1.0),
        "where, dropped": two.where(two["weight_decay"] > 0, drop=True),
    }


SHAPES = (
    *(
        "two axes",
        "no axes",
        "no axes, one seed",
        "axis of texts, axis of one value",
        "an axis called width",
        "one seed",
    ),
    *("one cell", "one seed selected", "one member", "one axis", "axis of one value", "another order"),
    *("joined along an axis", "joined along seeds", "joined along a new axis", "where", "where of nothing"),
    "where, dropped",
)


def map_axes(ds: xr.Dataset) -> tuple[str, str | None]:
    """The first axis, and the second one where there are two; without axes a name that is none."""
    names = [*sorted(axes(ds), key=lambda name: -ds.sizes[name]), "no_axis", None][:2]
    return names[0], (None if names[1] == "no_axis" else names[1])


def number_axis(ds: xr.Dataset) -> str:
    """An axis of positive numbers where there is one."""
    return "separation" if "separation" in axes(ds) else map_axes(ds)[0]


def rest(ds: xr.Dataset) -> dict[str, object]:
    return {name: ds[name].values.tolist()[0] for name in axes(ds) if name not in map_axes(ds)}


def networks(ds: xr.Dataset) -> list[ens.TwoLayer]:
    one = ds.isel({name: 0 for name in (*axes(ds), "seed") if name in ds.dims})
    pairs = (("a", "W"), ("teacher_a", "teacher_W"))
    return [ens.TwoLayer(one[a].values, one[W].values, "abs_centred") for a, W in pairs]


def first(ds: xr.Dataset) -> xr.Dataset:
    """Its first cell, for pictures of one member."""
    return ds.isel({name: 0 for name in axes(ds)})


def curve(ds: xr.Dataset) -> xr.Dataset:
    """Its first axis alone, for pictures of curves."""
    return ds.isel({name: 0 for name in axes(ds)[1:]})


def map_picture(ds: xr.Dataset):
    x, y = map_axes(ds)
    result = analysis.phase(ds, x, y, "loss", 0.02, rest(ds))
    heights = y is not None and ds.sizes[y] > 1 and ds[y].dtype.kind in "fiu" and ds["seed"].size > 1
    return analysis.phase_picture(result, analysis.boundary(ds, x, y, "loss", 0.02, rest(ds)) if heights else None)


RADII, CHEAP = (0.1, 0.3), {"points": 8, "starts": 2, "steps": 2}
CALLS = {
    "angle_picture": lambda d: analysis.angle_picture(curve(d)),
    "below": lambda d: analysis.below(d, "recovery_error", 1.0),
    "boundary": lambda d: analysis.boundary(d, map_axes(d)[0], map_axes(d)[1] or "no_axis", "loss", 0.02, rest(d)),
    "by_stage": lambda d: analysis.by_stage(d, "loss"),
    "certificates": lambda d: analysis.certificates(d),
    "difference": lambda d: analysis.difference(d, d, "loss", 0.02),
    "difference_picture": lambda d: analysis.difference_picture(
        analysis.difference(d.isel({n: 0 for n in axes(d)[2:]}), d.isel({n: 0 for n in axes(d)[2:]}), "loss", 0.02),
        *(axes(d) or ("no_axis",))[:2],
    ),
    "double_descent": lambda d: analysis.double_descent(d, number_axis(d)),
    "escape_times": lambda d: analysis.escape_times(d),
    "families": lambda d: analysis.families(d, eigenvalues=False),
    "feature_picture": lambda d: analysis.feature_picture(first(d)),
    "features": lambda d: analysis.features(d),
    "finished": lambda d: analysis.finished(d),
    "learning_curve": lambda d: analysis.learning_curve(d, number_axis(d)),
    "importance": lambda d: analysis.importance(d),
    "log_rank": lambda d: analysis.log_rank(d, map_axes(d)[0], "loss", below=0.3),
    "marginal": lambda d: analysis.marginal(d, map_axes(d)[0], "loss", 0.02),
    "minima": lambda d: analysis.minima(d),
    "neuron_picture": lambda d: analysis.neuron_picture(first(d)),
    "optimality_gap": lambda d: analysis.optimality_gap(first(d)),
    "order_parameter": lambda d: analysis.order_parameter(d, *map_axes(d), "loss", at=rest(d)),
    "order_picture": lambda d: analysis.order_picture(
        analysis.order_parameter(d, *map_axes(d), "recovery_error", at=rest(d))
    ),
    "overlap_picture": lambda d: analysis.overlap_picture(first(d)),
    "paired": lambda d: analysis.paired(d["loss"], map_axes(d)[0], d.get(map_axes(d)[0], d["loss"]).values.ravel()[0]),
    "phase": lambda d: analysis.phase(d, *map_axes(d), "loss", 0.02, rest(d)),
    "phase_picture": map_picture,
    "profile": lambda d: analysis.profile(*networks(d), weight_decay=0.01),
    "profile_picture": lambda d: analysis.profile_picture(analysis.profile(*networks(d), weight_decay=0.01)),
    "pruned": lambda d: analysis.pruned(d, keep=1),
    "pruning": lambda d: analysis.pruning(d),
    "pruning_picture": lambda d: analysis.pruning_picture(analysis.pruning(curve(d))),
    "quantiles": lambda d: analysis.quantiles(d["loss"], among=analysis.finished(d)),
    "rates": lambda d: analysis.rates(d),
    "record_times": lambda d: analysis.record_times(d),
    "recovered": lambda d: analysis.recovered(d),
    "robust_loss": lambda d: analysis.robust_loss(d, RADII, **CHEAP),
    "robustness_picture": lambda d: analysis.robustness_picture(analysis.robust_loss(curve(d), RADII, **CHEAP)),
    "scaling": lambda d: analysis.scaling(first(d)),
    "share": lambda d: analysis.share(d["loss"] < 0.1),
    "shift_picture": lambda d: analysis.shift_picture(analysis.shifted_loss(curve(d), (1.0, 4.0))),
    "shifted_loss": lambda d: analysis.shifted_loss(d, (1.0, 4.0), turned=True, tails=4.0),
    "spurious": lambda d: analysis.spurious(d),
    "stopping_time": lambda d: analysis.stopping_time(d),
    "summary": lambda d: analysis.summary(d),
    "survival": lambda d: analysis.survival(d, "loss", below=0.3),
    "survival_picture": lambda d: analysis.survival_picture(analysis.survival(curve(d), "loss", below=0.3)),
    "table": lambda d: analysis.table(analysis.summary(d)),
    "time_below": lambda d: analysis.time_below(d, "loss", 0.3),
    "time_quantiles": lambda d: analysis.time_quantiles(analysis.stopping_time(d), analysis.finished(d)),
    "trajectory": lambda d: analysis.trajectory(d, "loss"),
    "trajectory_picture": lambda d: analysis.trajectory_picture(curve(d), "recovery_error"),
}
# Functions that take no dataset: what they take has no shape but its own, or is a study.
OF_NETWORKS = {"duality_gap", "hessian_eigenvalues", "reference_optimum", "wilson", "save", "refine"}
OF_NETWORKS |= {"Reference", "ReferenceWarning", "predictions", "order_parameters", "order_deviation", "online_picture"}
OF_NETWORKS |= {"deviation_exponent"}
# Functions of other students, teachers or axes, tested in test_deep_linear.py, test_transfer.py, test_complexity.py.
OF_OTHERS = {"learning_steps", "learning_time", "mode_curves", "mode_picture", "mode_strength"}
OF_OTHERS |= {"transfer", "transfer_picture", "sample_complexity", "complexity_picture", "layer_picture"}
BESIDE = {"content": lambda d: content(d, "loss", 0.02), "certificate_picture": lambda d: certificate_picture(first(d))}

NO_AXES = "which is no axis; the axes are (none|weight_decay|separation)$"
NO_STUDY = "axes: got 'run', which the dataset's study does not have"
ONE_SEED = "seed: got one seed a cell"
NO_MEMBER = "seed: got no finished member in this cell"
NO_DECAY = "weight_decay: got 0.0; the certificate is c/λ and needs λ > 0"
ONE_VALUE = "along: got '.*', which has one value; a test needs two cells"
OF_THE_STUDY = {
    *("certificates", "families", "neuron_picture", "optimality_gap", "overlap_picture"),
    *("content", "scaling", "certificate_picture", "record_times"),
    *("features", "feature_picture", "importance", "pruned", "pruning", "pruning_picture"),
    *("robust_loss", "robustness_picture", "shifted_loss", "shift_picture"),
}
OF_AN_AXIS = {
    "boundary",
    "log_rank",
    "marginal",
    "paired",
    "order_parameter",
    "order_picture",
    "phase",
    "phase_picture",
}
OF_A_NUMBER = {"double_descent", "learning_curve"}
OF_ONE_MEMBER = {"neuron_picture", "overlap_picture", "certificate_picture", "feature_picture"}
WITHOUT_AXES = {"no axes", "no axes, one seed", "one cell", "one member"}
SINGLE = {"no axes, one seed", "one seed", "one seed selected", "one member"}


def refusals(name: str, shape: str) -> list[str]:
    """What a function may say of a shape that it cannot serve: nothing where it must serve it."""
    found = []
    if (name in OF_AN_AXIS and shape in WITHOUT_AXES) or (name == "difference_picture" and shape in WITHOUT_AXES):
        found.append(NO_AXES)
    if name in OF_A_NUMBER:
        found += [NO_AXES] if shape in WITHOUT_AXES else []
        found += ["a curve needs an axis of positive numbers"] if shape in (
            "axis of texts, axis of one value", "one seed", "axis of one value", "where, dropped"
        ) else []  # fmt: skip
    if name == "double_descent":
        found.append("a peak in between needs three or more")
    if name == "boundary":
        found += [NO_AXES] if shape in ("one seed", "one axis") else []
        found += ["a boundary needs two numbers or more"] if shape in (
            "axis of one value", "axis of texts, axis of one value", "where, dropped"
        ) else []  # fmt: skip
    if name in ("boundary", "scaling") and shape in SINGLE:
        found.append(ONE_SEED)
    if name in OF_THE_STUDY and shape == "joined along a new axis" and name not in OF_ONE_MEMBER:
        found.append(NO_STUDY)
    if name == "log_rank" and shape == "axis of texts, axis of one value":
        found.append(ONE_VALUE)
    if name == "paired" and shape in ("axis of texts, axis of one value", "axis of one value", "where, dropped"):
        found.append("against: got .*, the one value of")
    if name in OF_ONE_MEMBER and shape == "where of nothing":
        found.append(NO_MEMBER)
    if name in OF_ONE_MEMBER and shape == "where":
        found.append(NO_MEMBER)
    if name == "certificate_picture":
        found.append(NO_DECAY)
    return found


def test_every_public_function_is_called():
    assert set(CALLS) | OF_NETWORKS | OF_OTHERS >= set(analysis.__all__)
    assert set(CALLS) <= set(analysis.__all__)


def test_every_shape_is_made(datasets):
    assert set(SHAPES) == set(datasets)


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures whose texts are not measured, which takes most of their time and is tested in test_pictures.py."""
    monkeypatch.setattr(Sheet, "finish", lambda self: None)


@pytest.fixture(scope="module")
def optimum():
    """The optimum of a teacher and a λ, sought once: it has no shape."""
    known, seek = {}, reference.reference_optimum

    def remembered(teacher, *, weight_decay, tolerance=1e-10):
        key = (np.asarray(teacher.W).tobytes(), np.asarray(teacher.a).tobytes(), weight_decay)
        if key not in known:
            known[key] = seek(teacher, weight_decay=weight_decay, tolerance=tolerance)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "reference_optimum", remembered)
        yield


@pytest.mark.usefixtures("undrawn", "optimum")
@pytest.mark.parametrize("name", [*CALLS, *BESIDE])
def test_every_shape_is_served_or_refused_in_words(datasets, name):
    call = (CALLS | BESIDE)[name]
    for shape in SHAPES:
        allowed = refusals(name, shape)
        try:
            call(datasets[shape])
        except ValueError as error:
            assert any(re.search(text, str(error)) for text in allowed), f"{name}, {shape}: {error}"


@pytest.mark.usefixtures("undrawn", "optimum")
def test_a_level_that_is_none_is_refused(datasets, monkeypatch):
    for name, call in CALLS.items():
        function = getattr(analysis, name)
        if "level" not in inspect.signature(function).parameters:
            continue
        for level in (2.0, 0.0, -1, float("nan")):
            with monkeypatch.context() as patch:
                patch.setattr(analysis, name, functools.partial(function, level=level))
                with pytest.raises(ValueError, match=r"level: got .*; give a number between 0 and 1"):
                    call(datasets["two axes"])
    with pytest.raises(ValueError, match=r"level: got 95, the coverage"):
        analysis.wilson(np.array([3]), np.array([4]), 95)


AXES = {"weight_decay", "separation"}


def names_of(result: object) -> set[str]:
    if isinstance(result, xr.DataArray):
        result = result.rename("found").to_dataset()
        return ({str(name) for name in result.variables} | {str(d) for d in result.dims}) - {"found"}
    if isinstance(result, xr.Dataset):
        return {str(name) for name in result.variables} | {str(d) for d in result.dims}
    return set()


@pytest.mark.usefixtures("undrawn", "optimum")
def test_no_result_has_a_name_that_an_axis_may_have(datasets):
    free = {}
    for name, call in CALLS.items():
        found = {one for one in names_of(call(datasets["two axes"])) if not reserved(one)} - AXES
        # A dataset of the study itself, whose names its axes do not have.
        found -= set(datasets["two axes"].variables) if name == "pruned" else set()
        if found:
            free[name] = found
    assert not free


@pytest.mark.parametrize(
    "name", ["low", "high", "share", "seeds", "boundary", "band_width", "risk_history", "loss_stage"]
)
def test_an_axis_of_a_result_s_name_is_refused_before_anything_runs(name):
    with pytest.raises(ens.StudyError, match=rf"axes\.{name}: .*of a result.*rename it and say its `field`"):
        small(axes={name: {"field": "protocol.weight_decay", "values": [0.0, 0.05]}})


@pytest.mark.long
def test_the_shipped_study_of_widths_goes_all_the_way():
    study = ens.Study.from_toml("studies/width.toml").replace(seeds=2, records=4, store_weights=False)
    study = study.replace(axes={"width": [4, 8], "weight_decay": [0.0, 0.03, 0.1]}, max_steps=60)
    ds = ens.run(study)
    result = analysis.phase(ds, "width", "weight_decay", "loss", 0.1)
    found = analysis.boundary(ds, "width", "weight_decay", "loss", 0.1)
    assert found["boundary"].dims == ("width",) and found["width"].values.tolist() == [4, 8]
    assert analysis.phase_picture(result, found).axes[0].get_xlabel() == "student width"
    assert len(content(ds, "loss", 0.1)["cells"]) == 6
