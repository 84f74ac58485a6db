"""Two tasks in one teacher: its rows, losses of either, what a first layer holds, and stages on one after the other."""

import json
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from pydantic import TypeAdapter
from typer.testing import CliRunner

import analysis
import ensemble as ens
from analysis.__main__ import app
from analysis.report.content import content
from analysis.report.page import html_of
from analysis.report.uses import said_of_uses
from ensemble.probes.geometry import angles
from ensemble.probes.transfer import readout_loss, task
from ensemble.problem.penalties import Penalty, anchored
from ensemble.problem.teachers import TwoTasks
from tests.helpers import assert_same_members

PROBES = ["loss", "first_task_loss", "second_task_loss", "first_task_readout", "second_task_readout"]


def planted(**fields) -> TwoTasks:
    return TwoTasks.model_validate({"activation": "abs_centred", "neurons": 6, "inputs": 8, "task_angle": 0.3} | fields)


def test_the_second_task_is_the_first_one_turned():
    teacher = planted(shared=1).draw(jax.random.key(0))
    first, second = (task(teacher, number) for number in (0, 1))
    between = np.diag(np.asarray(angles(first.W, second.W, "line")))
    np.testing.assert_allclose(between, [0.0, 0.3, 0.3], atol=1e-15)
    for one in (first, second):
        np.testing.assert_allclose(one.W @ one.W.T, np.eye(3), atol=1e-15)
    sizes, gram = planted(shared=1).known()
    np.testing.assert_allclose(gram, teacher.W @ teacher.W.T, atol=1e-15)
    assert sizes.tolist() == [1.0] * 6


def test_what_a_first_layer_leaves_of_a_teacher(rng):
    """Against the minimum of the quadratic that the loss is in the output weights."""
    teacher = planted().draw(jax.random.key(0))
    first, second = (task(teacher, number) for number in (0, 1))
    # All that the teacher is made of: nothing is left, whatever the output weights are.
    assert abs(float(readout_loss(ens.TwoLayer(np.zeros(6), teacher.W, "abs_centred"), second))) < 1e-14
    student = ens.TwoLayer(rng.normal(size=4), rng.normal(size=(4, 8)), "abs_centred")
    left = float(readout_loss(student, first))
    loss = jax.jit(lambda a: ens.population_loss(ens.TwoLayer(a, student.W, "abs_centred"), first))
    best = jnp.linalg.solve(jax.hessian(loss)(student.a), -jax.grad(loss)(jnp.zeros(4)))
    assert float(loss(best)) == pytest.approx(left, rel=1e-10)
    assert all(float(loss(best + 0.01 * jnp.asarray(rng.normal(size=4)))) > left for _ in range(5))


STAGES = [
    {"name": "first", "target": [0, 1], "step_size": 0.2, "steps": 60},
    {"name": "second", "target": [2, 3], "step_size": 0.2, "steps": 60},
]


def study(stages=STAGES, teacher=None, **changes) -> ens.Study:
    fields = {
        "name": "transfer",
        "seeds": 3,
        "records": 4,
        "store_weights": True,
        "probes": PROBES,
        "teacher": {"kind": "two_tasks", "activation": "abs_centred", "neurons": 4, "inputs": 5, "task_angle": 0.7}
        | (teacher or {}),
        "student": {"neurons": 6, "start": "balanced"},
        "protocol": {"kind": "stages", "stages": stages},
        "axes": {"task_angle": [0.0, 0.7]},
    }
    return ens.Study.model_validate(fields | changes)


@pytest.fixture(scope="module")
def ds():
    return ens.run(study())


