"""Pictures and commands: drawn from datasets alone, every axis named, bad input refused with what there is."""

import json
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from typer.testing import CliRunner

import analysis
import ensemble as ens
from analysis.__main__ import app
from analysis.commands.pictures import _say_boundary
from analysis.phase import boundaries
from analysis.plots import layout, maps, save, style
from analysis.two_layer.paths import Paths, neuron_paths, planes
from tests.studies import PROBES, small


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    return ens.run(small(seeds=4, probes=PROBES))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small"
    ens.run(small(seeds=4, probes=PROBES), path)
    return path


@pytest.fixture(scope="module")
def drawings(ds) -> dict:
    """A figure of every kind, drawn once."""
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
        "pruning": analysis.pruning_picture(analysis.pruning(column)),
        "robustness": analysis.robustness_picture(analysis.robust_loss(column, (0.1, 0.3), points=16, steps=3)),
        "features": analysis.feature_picture(column.sel(separation=0.8)),
    }


def test_every_picture_is_one(drawings, tmp_path):
    for name, figure in drawings.items():
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


def test_texts_fit_into_the_picture(drawings):
    for name, figure in drawings.items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        texts = [text for ax in figure.axes if ax.get_visible() for text in (ax.title, ax.yaxis.label, ax.xaxis.label)]
        for text in (text for text in texts if text.get_text()):
            box = text.get_window_extent()
            assert box.x0 >= -2 and box.x1 <= width + 2 and box.y0 >= -2 and box.y1 <= height + 2, (name, text)


LONG = "the_angle_between_paired_teacher_neurons_that_nobody_would_ever_call_so in a study of $very many words"


