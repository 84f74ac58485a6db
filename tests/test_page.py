"""The page: one file that needs nothing beside it; tested in a headless Chromium where there is one."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.report import Attack, page, uses, write_page
from analysis.report.content import content
from analysis.statistics import paired_difference
from tests.helpers import until
from tests.studies import PROBES, small

EVIL = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
ATTACK = Attack((0.3, 1.0))


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    # Axes, question and a probe's name carry markup: they come from whoever wrote the study.
    study = small(seeds=4, probes=PROBES, question=f"what of {EVIL}?")
    axes = {name: axis.model_copy(update={"long_name": f"{name} {EVIL}"}) for name, axis in study.axes.items()}
    return ens.run(study.replace(axes=axes))


def test_content_is_that_of_the_analysis(ds):
    said = content(ds, "loss", 0.02)
    assert said["opening"] == {"measure": "loss", "below": 0.02, "x": "weight_decay", "y": "separation"}
    assert len(said["cells"]) == 6 and said["steps"] == ds["step"].values.tolist()
    for cell in said["cells"]:
        one = ds.isel(weight_decay=cell["place"][0], separation=cell["place"][1])
        times = analysis.survival(one, "loss", below=0.02)
        assert cell["time"][0] == {np.inf: "∞"}.get(float(times["median"]), float(times["median"]))
        assert sum(f["count"] for f in cell["families"]) == 4
        assert [one["seed"] for one in cell["neurons"]] == [0, 1, 2, 3]
        assert len(cell["neurons"][0]["views"][0]["end"]) == 4
    for measure in said["measures"]:
        stored = np.frombuffer(base64.b64decode(measure["values"]), "<f4" if measure["single"] else "<f8")
        values = ds[measure["key"]]
        many = [dim for dim in ("neuron", "teacher_neuron") if dim in values.dims]
        np.testing.assert_array_equal(stored, (values.max(many) if many else values).values.ravel())
    json.dumps(said, allow_nan=False)


def test_neurons_without_their_start_are_those_with_it(ds, monkeypatch):
    whole = content(ds, "loss", 0.02)["cells"]
    monkeypatch.setattr("analysis.report.neurons.MOST_DRAWN", 6)
    for cell, part in zip(whole, content(ds, "loss", 0.02)["cells"], strict=True):
        assert ["begin" in one["views"][0] for one in part["neurons"]] == [True, False, False, False]
        for one, other in zip(cell["neurons"], part["neurons"], strict=True):
            assert one["views"][0]["end"] == other["views"][0]["end"] and one["sign"] == other["sign"]
            assert one["views"][0]["teacher"] == other["views"][0]["teacher"]


def test_the_command_makes_the_study_again(ds, tmp_path):
    command = content(ds, "loss", 0.02)["command"]
    toml = command.split("<<'GD_ATLAS_STUDY'\n")[1].split("GD_ATLAS_STUDY\n")[0]
    (tmp_path / "small.toml").write_text(toml)
    assert ens.Study.from_toml(tmp_path / "small.toml").hash == ds.attrs["study_hash"]
    assert command.endswith("python -m ensemble run small.toml --out data/small")


def test_one_file_without_addresses(ds, tmp_path):
    write_page(ds, tmp_path / "page.html", "loss", 0.02)
    text = (tmp_path / "page.html").read_text()
    assert len(text) < 10e6
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)  # without plotly's own source and ours
    assert "<script>window" not in own and not re.search(r"(src|href)=\"(?!data:)", own)
    # The study's texts stand nowhere but in JSON, where no "<" is.
    assert "window.pwned" in text and EVIL not in text


def test_texts_that_look_like_the_template_are_texts():
    # Each would be put in the place of another part, or the part in its place, were parts looked at again.
    question = "what of /*{content}*/, /*{script}*/ and /*{style}*/?"
    ds = ens.run(small(seeds=1, axes={}, question=question, name="small"))
    text = page(ds, "loss", 0.02)
    said = re.search(r'<script id="content" type="application/json">(.*?)</script>', text, flags=re.S)
    assert said is not None and json.loads(said[1])["question"] == question


def test_what_is_left_out_of_families_is_said(ds, monkeypatch):
    monkeypatch.setattr("analysis.report.cells._MOST_FAMILIES", 1)
    cells = content(ds, "loss", 0.02)["cells"]
    for cell in cells:
        members, rarer = cell["rarer"]
        assert (
            len(cell["families"]) == 1 and members == 4 - cell["families"][0]["count"] and (rarer > 0) == (members > 0)
        )
    assert any(cell["rarer"][1] for cell in cells)


def test_seeds_with_teachers_of_their_own_have_no_families_and_the_page_says_why():
    teacher = {"kind": "random_separated", "activation": "abs_centred", "neurons": 2, "inputs": 4}
    teacher |= {"rank": 2, "separation": 0.3}
    said = content(ens.run(small(teacher=teacher, axes={})), "loss", 0.02)
    assert "families" not in said["cells"][0] and "teachers differ in masses or angles" in said["noFamilies"]
    assert said["cells"][0]["neurons"][0]["views"]


def test_bad_input_is_refused(ds):
    with pytest.raises(ValueError, match=r"got 'colour'.*it has loss"):
        page(ds, "colour", 1.0)
    with pytest.raises(ValueError, match=r"x: got 'width'.*weight_decay, separation"):
        page(ds, "loss", 1.0, x="width")
    with pytest.raises(ValueError, match=r"radii: got -1\.0; give finite radii above 0"):
        page(ds.isel(seed=[]), attack=Attack((0.1, -1.0)))  # before anything is looked at


def test_small_and_partial_datasets_have_pages(ds):
    assert content(ds.sel(separation=[0.8]), "loss", 0.02)["boundary"] is None
    one_axis = ens.run(small(seeds=2, axes={"weight_decay": [0.0, 0.05]}, max_steps=5, records=0, store_weights=False))
    said = content(one_axis, "loss", 0.02)
    assert (
        said["opening"]["y"] is None and said["cells"][0]["trajectories"] == {} and "families" not in said["cells"][0]
    )
    partial = ds.copy(deep=True)
    partial["status"].values[0, 0] = ens.STATUS["not_run"]
    for name in partial.data_vars:
        if partial[name].dtype.kind == "f":
            partial[name].values[0, 0] = np.nan
    said = content(partial, "loss", 0.02)
    assert (
        "families" not in said["cells"][0] and "neurons" not in said["cells"][0] and said["ranks"].keys() == {"0", "4"}
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[int, Path]:
    """Files of pages by their dataset: making one costs more than opening it."""
    return {0: tmp_path_factory.mktemp("pages")}


@pytest.fixture
def opened(browser, ds, pages):
    contexts = []

    def open_page(data=ds, fragment="", **settings):
        if id(data) not in pages:
            pages[id(data)] = pages[0] / f"{len(pages)}.html"
            write_page(data, pages[id(data)], "loss", 0.02, attack=ATTACK)
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.said = []
        tab.on("console", lambda message: tab.said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.goto(f"file://{pages[id(data)]}{fragment}")
        tab.wait_for_selector("html[data-ready=yes]")
        return tab

    yield open_page
    for context in contexts:
        context.close()


def test_a_click_on_a_cell_shows_its_numbers(opened, ds):
    tab = opened()
    assert tab.said == []
    # Where plotly draws the cell λ₀ = 0.05, Δ = 0.4: its first row, second column.
    tab.wait_for_selector("#map .heatmaplayer image")
    box = tab.eval_on_selector("#map .heatmaplayer image", "e => JSON.parse(JSON.stringify(e.getBoundingClientRect()))")
    tab.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.9 * box["height"])
    until(tab, "document.querySelector('#cell h2').textContent.includes('separation = 0.4')")
    heading = tab.text_content("#cell h2")
    assert "weight_decay = 0.05" in heading
    one = ds.sel(weight_decay=0.05, separation=0.4)
    share = float((one["loss"] < 0.02).mean())
    low, high = (float(f"{v:.4g}") for v in analysis.wilson(np.array(4 * share), np.array(4)))
    assert f"{share:g} [{low:g}, {high:g}]" in tab.text_content("#cell dl")
    assert tab.locator("#cell [data-part=families] tbody tr").count() >= 1
    assert tab.locator("#cell [data-part=trajectory] .scatterlayer .trace").count() > 0
    assert tab.locator("#cells tr[aria-selected=true]").count() == 1 and tab.said == []


@pytest.fixture(scope="module")
def odd(ds: xr.Dataset) -> xr.Dataset:
    """The same with members of every status, values as they may be then, and a measure of another precision."""
    made = ds.copy(deep=True)
    rng = np.random.default_rng(3)
    status = rng.choice([0, 1, 2, 3, 4], size=ds["status"].shape, p=[0.1, 0.1, 0.3, 0.3, 0.2])
    status[1, 2] = 0  # a cell without a result
    made["status"].values[:] = status
    for name in ("loss", "max_angle", "risk"):
        made[name].values[status < 2] = np.nan
        made[name].values[status == 4] = rng.choice([np.nan, np.inf, 1e-9], size=(status == 4).sum())
    # 0.7 as a float32 is below 0.7 as a float64, and not below it as a float32.
    made["risk"] = made["risk"].astype(np.float32)
    made["risk"].values[0, 0] = np.float32(0.7)
    return made


def test_the_page_counts_what_the_analysis_counts(opened, odd):
    tab, data = opened(odd), odd
    counted = analysis.finished(data)
    own = float(data["loss"].values[counted.values & (data["status"] < 4).values][0])
    for measure, below in [("loss", 0.02), ("loss", own), ("max_angle", 0.5), ("risk", 0.7), ("active", 3.5)]:
        found = np.array(tab.evaluate(f"said.cells.map((c) => shareOf(c, '{measure}', {below!r}).interval)"))
        expected = analysis.share(analysis.below(data, measure, below), among=counted)
        for i, name in enumerate(("share", "low", "high")):
            np.testing.assert_allclose(found[:, i], expected[name].values.ravel(), rtol=1e-14, atol=1e-16)
        found = np.array(tab.evaluate(f"said.cells.map((c) => medianOf(c, '{measure}'))"), float)
        expected = analysis.order_parameter(data, "weight_decay", "separation", measure)
        for i, name in enumerate(("value", "low", "high")):
            np.testing.assert_array_equal(found[:, i], expected[name].transpose("weight_decay", ...).values.ravel())
    assert counted.values[0, 0].any() and not analysis.below(data, "risk", 0.7).values[0, 0].any()


def test_the_page_compares_two_cells_as_the_analysis_does(opened, odd):
    tab, data = opened(odd), odd
    inside, done = (v.values.reshape(-1, 4) for v in (analysis.below(data, "loss", 0.05), analysis.finished(data)))
    assert inside.any() and not inside.all()
    for i, j in [(0, 1), (0, 4), (2, 3), (1, 5), (4, 0)]:
        both, a, b = done[i] & done[j], inside[i], inside[j]
        counts = [(both & x & y).sum() for x, y in ((a, b), (a, ~b), (~a, b), (~a, ~b))]
        expected = [float(v) for v in paired_difference(*counts)[:3]]
        found = tab.evaluate(f"pairedDifference(said.cells[{i}], said.cells[{j}], 'loss', 0.05)")
        assert found["n"] == both.sum()
        np.testing.assert_allclose(found["interval"], expected, rtol=1e-13, atol=1e-15)


def test_curves_of_pruned_and_attacked_networks_are_those_of_the_analysis(opened, odd):
    tab, counted = opened(odd), analysis.finished(odd)
    how = {"points": uses.POINTS, "starts": uses.STARTS, "steps": uses.STEPS}
    pruned, attacked = analysis.pruning(odd), analysis.robust_loss(odd, ATTACK.radii, **how)
    for kind, values, dim in (
        ("pruning", pruned["pruned_loss"], "kept"),
        ("robustness", attacked["robust_loss"], "radius"),
    ):
        curve, dims = f"said.curves.{kind}", ("weight_decay", "separation", dim, "quantile")
        found = tab.evaluate(f"said.cells.map((c) => {curve}.x.map((_, k) => curveSpread({curve}, c, k)))")
        expected = analysis.quantiles(values, uses.QUANTILES, counted)
        for i, name in enumerate(("value", "low", "high")):
            stored = expected[name].transpose(*dims).values
            np.testing.assert_array_equal(np.array(found, float)[..., i].reshape(stored.shape), stored)
        # Seeds that both cells have, one by one.
        flat = values.transpose("weight_decay", "separation", "seed", dim).values.reshape(6, 4, -1)
        for i, j in [(0, 1), (4, 2)]:
            apart = flat[i] - flat[j]
            apart = xr.DataArray(apart[np.isfinite(apart).all(axis=1)], dims=("seed", dim))
            paired = analysis.quantiles(apart, (0.5,))
            found = tab.evaluate(
                f"{curve}.x.map((_, k) => curveDifference({curve}, said.cells[{i}], said.cells[{j}], k))"
            )
            assert {one["n"] for one in found} == {apart.sizes["seed"]} and apart.sizes["seed"] > 0
            for place, name in enumerate(("value", "low", "high")):
                stored = paired[name].isel(quantile=0).values
                np.testing.assert_array_equal([one["interval"][place] for one in found], stored)
    width = tab.evaluate("said.cells.map((c) => curveSpread(said.curves.pruning, c, null)[1][0])")
    expected = analysis.quantiles(pruned["minimal_width"], (0.5,), counted)["value"].values.ravel()
    np.testing.assert_array_equal(np.array(width, float), expected)


def test_curves_stand_beside_those_of_another_cell(opened):
    tab = opened()
    assert tab.locator("#cell [data-part=pruning] .scatterlayer .trace").count() == 3
    assert "minimal width, within 0.001" in tab.text_content("#cell [data-part=pruning-caption]")
    assert "lower bound by projected ascent: 128 inputs" in tab.text_content("#cell [data-part=robustness-caption]")
    tab.click("#cell [data-part=compare]")
    tab.locator("#cells tbody tr").nth(5).click()
    assert tab.locator("#cell [data-part=robustness] .scatterlayer .trace").count() == 6
    assert "minus the other, at ε = 1: " in tab.text_content("#cell [data-part=robustness-caption]")
    tab.click("#cell [data-part=pruning-numbers] summary")
    assert column(tab, "kept", "#cell [data-part=pruning-table]") == ["0", "1", "2", "3", "4"]
    assert set(column(tab, "pairs", "#cell [data-part=pruning-table]")) == {"4"} and tab.said == []
    assert not tab.locator("#transfer").is_visible() and not tab.locator("#cell [data-part=gains]").is_visible()


def test_what_is_not_pruned_or_attacked_is_said(ds, monkeypatch):
    def pruned(data, without=""):
        return uses.said_of_uses(data, None, without)["curves"]["pruning"]

    assert pruned(ds, "later") == {"none": "later"}
    assert "store_weights" in pruned(ds.drop_vars(["a", "W"]))["none"]
    monkeypatch.setattr(uses, "MOST_PRUNED", 12)
    assert pruned(ds)["seeds"] == 2
    monkeypatch.setattr(uses, "MOST_CELLS", 5)
    assert "more than 5 cells" in pruned(ds)["none"]


def test_names_with_markup_do_nothing(opened):
    tab = opened()
    said = tab.evaluate("[[NaN, -Infinity, Infinity], [null, 0, '∞'], [NaN, 1745, '∞'], [0, 0, 0.5]].map(interval)")
    assert said == ["–", "–", "– [1745, ∞]", "0 [0, 0.5]"]  # of nobody an interval says nothing
    assert "window.pwned" in tab.text_content("#question")
    tab.locator("#cells tbody tr").nth(2).click()
    tab.hover("#map")
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("img").count() == 0 and tab.locator("#map script, main script").count() == 0


def column(tab, name, table="#cells"):
    """The texts of a table's column."""
    names = [th.strip(" ▲▼") for th in tab.locator(f"{table} thead th").all_text_contents()]
    return tab.locator(f"{table} tbody tr > :nth-child({names.index(name) + 1})").all_text_contents()


