"""Tables of commands: no number is cut at 80 columns, and JSON and CSV hold every digit of the same rows."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console
from typer.testing import CliRunner

import analysis
import ensemble as ens
from analysis.__main__ import app
from ensemble.console import console
from ensemble.tables import Column, Form, json_rows, label, print_table, tell
from tests.studies import small, written

AWKWARD = 0.812345678901
REFINE = ["--x", "weight_decay", "--y", "separation", "--measure", "loss", "--below", "0.02", "--budget", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run directory, its study file, and a file of the same members with losses and gradients of many magnitudes."""
    folder = tmp_path_factory.mktemp("tables")
    study = small(seeds=6, axes={"weight_decay": [0.0, 0.05], "separation": [0.4, AWKWARD, 1.2]})
    written(study, folder / "small.toml")
    ds = ens.run(study, folder / "run").load()
    ds.to_netcdf(folder / "same.nc")
    scale = 10.0 ** -np.arange(0, 36, 2).reshape(2, 3, 3).repeat(2, axis=-1)
    awkward = ds.copy(deep=True)
    awkward["loss"] = ds["loss"].copy(data=ds["loss"].values * scale * 1.234567890123)
    awkward["stop_step"].values[0] = 1_234_567_890
    awkward["step"].values[-1] = 2_000_000_000
    awkward.to_netcdf(folder / "awkward.nc")
    return folder


COMPUTED: dict = {}


@pytest.fixture(autouse=True)
def computed_once(monkeypatch):
    """What takes seconds is computed once for all forms of its table."""

    def once(name, real):
        def call(ds, **more):
            key = (name, tuple(ds.sizes.items()))
            if key not in COMPUTED:
                COMPUTED[key] = real(ds.load(), **more).load()
            return COMPUTED[key]

        return call

    for name in ("scaling", "certificates", "families"):
        monkeypatch.setattr(analysis, name, once(name, getattr(analysis, name)))


def threshold(out: Path) -> list[str]:
    return ["--x", "weight_decay", "--y", "separation", "--measure", "loss", "--below", "1e-3", "--out", str(out)]


def arguments(name: str, folder: Path, out: Path) -> list[str]:
    """A command that says a table."""
    awkward = str(folder / "awkward.nc")
    return {
        "summary": ["summary", awkward],
        "minima": ["minima", awkward],
        "families": ["families", awkward, "--at", "weight_decay=0,0.05", "--at", f"separation={AWKWARD}"],
        "survival": ["survival", awkward, "--measure", "loss", "--below", "1e-3"],
        "escape": ["escape", awkward, "--plateau", "0.05"],
        "curve": ["curve", awkward, "--along", "separation"],
        "certificate": ["certificate", awkward],
        "scaling": ["scaling", awkward, "--at", "weight_decay=0.05", "--at", "separation=0.4,1.2"],
        "rates": ["rates", awkward, "--after", "3"],
        "difference": ["difference", awkward, str(folder / "same.nc"), *threshold(out / "d.png")],
        "status": ["status", str(folder / "run")],
        "show": ["show", str(folder / "small.toml")],
        "refine": ["refine", str(folder / "small.toml"), "--out", str(out / "refined"), *REFINE],
    }[name]


TABLES = [
    "summary",
    "minima",
    "families",
    "survival",
    "escape",
    "curve",
    "certificate",
    "scaling",
    "rates",
    "difference",
    "status",
    "show",
    "refine",
]


def said(arguments: list[str]) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output + str(done.exception)
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def cells_of(text: str) -> set[str]:
    """The texts of a table's cells, rows of numbers alone."""
    rows = [line for line in text.splitlines() if line.startswith("│")]
    return {cell.strip() for row in rows for cell in row.strip("│").split("│")}


@pytest.mark.parametrize("name", [*TABLES, "refine"])
def test_no_number_is_cut_at_80_columns(folder, tmp_path, monkeypatch, name):
    wide = said(arguments(name, folder, tmp_path))
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", 80)
    narrow = said(arguments(name, folder, tmp_path))
    lines = [line for line in narrow.splitlines() if line[:1] in "┏┃┡│├└"]
    assert lines and max(map(len, lines)) <= 80 and "…" not in narrow
    assert cells_of(wide) and cells_of(wide) <= cells_of(narrow)


def test_awkward_numbers_are_whole(folder):
    cells = cells_of(said(["summary", str(folder / "awkward.nc")]))
    losses = np.sort(ens.open_dataset(folder / "awkward.nc")["loss"].values[1, 2])
    assert losses[0] < 1e-33, "the smallest are far below all others"
    # The median of six is the third, and its 95% interval runs from the first to the last.
    assert f"{losses[2]:.2g} [{losses[0]:.2g}, {losses[5]:.2g}]" in cells and str(AWKWARD) in cells