def test_stages_learn_one_task_after_the_other(ds):
    first, second = (
        ds[f"{name}_task_loss_stage"].transpose("task_angle", "seed", "stage").values for name in ("first", "second")
    )
    assert np.all(second[..., 1] < second[..., 0] + 1e-12) and np.all(second[1, :, 1] < 0.5 * second[1, :, 0])
    # At angle 0 the tasks are one: no step on the second is lost for the first. Apart, it is.
    np.testing.assert_allclose(first[0], second[0], rtol=1e-10)
    assert np.all(first[1, :, 1] > first[1, :, 0])
    for name in ("first", "second"):
        assert np.all(ds[f"{name}_task_readout_history"] <= ds[f"{name}_task_loss_history"] + 1e-13)
        assert np.all(ds[f"{name}_task_readout_history"] >= -1e-13)
    one = ds.sel(task_angle=0.7, seed=1)
    expected = ens.population_loss(ens.network(one), task(ens.network(one, "teacher"), 1))
    assert float(one["second_task_loss"]) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teacher": {"neurons": 3}}, r"neurons: got 3; give an even number, half of it for each"),
        ({"teacher": {"neurons": 6}}, r"neurons: got 6 in inputs = 5 dimensions; take as many inputs"),
        ({"teacher": {"shared": 3}}, r"shared: got 3; a task has 2 neurons"),
        (
            {"teacher": {"task_angle": 1.6}, "axes": {}},
            r"task_angle: got 1.6 rad between lines .* it is at most 1.5708 rad",
        ),
        ({"stages": [STAGES[0] | {"fresh": "output"}]}, r"stages.first.fresh: got 'output' in the first stage, whose"),
        (
            {"stages": [STAGES[0], STAGES[1] | {"fresh": "output", "keep_state": True}]},
            r"keep_state: got true beside fresh layers",
        ),
        (
            {"stages": [STAGES[0], STAGES[1] | {"fresh": [0]}]},
            r"fresh: got \[0\] in the stage 'second' .*; take \"first",
        ),
        (
            {"stages": [STAGES[0], {"name": "x", "update": "balance", "keep_zeros": True}]},
            r"keep_zeros: got true under the update 'balance', which takes no step",
        ),
        (
            {
                "stages": [{"name": "w", "steps": 5}, {"name": "x", "steps": 5, "fresh": "first"}],
                "student": {"neurons": 6, "recentred": True},
                "probes": ["loss"],
            },
            r"fresh: got 'first' in the stage 'x' for a two_layer student with output_scale, recentred or",
        ),
        ({"stages": [STAGES[0], STAGES[1] | {"target": [4, 5]}]}, r"target: got 4 in the stage 'second', which is no"),
    ],
)
def test_what_is_no_second_task_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        study(**changes)


def follow(net, stages):
    """Descent written out: of each stage (teacher, steps, λ), with ½‖θ − θ₁‖² of the weights that it begins with."""
    ends, slope = [], jax.jit(ens.population_gradient)
    for teacher, steps, decay in stages:
        at = net
        for _ in range(steps):
            g = slope(net, teacher)
            a, W = (x - 0.2 * (s + decay * (x - o)) for x, s, o in ((net.a, g.a, at.a), (net.W, g.W, at.W)))
            net = ens.TwoLayer(a, W, net.activation)
        ends.append(0.5 * float(jnp.sum((net.a - at.a) ** 2) + jnp.sum((net.W - at.W) ** 2)))
    return net, ends


def test_an_elastic_penalty_pulls_to_the_weights_with_which_its_stage_began():
    spring = {"penalty": "elastic", "weight_decay": 0.3, "steps": 12}
    stages = [STAGES[0] | {"steps": 20}, STAGES[1] | spring, STAGES[0] | spring | {"name": "third"}]
    asked = study(stages, axes={}, seeds=1, probes=["loss", "penalty_value", "risk", "grad_norm"])
    ds = ens.run(asked).isel(seed=0)
    begin, teacher = ens.initial(asked, seed=0)
    tasks = [task(teacher, number) for number in (0, 1)]
    net, ends = follow(begin, [(tasks[0], 20, 0.0), (tasks[1], 12, 0.3), (tasks[0], 12, 0.3)])
    np.testing.assert_allclose(ds["W"], net.W, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ds["a"], net.a, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ds["penalty_value_stage"][1:], ends[1:], rtol=1e-10)
    risk = ds["loss_stage"] + [0, 0.3, 0.3] * ds["penalty_value_stage"]
    np.testing.assert_allclose(ds["risk_stage"], risk, rtol=1e-12)
    # The companion: towards 0 in place of these weights, it would be another end.
    assert ends[2] < 0.1 * 0.5 * float(jnp.sum(net.a**2) + jnp.sum(net.W**2))


