"""Pictures and commands: drawn from datasets alone, every axis named, bad input refused with what there is."""

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from typer.testing import CliRunner

import analysis
import ensemble as ens
from analysis.__main__ import app
from analysis.paths import neuron_paths, planes
from analysis.plots import save
from tests.studies import small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=4))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small"
    ens.run(small(seeds=4), path)
    return path


def drawings(ds: xr.Dataset) -> dict:
    column = ds.sel(weight_decay=0.05)
    member = column.sel(separation=0.8, seed=1)
    networks = [
        ens.TwoLayer(member[a].values, member[W].values, "abs_centred")
        for a, W in (("a", "W"), ("teacher_a", "teacher_W"))
    ]
    axes = "weight_decay", "separation"
    stacked = xr.concat([ds, ds], "width").assign_coords(width=("width", [4, 8], {"units": "1", "long_name": "width"}))
    return {
        "phase": analysis.phase_picture(
            analysis.phase(ds, *axes, "loss", 0.02), analysis.boundary(ds, *axes, "loss", 0.02)
        ),
        "multiples": analysis.phase_picture(analysis.phase(stacked, *axes, "loss", 0.02, over="width")),
        "order": analysis.order_picture(analysis.order_parameter(ds, *axes, "loss")),
        "difference": analysis.difference_picture(analysis.difference(ds, ds, "loss", 0.02), *axes),
        "trajectory": analysis.trajectory_picture(column, "loss"),
        "survival": analysis.survival_picture(analysis.survival(column, "loss", below=0.3)),
        "angles": analysis.angle_picture(column),
        "overlaps": analysis.overlap_picture(column.sel(separation=0.8)),
        "neurons": analysis.neuron_picture(column.sel(separation=0.8, seed=[1])),
        "profile": analysis.profile_picture(analysis.profile(*networks, weight_decay=0.0125)),
    }


def test_every_picture_is_one(ds, tmp_path):
    for name, figure in drawings(ds).items():
        for ax in figure.axes:
            # A colour bar's label stands on one side alone.
            named = bool(ax.get_xlabel() or ax.get_ylabel())
            assert named or not ax.get_visible() or not ax.get_xticks().size, name
        path = tmp_path / f"{name}.png"
        save(figure, path)
        image = matplotlib.image.imread(path)
        # A paper's column (3.4 in) or text width (6.8 in) at 200 dpi, and not one colour.
        assert image.shape[1] in (680, 1360), name
        assert image[..., :3].std() > 0.05, name


def test_texts_fit_into_the_picture(ds):
    for name, figure in drawings(ds).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        texts = [text for ax in figure.axes if ax.get_visible() for text in (ax.title, ax.yaxis.label, ax.xaxis.label)]
        for text in (text for text in texts if text.get_text()):
            box = text.get_window_extent()
            assert box.x0 >= -2 and box.x1 <= width + 2 and box.y0 >= -2 and box.y1 <= height + 2, (name, text)


def test_neurons_go_from_their_draw_to_their_stored_end(ds):
    member = ds.sel(weight_decay=0.05, separation=0.8, seed=[2])
    paths = neuron_paths(member)
    student, teacher = ens.initial(small(seeds=4), 2, weight_decay=0.05, separation=0.8)
    np.testing.assert_array_equal(np.abs(paths.begin), np.abs(np.asarray(student.W) * np.abs(student.a)[:, None]))
    # The start is the dataset's own: descending zero steps from it gives the first record's loss.
    assert float(ens.population_loss(student, teacher)) == pytest.approx(member["loss_history"].values[0, 0], rel=1e-12)
    mass = member["mass"].values.ravel()
    np.testing.assert_allclose(np.linalg.norm(paths.end, axis=1), mass, rtol=1e-12)
    with pytest.raises(ens.StudyError, match="no grid point; the axes are"):
        ens.initial(small(), 0, weight_decay=0.3)


def test_planes_are_those_of_the_closest_lines():
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [-0.9, 0.1, 0.0], [0.0, 1.0, 0.2]])
    found = planes(rows)
    assert [(p.first, p.second) for p in found] == [(0, 2), (1, 3)]
    for plane in found:
        np.testing.assert_allclose(plane.rows @ plane.rows.T, np.eye(2), atol=1e-12)
    assert planes(np.array([[1.0, 0.0], [2.0, 0.0]])) == []


COMMANDS = {
    "survival": ["survival", "--measure", "loss", "--below", "0.3", "--along", "separation"],
    "curves": [
        *("survival", "--measure", "loss", "--below", "0.3", "--at", "weight_decay=0.05"),
        *("--out", "{out}/s.pdf"),
    ],
    "families": ["families", "--at", "separation=0.8"],
    "certificate": ["certificate", "--at", "separation=0.8"],
    "scaling": ["scaling", "--at", "separation=0.8", "--at", "weight_decay=0.05"],
    "trajectories": ["picture trajectories", "--measure", "loss", "--at", "separation=0.8", "--out", "{out}/t.png"],
    "neurons": [
        *("picture neurons", "--at", "separation=0.8", "--at", "weight_decay=0.05", "--seed", "1"),
        *("--out", "{out}/n.svg"),
    ],
    "order": ["picture order", "--x", "weight_decay", "--y", "separation", "--out", "{out}/o.png"],
}
SAYS = {
    "survival": "log-rank test",
    "curves": "picture: ",
    "families": "anti-aligned",
    "certificate": "median gap",
    "scaling": "hold as ζ → 0",
    "trajectories": "picture: ",
    "neurons": "picture: ",
    "order": "picture: ",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(directory, tmp_path, name):
    command, *rest = COMMANDS[name]
    call = [*command.split(), str(directory), *(part.format(out=tmp_path) for part in rest)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output + str(done.exception)
    assert SAYS[name] in done.output
    if "picture: " in done.output:
        assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir()) and list(tmp_path.iterdir())


def test_a_tolerance_that_nobody_reaches_is_said(directory):
    done = CliRunner().invoke(app, ["survival", str(directory), "--measure", "loss", "--below", "1e-9"])
    assert done.exit_code == 0 and "no member reaches loss ≤ 1e-09: the smallest at the end is" in done.output
    done = CliRunner().invoke(app, ["survival", str(directory)])
    assert "no member was ended by a stop rule" in done.output


def test_difference_of_two_directories(directory, tmp_path):
    axes = ["--x", "weight_decay", "--y", "separation", "--measure", "loss", "--below", "0.02"]
    call = ["difference", str(directory), str(directory), *axes, "--out", str(tmp_path / "d.png")]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0 and "+0.000" in done.output and (tmp_path / "d.png").exists()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda d: analysis.trajectory_picture(d, "loss"), "the axis 'weight_decay' is open; choose one of its values"),
        (lambda d: analysis.trajectory_picture(d, "loss", "width"), "along: got 'width'"),
        (lambda d: analysis.neuron_picture(d.isel(weight_decay=0)), "the axis 'separation' is open"),
        (lambda d: analysis.overlap_picture(d.drop_vars("W")), "store_weights = true"),
        (lambda d: analysis.angle_picture(d.drop_vars("angle").isel(weight_decay=0)), "got 'angle'"),
        (
            lambda d: analysis.overlap_picture(
                d.assign(status=0 * d["status"]).isel(weight_decay=0, separation=0).assign_attrs(d.attrs)
            ),
            "no finished member",
        ),
    ],
)
def test_errors_say_what_there_is(ds, call, match):
    with pytest.raises(ValueError, match=match):
        call(ds)