@pytest.mark.parametrize("name", [name for name in TABLES if name != "minima"])
def test_json_and_csv_hold_the_same_rows(folder, tmp_path, name):
    as_json = json.loads(said([*arguments(name, folder, tmp_path), "--json"]))
    as_csv = list(csv.DictReader(io.StringIO(said([*arguments(name, folder, tmp_path), "--csv"]))))
    assert as_json["rows"] and len(as_json["rows"]) == len(as_csv)
    for row, texts in zip(as_json["rows"], as_csv, strict=True):
        assert list(row) == list(texts)
        for column, value in row.items():
            text = texts[column]
            if isinstance(value, float):
                assert float(text) == value, "a digit was lost"
            else:
                assert text == ("" if value is None else str(value))


def test_numbers_of_json_are_those_of_the_analysis(folder):
    ds = ens.open_dataset(folder / "awkward.nc")
    rows = json.loads(said(["summary", str(folder / "awkward.nc"), "--json"]))["rows"]
    own = analysis.summary(ds)
    for row in rows:
        at = {name: row[name] for name in ("weight_decay", "separation")}
        assert row["loss[0.5]"] == float(own["loss"].sel(at | {"quantile": 0.5}))
        assert row["status_share_high[diverged]"] == float(own["status_share_high"].sel(at | {"outcome": "diverged"}))
    assert {row["separation"] for row in rows} == {0.4, AWKWARD, 1.2}


def test_one_form_at_a_time(folder):
    done = CliRunner().invoke(app, ["summary", str(folder / "same.nc"), "--json", "--csv"])
    assert done.exit_code == 2 and "take one of them" in done.stderr


def test_a_table_of_pandas_has_a_row_a_cell_and_writes_latex():
    cells = {"x": [0.1, 1e-12], "y": ["a", "b"], "quantile": [0.1, 0.5]}
    values = np.arange(8.0).reshape(2, 2, 2) * 1.3e-12
    result = xr.Dataset({"loss": (("x", "y", "quantile"), values), "n": (("y", "x"), [[1, 2], [3, 4]])}, coords=cells)
    frame = analysis.table(result)
    assert list(frame.columns) == ["loss[0.1]", "loss[0.5]", "n"] and frame.index.names == ["x", "y"]
    assert frame.loc[(1e-12, "a"), "loss[0.5]"] == 5 * 1.3e-12 and frame.loc[(1e-12, "a"), "n"] == 2
    latex = frame.to_latex(float_format="%.3g", escape=True)
    assert r"\begin{tabular}" in latex and "6.5e-12" in latex
    by = analysis.table(result, by="quantile")
    assert by.loc[(0.1, "b", 0.5), "loss"] == 3 * 1.3e-12 and by.loc[(0.1, "b", 0.1), "n"] == 3
    assert len(analysis.table(result.isel(x=0, y=0, drop=True))) == 1
    with pytest.raises(ValueError, match="by: got 'seed'; the result's dimensions are x, y, quantile"):
        analysis.table(result, by="seed")


def test_infinities_and_gaps_have_a_form_everywhere(capsys):
    frame = pd.DataFrame({"t": [np.inf, np.nan], "t_low": [-np.inf, 1.0], "t_high": [np.inf, 2.0]})
    print_table(frame, [Column("time", "t", "{:.0f}", True)], Console())
    assert "∞ [−∞, ∞]" in (text := capsys.readouterr().out) and "— [1, 2]" in text
    first, second = json_rows(frame)
    assert first == {"t": "inf", "t_low": "-inf", "t_high": "inf"} and second == {
        "t": None,
        "t_low": 1.0,
        "t_high": 2.0,
    }
    assert float(first["t"]) == np.inf, "the text reads back"
    tell(frame, [], Form.csv, {}, Console())
    assert capsys.readouterr().out.splitlines()[1:] == ["inf,-inf,inf", ",1.0,2.0"]


def test_labels_keep_all_their_digits():
    assert [label(v) for v in (0.5, 2.0, AWKWARD, 1.3e-12, 7, "a", True)] == [
        "0.5", "2", "0.812345678901", "1.3e-12", "7", "a", "True"
    ]  # fmt: skip


def test_a_label_wider_than_the_terminal_is_not_cut(capsys):
    frame = pd.DataFrame({"n": [1.0, 2.0]}, index=pd.Index(["x" * 100, "y"], name="kind"))
    print_table(frame, [Column("n", "n")], Console(width=80, force_terminal=True, color_system=None))
    assert "x" * 100 in capsys.readouterr().out