def test_tables_by_keyboard_sorted_filtered_and_saved(opened, ds):
    tab = opened()
    tab.locator("#cells thead th button", has_text="share").first.focus()
    tab.keyboard.press("Enter")
    shares = [float(text.split()[0]) for text in column(tab, "share")]
    assert shares == sorted(shares)
    tab.keyboard.press("Enter")
    assert [float(text.split()[0]) for text in column(tab, "share")] == sorted(shares, reverse=True)
    row = tab.locator("#cells tbody tr").nth(4)
    row.focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert row.get_attribute("aria-selected") == "true"

    tab.fill("#cells input[type=search]", "weight_decay>0 separation!=0.8")
    assert column(tab, "separation") == [*sorted({"0.4", "1.2"}, key=column(tab, "separation").index)]
    with tab.expect_download() as saved:
        tab.locator("#cells button", has_text="CSV").click()
    assert saved.value.suggested_filename == "small-cells.csv"
    frame = pd.read_csv(saved.value.path()).set_index("separation")
    expected = analysis.phase(ds, "separation", None, "loss", 0.02, {"weight_decay": 0.05})
    assert set(frame["measure"]) == {"loss"} and set(frame["below"]) == {0.02} and set(frame.index) == {0.4, 1.2}
    for name, own in [("share", "share"), ("low", "share_low"), ("high", "share_high")]:
        np.testing.assert_allclose(frame[own], expected[name].sel(separation=frame.index), rtol=1e-14)
    median = analysis.order_parameter(ds, "separation", None, "risk", at={"weight_decay": 0.05})
    np.testing.assert_array_equal(frame["median_risk"], median["value"].sel(separation=frame.index))
    tab.fill("#cells input[type=search]", "no such word")
    assert tab.locator("#cells tbody tr").count() == 0 and "0 of 6 rows" in tab.text_content("#cells")

    # The first column stays while the others move, and what is hidden is said.
    tab.fill("#cells input[type=search]", "")
    assert "more columns to the right" in tab.text_content("#cells .hint")
    left = tab.evaluate("document.querySelector('#cells tbody th').getBoundingClientRect().left")
    tab.evaluate("document.querySelector('#cells .scroll').scrollLeft = 1e6")
    until(tab, "document.querySelector('#cells .hint').textContent.includes('to the left')")
    assert tab.evaluate("document.querySelector('#cells tbody th').getBoundingClientRect().left") == left
    tab.click("#copy")
    until(tab, "document.getElementById('copied').textContent === 'copied'")
    assert tab.said == []