def cut_or_covered(figure) -> list[str]:
    """Texts that leave the figure, titles and labels that meet one another, and legends that meet a panel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, whole = canvas.get_renderer(), figure.bbox
    shown = [ax for ax in figure.axes if ax.get_visible()]
    texts = [text for ax in shown for text in (ax.title, ax.xaxis.label, ax.yaxis.label)] + figure.texts
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in texts if text.get_text()}
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    found = [
        f"{t} leaves the page"
        for t, b in boxes.items()
        if min(b.x0, b.y0) < -2 or b.x1 > whole.x1 + 2 or b.y1 > whole.y1 + 2
    ]
    found += ["a legend leaves the page" for b in legends if min(b.x0, b.y0) < -2 or b.x1 > whole.x1 + 2]
    drawn = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    for i, (text, box) in enumerate(drawn):
        found += [f"{text} meets {other}" for other, its in drawn[i + 1 :] if met(box, its)]
        found += [f"{text} meets a legend" for its in legends if met(box, its)]
        found += [f"{text} meets a panel" for ax in shown if met(box, ax.get_window_extent(renderer))]
    return found + [
        f"a legend meets {ax}" for ax in shown for box in legends if met(box, ax.get_window_extent(renderer))
    ]


def met(box, other) -> bool:
    """Whether two boxes have more in common than a pixel of rounding."""
    return min(box.x1, other.x1) - max(box.x0, other.x0) > 1.5 and min(box.y1, other.y1) - max(box.y0, other.y0) > 1.5


@pytest.fixture(scope="module")
def long_named(ds) -> xr.Dataset:
    """The same with long names of both axes."""
    return ds.assign_coords(
        {n: ds[n].assign_attrs(long_name=f"{LONG} {n}", units="rad") for n in ("weight_decay", "separation")}
    )


@pytest.mark.parametrize("width", ["column", "page"])
def test_nothing_is_cut_or_covered_under_long_names(long_named, width):
    axes, column = ("weight_decay", "separation"), long_named.isel(weight_decay=1)
    many = xr.concat(
        [column.assign_coords(separation=column["separation"] + shift) for shift in (0.0, 0.05)],
        "separation",
        data_vars="all",
    )
    # Three maps and one bar: on a page the last of them has no neighbour.
    widths = xr.concat([long_named] * 3, "width", data_vars="all").assign_coords(width=[4, 8, 16])
    figures = {
        "phase": analysis.phase_picture(
            analysis.phase(long_named, *axes, "loss", 0.02),
            analysis.boundary(long_named, *axes, "loss", 0.02),
            width=width,
        ),
        "map": analysis.phase_picture(analysis.phase(long_named, *axes, "loss", 0.02), panels=1, width=width),
        "curve": analysis.order_picture(analysis.order_parameter(column, "separation", None, "loss"), width=width),
        "curves": analysis.survival_picture(analysis.survival(column, "loss", below=0.3), width=width),
        "six curves": analysis.survival_picture(analysis.survival(many, "loss", below=0.3), width=width),
        "neurons": analysis.neuron_picture(column.isel(separation=1), width=width),
        "pruning": analysis.pruning_picture(analysis.pruning(column), width=width),
        "robustness": analysis.robustness_picture(
            analysis.robust_loss(column, (0.1, 0.3), points=16, steps=3), width=width
        ),
        "features": analysis.feature_picture(column.isel(separation=1), width=width),
        "multiples": analysis.phase_picture(analysis.phase(widths, *axes, "loss", 0.02, over="width"), width=width),
    }
    assert {name: found for name, figure in figures.items() if (found := cut_or_covered(figure))} == {}
    assert {figure.get_size_inches()[0] for figure in figures.values()} == {{"column": 3.4, "page": 6.8}[width]}
    # Six curves have a panel each, three one panel and a legend.
    assert len(figures["six curves"].axes) == 6 and not figures["six curves"].legends
    assert len(figures["curves"].axes) == 1 and len(figures["curves"].legends) == 1


def test_a_title_that_is_not_broken_would_be_cut(ds):
    figure = analysis.order_picture(analysis.order_parameter(ds, "weight_decay", "separation", "loss"), title=LONG)
    assert not cut_or_covered(figure)
    figure.axes[0].set_title(LONG)
    assert any("leaves the page" in one for one in cut_or_covered(figure))


def test_titles_of_measures_fit(ds):
    """The longest ones; pages and other pictures take the same way."""
    column = ds.isel(weight_decay=1)
    names = [name for name in ens.PROBES if f"{name}_history" in ds]
    for measure in sorted(names, key=lambda name: len(ens.PROBES[name].long_name))[-6:]:
        assert not cut_or_covered(analysis.trajectory_picture(column, measure)), measure


def test_numbers_lie_in_their_cells_over_every_line(ds):
    axes = ("weight_decay", "separation")
    figure = analysis.phase_picture(
        analysis.phase(ds, *axes, "loss", 0.02), analysis.boundary(ds, *axes, "loss", 0.02), panels=1
    )
    ax = figure.axes[0]
    assert len(ax.texts) == 6
    lines = max(artist.get_zorder() for artist in [*ax.lines, *ax.collections])
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert all(text.get_zorder() > lines for text in ax.texts)
    assert not any(met(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    # Where the cells are too small, there are none.
    forty = analysis.phase(ds, *axes, "loss", 0.02).isel(weight_decay=np.zeros(40, int))
    forty = forty.assign_coords(weight_decay=np.linspace(0.0, 1.0, 40))
    assert not analysis.phase_picture(forty, panels=1).axes[0].texts


def test_pdf_and_svg_hold_text(ds, tmp_path):
    figure = analysis.trajectory_picture(ds.isel(weight_decay=1), "loss")
    for kind in ("pdf", "svg"):
        save(figure, tmp_path / f"t.{kind}")
    pdf, svg = (tmp_path / "t.pdf").read_bytes(), (tmp_path / "t.svg").read_text()
    assert b"/Type3" not in pdf and b"/CIDFontType2" in pdf
    assert "descent steps" in svg and svg.count("<text") > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.pdf", "t.svg"]


def test_sizes_texts_and_axes_are_the_caller_s(ds):
    result = analysis.phase(ds, "weight_decay", "separation", "loss", 0.02)
    figure = analysis.phase_picture(result, width=5.5, height=2.5, title="a title", xlabel="λ", ylabel="Δ", panels=1)
    assert tuple(figure.get_size_inches()) == (5.5, 2.5)
    assert (figure.axes[0].get_title(), figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (
        "a title",
        "λ",
        "Δ",
    )
    own = Figure(figsize=(7, 3), layout="constrained")
    left, right = own.subplots(1, 2)
    assert analysis.phase_picture(result, panels=1, ax=left, title="") is own
    analysis.survival_picture(analysis.survival(ds.isel(weight_decay=1), "loss", below=0.3), ax=right)
    assert left.get_title() == "" and right.lines and tuple(own.get_size_inches()) == (7.0, 3.0)
    for wrong, match in (
        ({"width": "wide"}, "say 'column' or 'page', or inches"),
        ({"height": 0.0}, "height: got 0.0"),
    ):
        with pytest.raises(ValueError, match=match):
            analysis.phase_picture(result, **wrong)
    with pytest.raises(ValueError, match="ax: got one axes for a picture of 2 panels"):
        analysis.phase_picture(result, ax=left)
    with pytest.raises(TypeError, match="colour: a picture knows no such argument"):
        analysis.order_picture(analysis.order_parameter(ds, "weight_decay", "separation", "loss"), colour="red")


def test_the_certificate_shows_what_is_above_one(ds):
    member = ds.isel(weight_decay=1, separation=1, seed=0)
    pairs = (("a", "W"), ("teacher_a", "teacher_W"))
    student, teacher = (ens.TwoLayer(member[a].values, member[W].values, "abs_centred") for a, W in pairs)
    for network, said in ((student, "not optimal"), (teacher, "no direction is above 1")):
        figure = analysis.profile_picture(analysis.profile(network, teacher, weight_decay=0.01))
        assert said in " ".join(figure.get_suptitle().split())
        red = figure.axes[1].lines[2].get_ydata()
        assert np.isfinite(red).any() == (said == "not optimal")
        assert (
            figure.axes[1].get_yscale() == "symlog" and figure.axes[1].get_ylim()[1] > 0 > figure.axes[1].get_ylim()[0]
        )


def test_names_of_ticks_never_touch():
    values = [0.0, 0.1, 0.2, 0.4, 0.8, 1.2, 1.57]
    coordinate = xr.DataArray(values, coords={"x": values}, dims="x")["x"]
    with layout.sheet(1, {"width": "column"}, width=3.4, height=2.0) as page:
        page.panels[0].set_xlim(-1.5, 3.0)
        style.name_ticks(page.panels[0], coordinate, "x")
    named = [name for name in page.panels[0].get_xticklabels() if name.get_text()]
    boxes = [name.get_window_extent() for name in named]
    assert 1 < len(named) < len(values) and named[0].get_text() == "0"
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_titles_count_seeds_in_words():
    counts = xr.DataArray([[10, 12], [12, 12]], dims=("x", "y"))
    said = [style.of_seeds(some) for some in (counts, counts[1], counts[1, 1], 1, 0)]
    assert said == ["10–12 seeds", "12 seeds", "12 seeds", "1 seed", "0 seeds"]


def test_circles_of_four_teachers_fit_a_column():
    teacher = ens.TwoLayer(np.ones(4), np.eye(4), "abs_centred")
    figure = analysis.profile_picture(analysis.profile(teacher, teacher, weight_decay=0.01), width="column")
    FigureCanvasAgg(figure).draw()
    panels = [ax.get_window_extent() for ax in figure.axes]
    assert len(panels) == 12 and len({panel.x0 for panel in panels}) == 2
    assert all(panel.width / figure.dpi > 1.0 for panel in panels)


def test_teachers_that_are_seen_end_on_hide_no_vanished_neuron(ds, monkeypatch):
    # Two pairs of teachers, each across the plane of the other; two of the students' neurons have vanished.
    teacher = np.eye(4)
    end = np.array([[0.0] * 4, [0.0] * 4, [0.9, 0, 0, 0], [0, 0.8, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 0.7]])
    labels = {"seed": 0}
    made = Paths(0.1 + 0.0 * end, end, np.ones(6), teacher, planes(teacher), labels)
    monkeypatch.setattr("analysis.plots.neurons.neuron_paths", lambda _: made)
    figure = analysis.neuron_picture(ds)
    assert figure.legends[0].get_texts()[2].get_text() == "vanished (2 of 6)"
    pairs = [{str(plane.first), str(plane.second)} for plane in made.planes]
    for ax, pair in zip(figure.axes, pairs, strict=True):
        assert {text.get_text() for text in ax.texts} == pair and "across the plane" in ax.get_title()
        gone = [artist.get_offsets() for artist in ax.collections if artist.get_zorder() == 5]
        assert len(gone) == 1 and len(gone[0]) == 2


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
    "cell": [
        *("picture trajectories", "--measure", "loss", "--at", "separation=0.8", "--at", "weight_decay=0.05"),
        *("--out", "{out}/c.pdf"),
    ],
    "order": ["picture order", "--x", "weight_decay", "--y", "separation", "--out", "{out}/o.png"],
    "importance": ["importance"],
    "pruning": ["pruning", "--by", "importance", "--at", "separation=0.8", "--out", "{out}/p.png"],
    "features": ["features", "--tolerance", "0.3"],
    "robustness": [
        *("robustness", "--radius", "0.1", "--radius", "0.3", "--points", "16", "--steps", "3"),
        *("--at", "separation=0.8", "--out", "{out}/r.svg"),
    ],
    "shift": ["shift", "--condition", "4", "--turned", "--at", "separation=0.8", "--out", "{out}/s.png"],
    "map": ["picture features", "--at", "separation=0.8", "--at", "weight_decay=0.05", "--out", "{out}/f.pdf"],
}
SAYS = {
    "survival": "log-rank test",
    "curves": "picture: ",
    "families": "anti-aligned",
    "certificate": "median gap",
    "scaling": "hold as ζ → 0",
    "trajectories": "picture: ",
    "neurons": "picture: ",
    "cell": "picture: ",
    "order": "picture: ",
    "importance": "Spearman's rank correlation",
    "pruning": "picture: ",
    "features": "within 0.3 rad of a teacher neuron",
    "robustness": "lower bound by projected ascent: 16 inputs, 24 starts, 3 steps",
    "shift": "eigenvalues of mean 1 along a rotation; exact",
    "map": "picture: ",
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


def test_commands_compare_seed_by_seed_and_certify_before_and_after(directory):
    words = ["pruning", str(directory), "--at", "separation=0.8", "--tolerance", "0.05", "--certify", "--json"]
    said = json.loads(CliRunner().invoke(app, [*words, "--against", "weight_decay=0.0"]).output)
    ds = ens.open_dataset(directory).sel(separation=0.8).load()
    found, [at, own] = analysis.pruning(ds, tolerance=0.05), said["rows"]
    paired = analysis.paired(found["minimal_width"], "weight_decay", 0.0).isel(weight_decay=0)
    ends = {"difference": "value", "difference_low": "low", "difference_high": "high", "pairs": "seeds"}
    assert {name: float(own[name]) for name in ends} == {name: float(paired[one]) for name, one in ends.items()}
    assert own["weight_decay"] == 0.05 and at["difference"] is None and said["against"] == "weight_decay=0.0"
    for word, networks in (("gap", ds), ("gap_pruned", analysis.pruned(ds, tolerance=0.05))):
        gap = analysis.quantiles(analysis.certificates(networks)["gap"], (0.5,))["value"].sel(weight_decay=0.05)
        assert own[word] == pytest.approx(float(gap.item()), rel=1e-12)
    done = CliRunner().invoke(app, [*words[:-1], "--against", "separatio=0.8"])
    assert done.exit_code == 2 and "got 'separatio', which is no axis; the axes are weight_decay" in done.output
    done = CliRunner().invoke(app, ["shift", str(directory), "--condition", "4", "--against", "separation=0.7"])
    assert done.exit_code == 2 and "give one value of an axis of two or more" in done.output


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
        (
            lambda d: analysis.angle_picture(d.drop_vars("mass").isel(weight_decay=0)),
            r'got \'mass\'.*run it with `probes = \["loss", "max_angle", "angle", "mass"\]`',
        ),
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


def inches(path) -> tuple[float, float]:
    """The size of a PNG that was written at 200 dots an inch."""
    rows, columns, _ = matplotlib.image.imread(path).shape
    return columns / 200, rows / 200


LOSS = ["--measure", "loss"]
AXES = ["--x", "weight_decay", "--y", "separation"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["phase", *AXES, *LOSS, "--below", "0.02", "--panels", "1"], "separation at which half"),
        (["phase", *AXES[:2], *LOSS, "--below", "0.02", "--at", "separation=0.8"], "cells in which most"),
        (["picture", "order", *AXES[:2], "--at", "separation=0.8", *LOSS], "picture: "),
        (["picture", "trajectories", "--at", "separation=0.8", *LOSS], "picture: "),
        (["survival", *LOSS, "--below", "0.3", "--at", "separation=0.8"], "picture: "),
    ],
)
def test_commands_take_the_size_of_a_figure(directory, tmp_path, arguments, said):
    def run(*size):
        name, *more = arguments
        kind, more = (more[:1], more[1:]) if name == "picture" else ([], more)
        full = [name, *kind, str(directory), *more, "--out", str(tmp_path / "x.png"), *size]
        return CliRunner().invoke(app, full)

    done = run("--width", "5", "--height", "2.5")
    assert done.exit_code == 0 and said in done.stdout, done.output
    assert inches(tmp_path / "x.png") == pytest.approx((5.0, 2.5), abs=0.01)
    assert run("--width", "page").exit_code == 0
    assert inches(tmp_path / "x.png")[0] == pytest.approx(6.8, abs=0.01)
    for size, error in ((["--width", "wide"], "width: got 'wide'"), (["--height", "0.1"], "height: got 0.1")):
        refused = run(*size)
        assert refused.exit_code == 2 and error in refused.output and "Traceback" not in refused.output


def test_a_column_of_several_crossings_says_them_all(tmp_path, capsys):
    """A hump over y: its boundary is NaN, and both places are told, one map a value of a third axis or not."""
    generator = np.random.default_rng(2)
    heights = np.linspace(0.0, 1.0, 8)
    hump = 0.05 + 0.9 * ((heights > 0.2) & (heights < 0.8))
    study = small(
        seeds=40,
        max_steps=1,
        axes={"weight_decay": [0.0, 0.05], "separation": [0.3, 0.8], "step_size": (0.1 + heights).tolist()},
    )
    ds = ens.run(study)
    below = generator.random((2, 2, 8, 40)) < hump[:, None]
    below[0] = generator.random((2, 8, 40)) < heights[:, None]  # one of the maps passes one half once
    ds["loss"] = ds["loss"].copy(data=np.where(below, 0.0, 1.0))
    found = boundaries(ds, "separation", "step_size", "loss", 0.5, over="weight_decay")
    assert found["boundary"].dims == ("weight_decay", "separation")
    assert found["crossings"].values.tolist() == [[1, 1], [2, 2]]
    assert np.isnan(found["crossing_place"].isel(weight_decay=0, crossing=1)).all()
    _say_boundary(found.isel(weight_decay=1), "separation", "step_size", "loss < 0.5")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 2 and all(line.count("[") == 2 and " and " in line for line in lines)
    picture = analysis.phase_picture(
        analysis.phase(ds, "separation", "step_size", "loss", 0.5, over="weight_decay"), found
    )
    save(picture, tmp_path / "maps.png")


def test_a_picture_replaces_only_a_picture(ds, tmp_path):
    figure = analysis.trajectory_picture(ds.sel(weight_decay=0.05, separation=0.8), "loss")
    path = tmp_path / "x.png"
    save(figure, path)
    save(figure, path)
    path.write_text("notes")
    with pytest.raises(ValueError, match="is no picture of gd-atlas"):
        save(figure, path)
    assert path.read_text() == "notes"
    save(figure, path, overwrite=True)
    assert inches(path)[0] == pytest.approx(3.4, abs=0.01)


def test_no_boundary_is_drawn_between_texts():
    share = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    half = xr.full_like(xr.DataArray(share, dims=("y", "x")), 0.1)
    drawn = {}
    for name, values in (("numbers", [1.0, 2.0]), ("texts", ["adam", "sign"])):
        coords = {"x": [1.0, 2.0, 3.0], "y": values}
        ds = xr.Dataset({"share": (("y", "x"), share), "half_width": half}, coords=coords)
        for coordinate in ("x", "y"):
            ds[coordinate].attrs = {"units": "1", "long_name": coordinate}
        drawn[name] = maps._draw_half_contour(Figure().add_subplot(), ds["share"], "x", "y")
    assert drawn == {"numbers": True, "texts": False}
