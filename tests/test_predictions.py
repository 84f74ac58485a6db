"""What theory says, against runs: masses, risks, ends, jumps, step sizes, rates; and how pictures draw it."""

import json
from pathlib import Path

import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis.report.content import content
from tests.studies import small

STUDIES = Path(__file__).parent.parent / "studies"
KAPPA = 1 - 2 / np.pi
DECAYS = [0.02, 0.16, 0.18, 0.185, 0.195, 0.2]


def single(**changes) -> ens.Study:
    """One teacher neuron, three student neurons."""
    table = {
        "name": "single",
        "records": 0,
        "probes": ["loss", "risk", "total_mass", "grad_norm"],
        "teacher": {"kind": "orthonormal", "activation": "abs_centred", "neurons": 1, "inputs": 3},
        "student": {"neurons": 3, "start": "balanced"},
        "protocol": {"kind": "fixed_decay", "weight_decay": 0.1, "step_size": 0.3, "steps": 20_000},
        "axes": {"weight_decay": [0.05, 0.2, 0.35, 0.5]},
    }
    study = ens.Study.model_validate(table)
    return study.replace(**changes) if changes else study


@pytest.mark.parametrize(
    ("penalty", "weights"), [("l2", [1.0]), ("path_norm", [1.0]), ("l2", [1.5, -0.7]), ("path_norm", [1.5, -0.7])]
)
def test_masses_and_risks_at_the_minimum(penalty, weights):
    """Also of orthogonal teachers, which centred abs decouples; from λ = κ₁t on nothing of a neuron is left."""
    study = single(seeds=2)
    teacher = study.teacher.model_copy(update={"neurons": len(weights), "output_weights": tuple(weights)})
    study = study.replace(teacher=teacher, protocol=study.protocol | {"penalty": penalty})
    found, ds = analysis.predictions(study), ens.run(study)
    expected = [sum(max(abs(t) - decay / KAPPA, 0) for t in weights) for decay in study.axes["weight_decay"].values]
    np.testing.assert_allclose(found["total_mass"], expected, rtol=1e-14)
    assert float(found["weight_decay_end"][0]) == pytest.approx(KAPPA * max(map(abs, weights)), rel=1e-14)
    # The last direction to go, at rate |κ(1)t − λ|, is at rounding level but at 0.35 of 0.36.
    masses = ds["total_mass"].transpose("weight_decay", "seed").values
    np.testing.assert_allclose(masses, np.broadcast_to(np.array(expected)[:, None], masses.shape), atol=2e-6)
    # Neurons of one direction turn to it slowly under path_norm: 1e-6 is left of the risk after these steps.
    risks = ds["risk"].transpose("weight_decay", "seed").values
    np.testing.assert_allclose(risks, np.repeat(found["risk"].values[:, None], 2, axis=1), rtol=3e-6)
    assert found["total_mass"].attrs["probe"] == "total_mass" and found["risk"].attrs["source"].startswith("theory.md")


def test_hysteresis_of_the_group_lasso():
    """The shipped study at λ on both sides of each end: descent's from mass 1, and from mass 1/5."""
    study = ens.Study.from_toml(STUDIES / "hysteresis.toml").only(weight_decay=DECAYS)
    found, ds = analysis.predictions(study), ens.run(study).isel(seed=0)
    ends = found["weight_decay_end"].isel(weight_decay=0)
    assert float(ends.sel(start="teacher")) == pytest.approx((2 / 3) ** 1.5 * KAPPA, rel=1e-14)
    assert float(ends.sel(start="small")) == pytest.approx(0.8 * np.sqrt(0.4) * KAPPA, rel=1e-14)
    assert float(found["weight_decay_jump"][0, 0]) == pytest.approx(2 * KAPPA / (3 * np.sqrt(3)), rel=1e-14)
    np.testing.assert_allclose(ds["total_mass"], found["total_mass"].transpose(*ds["total_mass"].dims), atol=1e-9)
    gone = {"teacher": [0, 0, 0, 0, 0, 1], "small": [0, 0, 0, 1, 1, 1]}
    for start, expected in gone.items():
        np.testing.assert_array_equal(ds["vanished"].sel(start=start), expected)
    # Where the neuron stays beyond the jump it is no global minimum: an empty network has the smaller risk.
    beyond = ds.sel(start="teacher", weight_decay=0.16)
    assert float(beyond["risk"]) > float(found["risk"].sel(start="teacher", weight_decay=0.16)) + 1e-3


def test_the_jump_is_where_two_minima_are_equal():
    """R(2/3) = R(0) at λ = 2κ₁/3√3, and no mass is lower: a grid over the mass, an independent path."""
    mass = np.linspace(0, 1.2, 1_200_001)
    decay = 2 * KAPPA / (3 * np.sqrt(3))
    risk = 0.5 * KAPPA * (mass - 1) ** 2 + decay * np.sqrt(2 * mass)
    assert risk[np.argmin(np.abs(mass - 2 / 3))] == pytest.approx(0.5 * KAPPA, abs=1e-12)
    assert risk.min() >= 0.5 * KAPPA - 1e-12


