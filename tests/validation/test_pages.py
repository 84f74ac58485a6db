"""Pages of shipped studies of every kind, cut to a few cells and steps: they open, and count what is there."""

import shutil

import numpy as np
import pytest

import analysis
import ensemble as ens
from analysis.report import write_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KINDS = ("deep_linear", "lazy_rich", "samples", "transfer")


def cut(name: str) -> ens.Study:
    """Three values of every axis, two seeds, 40 steps."""
    study = ens.Study.from_toml(f"studies/{name}.toml")
    kept = {key: list(axis.values)[:: max(1, (len(axis.values) - 1) // 2)][:3] for key, axis in study.axes.items()}
    return study.only(**kept).replace(seeds=2, max_steps=40)


@pytest.mark.parametrize("name", KINDS)
def test_a_page_of_every_kind_opens_and_counts(name, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: `make browser` installs Debian's")
    from playwright.sync_api import sync_playwright

    ds = ens.run(cut(name))
    write_page(ds, tmp_path / "page.html")
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = running.new_context(offline=True).new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"file://{tmp_path}/page.html")
        tab.wait_for_selector("html[data-ready=yes]")
        threshold = float(tab.evaluate("thresholdOf('loss')"))
        found = np.array(tab.evaluate("said.cells.map((c) => shareOf(c, 'loss', thresholdOf('loss')).interval[0])"))
        counted = analysis.share(analysis.below(ds, "loss", threshold), among=analysis.finished(ds))
        np.testing.assert_array_equal(found, counted["share"].values.ravel())
        if name == "deep_linear":
            # A layer that a network lacks is stored as 0, which is below everything: nobody is counted.
            depths = np.repeat(ds["depth"].values, ds.sizes["start"] if ds["status"].dims[0] == "depth" else 1)
            counts = tab.evaluate("said.cells.map((c) => shareOf(c, 'layer_effective_rank[layer=3]', 1e9).n)")
            np.testing.assert_array_equal(counts, np.where(depths > 3, 2, 0))
        running.close()
    assert said == []