def test_measure_threshold_and_axes_are_chosen(opened, ds):
    tab = opened()
    tab.select_option("#measure", "max_angle")
    assert tab.input_value("#below") == "0.02" and "max_angle < 0.02 rad" in tab.text_content("#map-caption")
    tab.fill("#below", "1.1")
    tab.keyboard.press("Enter")
    expected = analysis.share(analysis.below(ds, "max_angle", 1.1))["share"].values.ravel()
    assert 0 < expected.mean() < 1
    assert [float(text.split()[0]) for text in column(tab, "share")] == [float(f"{v:.4g}") for v in expected]
    tab.fill("#below", "-1")
    tab.keyboard.press("Enter")
    assert "give a positive number" in tab.text_content("#note") and "< 1.1 rad" in tab.text_content("#map-caption")

    # Axes change places; one alone is a curve through the chosen cell, and the other a slider.
    tab.select_option("#x", "separation")
    assert tab.input_value("#y") == "weight_decay"
    tab.select_option("#y", "")
    slider = tab.locator("#sliders input")
    slider.focus()
    tab.keyboard.press("End")
    until(tab, "document.querySelector('#cell h2').textContent.startsWith('weight_decay = 0.05')")
    assert tab.text_content("#sliders output") == "0.05"
    drawn = tab.evaluate("document.getElementById('map').data[0].y")
    np.testing.assert_allclose(drawn, expected.reshape(2, 3)[1])
    tab.focus("#map")
    before = tab.text_content("#cell h2")
    tab.keyboard.press("ArrowLeft" if "1.2" in before else "ArrowRight")
    assert tab.text_content("#cell h2") != before and tab.said == []


