"""The page: one file that needs nothing beside it; tested in a headless Chromium where there is one."""

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

import analysis
import ensemble as ens
from analysis.report import page, write_page
from analysis.report.content import content
from tests.studies import small

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"


@pytest.fixture(scope="module")
def ds() -> xr.Dataset:
    # Axes, question and a probe's name carry markup: they come from whoever wrote the study.
    study = small(seeds=4, question=f"what of {EVIL}?")
    axes = {name: axis.model_copy(update={"long_name": f"{name} {EVIL}"}) for name, axis in study.axes.items()}
    return ens.run(study.replace(axes=axes))


def test_content_is_that_of_the_analysis(ds):
    said = content(ds, "loss", 0.02)
    assert (said["x"], said["y"]) == ("weight_decay", "separation") and said["threshold"] == "loss < 0.02"
    assert len(said["cells"]) == 6 and said["steps"] == ds["step"].values.tolist()
    for cell in said["cells"]:
        one = ds.isel(weight_decay=cell["place"][0], separation=cell["place"][1])
        assert cell["share"][0] == float((one["loss"] < 0.02).mean())
        np.testing.assert_allclose(cell["medians"]["loss"][0], np.sort(one["loss"].values)[1], rtol=1e-3)
        assert sum(f["count"] for f in cell["families"]) == 4
        assert len(cell["neurons"]["views"][0]["end"]) == 4
    json.dumps(said, allow_nan=False)


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
    monkeypatch.setattr("analysis.report.content._MOST_FAMILIES", 1)
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
    assert said["cells"][0]["neurons"]["views"]


def test_bad_input_is_refused(ds):
    with pytest.raises(ValueError, match=r"got 'colour'.*it has loss"):
        page(ds, "colour", 1.0)
    with pytest.raises(ValueError, match=r"x: got 'width'.*weight_decay, separation"):
        page(ds, "loss", 1.0, x="width")


def test_small_and_partial_datasets_have_pages(ds):
    assert content(ds.sel(separation=[0.8]), "loss", 0.02)["boundary"] is None
    one_axis = ens.run(small(seeds=2, axes={"weight_decay": [0.0, 0.05]}, max_steps=5, records=0, store_weights=False))
    said = content(one_axis, "loss", 0.02)
    assert said["y"] is None and said["curves"] == [] and "families" not in said["cells"][0]
    partial = ds.copy(deep=True)
    partial["status"].values[0, 0] = ens.STATUS["not_run"]
    for name in partial.data_vars:
        if partial[name].dtype.kind == "f":
            partial[name].values[0, 0] = np.nan
    cell = content(partial, "loss", 0.02)["cells"][0]
    assert cell["seeds"] == 0 and cell["share"] == [None, 0.0, 1.0]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: `make browser` installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, ds, tmp_path):
    def open_page(data=ds, **settings):
        write_page(data, tmp_path / "page.html", "loss", 0.02)
        context = browser.new_context(offline=True, **settings)
        tab = context.new_page()
        tab.said = []
        tab.on("console", lambda message: tab.said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.goto(f"file://{tmp_path}/page.html")
        tab.wait_for_selector("html[data-ready=yes]")
        return tab

    return open_page


def test_a_click_on_a_cell_shows_its_numbers(opened, ds):
    tab = opened()
    assert tab.said == []
    # Where plotly draws the cell λ₀ = 0.05, Δ = 0.4: its first row, second column.
    tab.wait_for_selector("#map .heatmaplayer image")
    box = tab.eval_on_selector("#map .heatmaplayer image", "e => JSON.parse(JSON.stringify(e.getBoundingClientRect()))")
    tab.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.9 * box["height"])
    tab.wait_for_function("document.getElementById('cell-heading').textContent.includes('separation = 0.4')")
    heading = tab.text_content("#cell-heading")
    assert "weight_decay = 0.05" in heading
    one = ds.sel(weight_decay=0.05, separation=0.4)
    share = float((one["loss"] < 0.02).mean())
    low, high = (float(f"{v:.4g}") for v in analysis.wilson(np.array(4 * share), np.array(4)))
    assert f"{share:g} [{low:g}, {high:g}]" in tab.text_content("#numbers")
    assert tab.locator("#families tbody tr").count() >= 1
    assert tab.locator("#trajectory .scatterlayer .trace").count() > 0
    assert tab.locator("tr[aria-selected=true]").count() == 1 and tab.said == []


def test_names_with_markup_do_nothing(opened):
    tab = opened()
    assert "window.pwned" in tab.text_content("#question")
    tab.locator("#cells tbody tr").nth(2).click()
    tab.hover("#map")
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("img").count() == 0 and tab.locator("#map script, main script").count() == 0


def test_keyboard_sorting_and_copying(opened):
    tab = opened()
    first = tab.locator("#cells th button", has_text="share").first
    first.focus()
    tab.keyboard.press("Enter")
    column = [th.strip(" ▲▼") for th in tab.locator("#cells th").all_text_contents()].index("share")

    def shares():
        rows = tab.locator(f"#cells tbody tr td:nth-child({column + 1})").all_text_contents()
        return [float(text.split()[0]) for text in rows]

    assert shares() == sorted(shares())
    tab.keyboard.press("Enter")
    assert shares() == sorted(shares(), reverse=True)
    row = tab.locator("#cells tbody tr").nth(4)
    row.focus()
    tab.keyboard.press("Enter")
    assert row.get_attribute("aria-selected") == "true"
    tab.click("#copy")
    tab.wait_for_function("document.getElementById('copied').textContent === 'copied'")


def test_phone_and_dark(opened):
    tab = opened(viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    before = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != before and tab.said == []