def test_a_sum_hands_the_anchor_to_its_terms(rng):
    nets = [ens.TwoLayer(rng.normal(size=3), rng.normal(size=(3, 2)), "relu") for _ in range(2)]
    table = [{"kind": "elastic", "strength": 0.5, "layers": "first"}, {"kind": "l2", "strength": 2.0}]
    held = anchored(TypeAdapter(Penalty).validate_python(table), nets[1])
    expected = 0.25 * jnp.sum((nets[0].W - nets[1].W) ** 2) + jnp.sum(nets[0].a ** 2) + jnp.sum(nets[0].W ** 2)
    assert float(held.value(nets[0])) == pytest.approx(float(expected), rel=1e-14)
    # The proximal map against the minimum of a quadratic, coordinate by coordinate.
    spring = anchored(TypeAdapter(Penalty).validate_python("elastic"), nets[1])
    found = spring.prox(nets[0], jnp.asarray(0.7))
    np.testing.assert_allclose(found.W - nets[0].W, -0.7 * (found.W - nets[1].W), atol=1e-15)


def test_fresh_layers_are_further_starts_and_the_rest_goes_on():
    """A stage that moves W alone and begins with a fresh a, and one that begins with a fresh W after it."""
    second = STAGES[1] | {"fresh": "output", "layers": "first", "steps": 9}
    ds = ens.run(study([STAGES[0], second], axes={}, seeds=40))
    begun = ens.run(study([STAGES[0]], axes={}, seeds=40))
    # Fair signs, and none of a seed's own: 240 of them agree in half of the cases, give or take 4 s.e.
    own = np.stack([ens.initial(study(axes={}, seeds=40), seed=s)[0].a for s in range(40)])
    np.testing.assert_allclose(np.abs(ds["a"]), np.abs(own), rtol=1e-14)
    assert abs(np.mean(np.sign(ds["a"]) == np.sign(own)) - 0.5) < 4 * 0.5 / np.sqrt(own.size)
    assert np.max(np.abs(ds["W"] - begun["W"])) < 0.5 and np.all(ds["W"] != begun["W"])
    third = STAGES[0] | {"name": "third", "fresh": "first", "layers": "output", "steps": 9}
    longer = ens.run(study([STAGES[0], second, third], axes={}, seeds=2))
    rows = np.linalg.norm(longer["W"], axis=-1)
    np.testing.assert_allclose(rows, 1 / np.sqrt(6), rtol=1e-12)
    assert np.all(longer["a"] != ds["a"][:2])
    alone = ens.run(study([STAGES[0], second], axes={}, seeds=1))
    assert_same_members(alone, ds)


ALONG = {
    "values": ["fresh", "after"],
    "fields": {
        "protocol": [{"kind": "stages", "stages": [STAGES[1]]}, {"kind": "stages", "stages": STAGES}],
    },
}