def test_no_member_rests_at_the_teacher_beyond_the_largest_step_size():
    """Below it this one does at 0.7 of it; beyond it may come to rest elsewhere, and never where the loss is 0."""
    start = {"kind": "near_teacher", "distance": 0.05}
    protocol = {"kind": "plain", "steps": 4000, "step_size": 1.0}
    asked = single(seeds=4, student={"neurons": 1, "start": start}, protocol=protocol, axes={"step_size": [0.1, 0.2]})
    found = analysis.predictions(asked)["step_size_limit"]
    limit = float(found[0])
    # Two curvatures at the balanced teacher, κ₁ and κ′(1) = 1: √(κ₁ · 1) is a bound of their larger.
    assert limit == pytest.approx(2 / np.sqrt(KAPPA), rel=1e-12) and found.attrs["field"] == "step_size"
    with pytest.warns(ens.StudyWarning, match="cannot rest at the teacher"):
        ds = ens.run(asked.replace(axes={"step_size": [0.5 * limit, 1.02 * limit, 1.1 * limit]}))
    assert float(ds["loss"].sel(step_size=0.5 * limit).max()) < 1e-12
    assert float(ds["loss"].sel(step_size=[1.02 * limit, 1.1 * limit]).min()) > 1e-2


@pytest.mark.parametrize(("penalty", "rate"), [("l2", 0.1), ("path_norm", 0.0)])
def test_layers_balance_at_the_rate_of_the_penalty(penalty, rate):
    """log of max|a² − ‖w‖²| over time, at two step sizes: the difference from theory is O(η), and halves with η."""
    protocol = {"kind": "fixed_decay", "weight_decay": 0.05, "step_size": 0.01, "steps": 800, "penalty": penalty}
    teacher = {"kind": "orthonormal", "activation": "relu", "neurons": 2, "inputs": 4}
    student = {"neurons": 4, "start": "xavier"}
    probes = ["loss", "imbalance"]
    asked = small(seeds=1, teacher=teacher, student=student, protocol=protocol, axes={}, probes=probes, records=[0])
    assert float(analysis.predictions(asked)["imbalance_rate"]) == pytest.approx(rate)
    errors = []
    for eta, steps in ((0.01, 800), (0.005, 1600)):
        ds = ens.run(asked.replace(protocol=protocol | {"step_size": eta, "steps": steps})).isel(seed=0)
        fall = np.log(float(ds["imbalance_history"][0]) / float(ds["imbalance"]))
        errors.append(abs(fall / 8.0 - rate))
    assert errors[0] < 3e-3 and errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)


def test_where_theory_has_nothing_there_is_nothing():
    close = small()  # two teachers that see each other
    assert {"total_mass", "risk", "weight_decay_end"}.isdisjoint(analysis.predictions(close).data_vars)
    other = single(protocol={"kind": "fixed_decay", "steps": 5, "penalty": "l1"})
    assert "total_mass" not in analysis.predictions(other)
    erf = single(teacher={"kind": "orthonormal", "activation": "erf", "neurons": 1, "inputs": 3})
    assert not analysis.predictions(erf).data_vars


def test_pictures_and_the_page_draw_them():
    study = ens.Study.from_toml(STUDIES / "hysteresis.toml").only(weight_decay=DECAYS)
    ds = ens.run(study).load()
    one = ds.sel(start=["small"])
    found = analysis.predictions(one)
    result = analysis.order_parameter(one, "weight_decay", None, "total_mass")
    figure = analysis.order_picture(result, predictions=found)
    says = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert len(says) == 3 and all("theory.md §8" in said for said in says)
    (ax,) = figure.axes
    places = {round(float(line.get_xdata()[0]), 4) for line in ax.lines if len(set(line.get_xdata())) == 1}
    assert places == {round(0.8 * np.sqrt(0.4) * KAPPA, 4), round(2 * KAPPA / (3 * np.sqrt(3)), 4)}
    curve = next(line for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(curve.get_ydata(), found["total_mass"].squeeze())
    # On a map a step across each column; on the page the same numbers.
    map_ = analysis.phase(ds, "start", "weight_decay", "total_mass", 0.1)
    drawn = analysis.phase_picture(map_, predictions=analysis.predictions(ds), panels=1)
    steps = [line.get_ydata() for line in drawn.axes[0].lines if line.get_linestyle() in ("--", ":")]
    np.testing.assert_allclose(np.ravel(steps)[[0, 2]], [(2 / 3) ** 1.5 * KAPPA, 0.8 * np.sqrt(0.4) * KAPPA])
    page = content(ds, "total_mass", 0.1, "start", "weight_decay")
    said = json.loads(json.dumps(page["predictions"]))
    assert [line["axis"] for line in said] == ["weight_decay"] * 2
    # The page holds four digits.
    np.testing.assert_allclose(said[0]["at"], [(2 / 3) ** 1.5 * KAPPA, 0.8 * np.sqrt(0.4) * KAPPA], rtol=5e-4)
    with pytest.raises(ValueError, match="predictions: the axis 'start' is open; select the values"):
        analysis.order_picture(result, predictions=analysis.predictions(ds))