def test_a_link_shows_the_same_again(opened):
    tab = opened()
    tab.select_option("#measure", "max_angle")
    tab.fill("#below", "1.1")
    tab.keyboard.press("Enter")
    tab.locator("#cells tbody tr").nth(3).click()
    tab.click("#cell [data-part=compare]")
    tab.locator("#cells tbody tr").nth(5).click()
    tab.select_option("#cell [data-part=seed]", "2")
    assert tab.locator("#beside").is_visible() and "this cell minus the other" in tab.text_content("#cell")
    fragment = tab.evaluate("location.hash")
    heads = tab.locator("#cell h2, #beside h2").all_text_contents()
    assert heads == ["weight_decay = 0.05, separation = 1.2", "weight_decay = 0.05, separation = 0.4"]

    again = opened(fragment=fragment)
    assert again.locator("#cell h2, #beside h2").all_text_contents() == heads
    assert again.evaluate("fragment()") == fragment and again.input_value("#below") == "1.1"
    assert "seed 2:" in again.text_content("#cell [data-part=neurons-caption]")
    assert again.locator("#cell [data-part=members] tr[aria-selected=true] th").text_content() == "2"
    again.click("#beside [data-part=compare]")
    assert again.locator("#beside").is_hidden()

    # Another fragment in the same page, of which it holds a part.
    again.evaluate("location.hash = '#measure=colour&cell.separation=7&below=0.1'")
    until(again, "document.getElementById('note').textContent")
    assert "asks for measure = colour and the cell" in again.text_content("#note")
    assert again.input_value("#below") == "0.1" and again.input_value("#measure") == "max_angle"
    assert tab.said == again.said == []


def test_phone_and_dark(opened):
    tab = opened(viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before and tab.said == []
    # On paper nothing scrolls, and what was dark is light.
    tab.emulate_media(media="print")
    tab.evaluate("setTheme('dark'); window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    assert tab.evaluate("getComputedStyle(document.querySelector('#cells .scroll')).overflow") == "visible"
    assert not tab.locator("#copy").is_visible()
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark" and tab.said == []