@pytest.fixture(scope="module")
def compared_at(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "transfer"
    ens.run(study(axes={"task_angle": [0.0, 0.7], "training": ALONG}, seeds=6), path)
    return path


@pytest.fixture(scope="module")
def compared(compared_at):
    return ens.open_dataset(compared_at).load()


def test_transfer_is_the_difference_to_the_fresh_start_of_the_same_seed(compared):
    found = analysis.transfer(compared, "training", "fresh")
    assert found.sizes == {"task_angle": 2, "training": 1, "seed": 6, "transfer_gain": 6}
    one = found.sel(task_angle=0.7, training="after", seed=3)["transfer"]
    fresh, after = (compared.sel(task_angle=0.7, seed=3, training=name) for name in ("fresh", "after"))
    start, end = (after["first_task_loss_stage"].sel(stage=name) for name in ("first", "second"))
    by_hand = {
        "forward_transfer": fresh["second_task_loss"] - after["second_task_loss"],
        "steps_saved": 0.0,
        "forgetting": end - start,
        "retained": fresh["first_task_loss"] - after["first_task_loss"],
        "features_found": fresh["second_task_readout"] - after["second_task_readout"],
        "features_lost": after["first_task_readout"] - after["first_task_readout_stage"].sel(stage="first"),
    }
    assert found["transfer_gain"].values.tolist() == list(by_hand)
    np.testing.assert_allclose(one, [float(value) for value in by_hand.values()], rtol=1e-14)
    # At angle 0 it is one task: 120 steps of it against 60, and nothing is forgotten.
    assert float(found["value"].sel(task_angle=0.0, transfer_gain="forward_transfer", training="after")) > 0
    assert float(found["positive"].sel(task_angle=0.0, transfer_gain="forgetting", training="after")) == 0.0
    values = found["transfer"].sel(task_angle=0.7, transfer_gain="forgetting", training="after").values
    assert float(found["value"].sel(task_angle=0.7, transfer_gain="forgetting", training="after")) == np.sort(values)[2]
    assert int(found["seeds"].min()) == 6


def test_steps_saved_are_those_of_the_last_stage():
    ruled = [stage | {"loss": 0.05, "check_every": 1} for stage in STAGES]
    protocols = [{"kind": "stages", "stages": [ruled[1]]}, {"kind": "stages", "stages": ruled}]
    ds = ens.run(study(axes={"training": ALONG | {"fields": {"protocol": protocols}}}, probes=PROBES[:3]))
    found = analysis.transfer(ds, "training", "fresh")
    ends = ds["stage_end_step"].sel(training="after")
    expected = ds["stop_step"].sel(training="fresh") - (ends.sel(stage="second") - ends.sel(stage="first"))
    np.testing.assert_array_equal(found["transfer"].sel(transfer_gain="steps_saved", training="after"), expected)
    assert np.any(expected != 0) and "features_lost" not in found["transfer_gain"].values


def test_transfer_says_what_it_cannot_compare(compared):
    with pytest.raises(ValueError, match=r"along: got 'trainin', which is no axis; .*did you mean 'training'"):
        analysis.transfer(compared, "trainin", "fresh")
    with pytest.raises(ValueError, match=r"fresh: got 'new', which is no value of 'training'; its values are"):
        analysis.transfer(compared, "training", "new")
    with pytest.raises(ValueError, match=r"fresh: got 'fresh', the one value of 'training'"):
        analysis.transfer(compared.sel(training=["fresh"]), "training", "fresh")
    with pytest.raises(ValueError, match="second_task_loss: transfer needs it; run the study with it"):
        analysis.transfer(compared.drop_vars("second_task_loss_stage"), "training", "fresh")


def test_transfer_pictures(compared):
    found = analysis.transfer(compared, "training", "fresh")
    figure = analysis.transfer_picture(found, "task_angle")
    assert "forward transfer against training = fresh" in figure.axes[0].get_title()
    with pytest.raises(ValueError, match=r"gain: got 'forgeting'; .*did you mean 'forgetting'"):
        analysis.transfer_picture(found, "task_angle", gain="forgeting")
    with pytest.raises(ValueError, match=r"x: got 'angle', which is no axis; the axes are"):
        analysis.transfer_picture(found, "angle")
    with pytest.raises(ValueError, match=r"x: got 'training' and y None; take different axes"):
        analysis.transfer_picture(found, "training")
    with pytest.raises(ValueError, match=r"result: got a dataset without transfer; pass that of analysis.transfer"):
        analysis.transfer_picture(compared, "task_angle")
    wide = xr.concat([found, found], "samples", data_vars="all").assign_coords(samples=("samples", [10, 30]))
    wide["samples"].attrs = {"units": "1", "long_name": "samples"}
    assert "fresh: after (dot" in analysis.transfer_picture(wide, "task_angle", "samples").axes[0].get_title()
    many = xr.concat([wide, wide], "training", data_vars="all").assign_coords(training=["after", "held"])
    many.attrs = found.attrs
    titles = [ax.get_title() for ax in analysis.transfer_picture(many, "task_angle", "samples").axes]
    assert titles[:2] == ["after", "held"]
    with pytest.raises(ValueError, match=r"at: the axis 'samples' is open"):
        analysis.transfer_picture(wide, "task_angle")


def test_differences_to_a_value_of_an_axis_are_paired(compared):
    found = analysis.paired(compared["second_task_loss"], "training", "fresh", among=compared["seed"] != 2)
    gain = analysis.transfer(compared.sel(seed=[0, 1, 3, 4, 5])).sel(transfer_gain="forward_transfer")
    assert found["seeds"].values.tolist() == [[5], [5]] and found["value"].dims == gain["value"].dims
    # The other way round; the median of five is the third from either side.
    for name, other in (("value", "value"), ("low", "high"), ("high", "low")):
        np.testing.assert_allclose(found[name], -gain[other], rtol=1e-14)
    np.testing.assert_allclose(found["positive"] + gain["positive"], 1.0)
    with pytest.raises(ValueError, match=r"along: got 'trainin', which is no axis; .*did you mean 'training'"):
        analysis.paired(compared["loss"], "trainin", "fresh")
    with pytest.raises(ValueError, match=r"against: got 'new', which is no value of 'training'; its values are"):
        analysis.paired(compared["loss"], "training", "new")


def test_the_fresh_start_is_found(compared):
    xr.testing.assert_identical(analysis.transfer(compared), analysis.transfer(compared, "training", "fresh"))
    xr.testing.assert_identical(analysis.transfer(compared, "training"), analysis.transfer(compared))
    with pytest.raises(ValueError, match=r"along: is missing, and the study does not say it: .*no axis has such"):
        analysis.transfer(compared.sel(training=["after"]))
    with pytest.raises(ValueError, match=r"fresh: is missing, and the study does not say it"):
        analysis.transfer(compared, "task_angle")


def test_the_page_shows_gains_and_compares_with_the_fresh_start(compared, browser, tmp_path):
    # Families take most of a page's time, and are none of this.
    said = content(compared, "loss", 0.02, without="left out here") | said_of_uses(compared, None)
    (tmp_path / "page.html").write_text(html_of(said))
    tab = browser.new_context(offline=True, viewport={"width": 390, "height": 800}).new_page()
    told: list[str] = []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    tab.goto(f"file://{tmp_path}/page.html#gain=forgetting")
    tab.wait_for_selector("html[data-ready=yes]")
    found = analysis.transfer(compared)
    gains = found["transfer_gain"].values.tolist()
    cells = tab.evaluate("said.cells.map((c) => said.transfer.gains.map((_, g) => gainOf(c, g) ?? null))")
    names = ("value", "low", "high", "positive", "positive_low", "positive_high", "seeds")
    for (angle, way), cell in zip(product(range(2), range(2)), cells, strict=True):
        one = found.isel(task_angle=angle)
        expected = [one[name].isel(training=0).sel(transfer_gain=gains).values for name in names]
        assert (cell == [None] * 6) if way == 0 else np.array_equal(np.array(cell, float).T, expected)
    # Of one axis beside: curves. A click on a cell puts its fresh start beside it.
    assert tab.input_value("#gain") == "forgetting" and "since it was learned" in tab.text_content("#transfer-caption")
    drawn = tab.evaluate("document.querySelector('#transfer-maps .plot').data[0]")
    np.testing.assert_array_equal(drawn["y"], found["value"].sel(transfer_gain="forgetting").values[:, 0])
    tab.evaluate("document.querySelector('#transfer-maps .plot').emit('plotly_click', {points: [{customdata: '1,1'}]})")
    heads = tab.locator("#cell h2, #beside h2").all_text_contents()
    assert heads == ["task_angle = 0.7, training = after", "task_angle = 0.7, training = fresh"]
    assert tab.locator("#cell [data-part=gains-table] tbody tr").count() == 6
    assert "is the fresh start" in tab.text_content("#beside [data-part=gains-note]")
    tab.select_option("#gain", "retained")
    assert "gain=retained" in tab.evaluate("location.hash")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390 and told == []
    tab.context.close()


def test_the_command_of_transfer(compared_at, compared, tmp_path):
    words = ["transfer", str(compared_at)]
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["along"] == "training"
    words += ["--along", "training", "--fresh", "fresh"]
    done = CliRunner().invoke(app, [*words, "--x", "task_angle", "--out", str(tmp_path / "t.png")])
    assert done.exit_code == 0, done.output + str(done.exception)
    assert "forgetting: growth of the loss against the first task" in done.output and (tmp_path / "t.png").exists()
    rows = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)["rows"]
    found = analysis.transfer(compared, "training", "fresh")["value"]
    assert len(rows) == found.size
    for row in rows:
        place = {name: row[name] for name in ("task_angle", "training", "transfer_gain")}
        assert row["value"] == pytest.approx(float(found.sel(place)), rel=1e-14)
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "u.png")])
    assert done.exit_code == 2 and "--x: is missing; a picture needs an axis to the right" in done.output


SECOND = {"samples": 25, "noise": 0.1, "second": {"samples": 7, "noise": 0.3}}


def test_each_task_has_a_sample_of_its_own(rng):
    """Stage by stage the gradient is that of ½ mean (f − y)² over the rows of its task, written out."""
    asked = study(axes={}, data=SECOND, seeds=1, probes=["loss", "second_task_loss"])
    ds = ens.run(asked).isel(seed=0)
    net, teacher = ens.initial(asked, seed=0)
    x, y = ens.sample(asked, seed=0)
    assert x.shape == (32, 5) and len(np.unique(x[:, 0])) == 32
    rows = slice(0, 25), slice(25, 32)
    for number, noise in ((0, 0.1), (1, 0.3)):
        left = y[rows[number]] - task(teacher, number)(x[rows[number]])
        assert 0.3 * noise < float(jnp.std(left)) < 2 * noise  # 25 and 7 normal draws

    @jax.jit
    def slope(net, x, y):
        return jax.grad(lambda net: 0.5 * jnp.mean((net(x) - y) ** 2))(net)

    for one in rows:
        for _ in range(60):
            g = slope(net, x[one], y[one])
            net = ens.TwoLayer(net.a - 0.2 * g.a, net.W - 0.2 * g.W, net.activation)
    np.testing.assert_allclose(ds["W"], net.W, atol=1e-11)
    np.testing.assert_allclose(ds["a"], net.a, atol=1e-11)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": [{"name": "x", "steps": 3}]}, r"target: got no target in the stage 'x' with data.second"),
        ({"stages": [STAGES[0] | {"target": [0]}]}, r"target: got the target \[0\] in the stage 'first' with data.sec"),
        ({"data": {"second": {"samples": 5}}}, r"second: got a table without samples"),
        ({"data": SECOND | {"adversary": {"radius": 1}}}, r"adversary: got a table beside one of a second task"),
        ({"probes": ["train_loss"]}, r"probes: got 'train_loss' with data.second, whose labels are of two tasks"),
    ],
)
def test_a_second_sample_that_is_of_no_task_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        study(**{"axes": {}, "data": SECOND, "probes": ["loss"]} | changes)


def test_a_second_sample_needs_a_second_task():
    teacher = {"kind": "orthonormal", "activation": "abs_centred", "neurons": 4, "inputs": 5}
    table = study(axes={}, probes=["loss"]).model_dump(mode="json", exclude_none=True)
    with pytest.raises(ValueError, match=r"data.second: got a table with the teacher 'orthonormal', which has"):
        ens.Study.model_validate(table | {"teacher": teacher, "data": SECOND})


def test_probes_of_two_tasks_need_two():
    teacher = {"kind": "orthonormal", "activation": "abs_centred", "neurons": 4, "inputs": 5}
    table = study().model_dump(mode="json", exclude_none=True) | {"teacher": teacher, "axes": {}}
    with pytest.raises(
        ValueError, match="probes: got 'first_task_loss' with the teacher 'orthonormal', and it is measured"
    ):
        ens.Study.model_validate(table)
