"""What the program computes is what it computed when the golden files were made, bit for bit (tests/golden).

Bits hold for the versions and the kind of processor that `machine.json` records. On others every value must agree to
the tolerance that `values.TOLERANCES` explains, which is tested here on what two engines computed.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import ensemble as ens
from ensemble.probes import ALWAYS
from tests.golden.cases import BOTH, groups, run_with
from tests.golden.values import (
    FOLDER,
    TOLERANCES,
    differences,
    machine,
    options,
    read,
    recorded_machine,
    recorded_options,
)

GROUPS = groups(slow=False)
LONG = tuple(f"reference_{make.__name__.strip('_')}" for make in BOTH)
"""What the other engine made of studies that both run: `make validate` has them."""
CASES = [(group, name) for group, cases in GROUPS.items() if group not in LONG for name in cases]
SAME_MACHINE = machine() == recorded_machine()


def found_and_recorded(group: str, name: str, same_machine: bool = SAME_MACHINE) -> list[str]:
    """How a case differs now from what is recorded of it; for `make validate`, too."""
    study, engine = groups()[group][name]
    ds = run_with(study, engine)
    assert ds.attrs["engine"] == {"reference": "xla"}.get(engine, engine)
    return differences(read(group)[name], ds, None if same_machine else TOLERANCES[study.precision])


@pytest.mark.parametrize(("group", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_results_are_those_recorded(group, name):
    different = found_and_recorded(group, name)
    assert not different, "\n".join([f"{group}/{name}, {'bits' if SAME_MACHINE else 'rounding'}:", *different])


def test_programs_are_compiled_as_recorded():
    """Other machines compare to rounding, and would not see what an option of XLA did to the bits of this kind.

    Where options are to change: on a machine of the kind that `machine.json` names, all cases keep their bits, and
    `options.json` is written by hand; or all are made anew, and the commit says why.
    """
    if machine()["jax"] != recorded_machine()["jax"]:
        pytest.skip(f"jax {machine()['jax']}, whose XLA may know other options than that of the recorded one")
    assert options() == recorded_options()


def test_every_file_is_tested_and_every_case_is_in_a_file():
    stored = {path.stem: set(read(path.stem)) for path in FOLDER.glob("*.npz")}
    assert stored == {group: set(cases) for group, cases in groups().items()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1.5e6


@pytest.mark.parametrize("name", ["W", "loss_history", "max_angle_stage"])
def test_a_change_of_the_last_bit_is_caught(name):
    expected = read("simd_parts")["starts_and_teachers"]
    assert differences(expected, dict(expected), None) == []
    changed = expected[name].copy()
    place = np.unravel_index(changed.size // 2, changed.shape)
    changed[place] = np.nextafter(changed[place], np.inf)
    (line,) = differences(expected, {**expected, name: changed}, None)
    assert line.startswith(f"{name}: 1 of {changed.size} values differ")


def test_what_is_missing_or_of_another_kind_is_caught_and_what_is_new_is_not():
    expected = read("simd_protocols")["protocols"]
    assert differences(expected, {**expected, "new": np.zeros(3)}, None) == []
    without = {n: v for n, v in expected.items() if n != "risk_stage"}
    assert differences(expected, without, None) == ["risk_stage: is missing"]
    assert "got float32" in differences(expected, {**expected, "W": expected["W"].astype(np.float32)}, None)[0]
    known = dict(expected, loss_stage=np.nan_to_num(expected["loss_stage"]))
    assert np.isnan(expected["loss_stage"]).any() and differences(expected, known, 1e-3)


@pytest.mark.parametrize("group", [group.removeprefix("simd_") for group in groups() if group.startswith("simd_")])
def test_rounding_is_a_tenth_of_what_another_machine_is_allowed(group):
    """Two engines sum in different orders: what they differ by is the amplified rounding of these very studies."""
    for name, expected in read(f"reference_{group}").items():
        assert differences(expected, read(f"simd_{group}")[name], TOLERANCES["float64"] / 10) == []


def test_another_machine_is_allowed_rounding_and_nothing_else():
    expected = read("reference_protocols")["protocols"]
    tolerance = TOLERANCES["float64"]
    for name, change in (("W", 2e-9), ("stop_step", 1), ("status", 1), ("loss_stage", 1e-8)):
        changed = expected[name] + expected[name].dtype.type(change)
        assert [line.split(":")[0] for line in differences(expected, {**expected, name: changed}, tolerance)] == [name]


# -- directories of layout 1 ------------------------------------------------------------------------


@pytest.fixture
def directory(request, tmp_path) -> Path:
    """A copy of one of the stored run directories, which a run may write to."""
    return shutil.copytree(Path(__file__).parent / "golden" / request.param, tmp_path / request.param)


def stored_study(path: Path) -> ens.Study:
    with ens.open_dataset(path) as ds:
        return ens.Study.from_json(ds.attrs["study"])


def arrays(ds) -> dict[str, np.ndarray]:
    return {str(name): variable.values for name, variable in ds.data_vars.items()}


@pytest.mark.parametrize("directory", ["directory"], indirect=True)
def test_a_stored_directory_opens_and_extends(directory):
    study = stored_study(directory)
    tolerance = None if SAME_MACHINE else TOLERANCES["float64"]
    shards = {path.name for path in (directory / "shards").iterdir()}
    before = run_with(study, "simd")
    with ens.open_dataset(directory) as ds:
        assert ds.attrs["complete"] == 1 and ds.attrs["engine"] == "simd"
        assert differences(arrays(ds.load()), before, tolerance) == []
    more = study.replace(seeds=3)
    ds = run_with(more, "simd", out=directory)
    assert shards < {path.name for path in (directory / "shards").iterdir()}
    assert differences(arrays(ds), run_with(more, "simd"), tolerance) == []


@pytest.mark.parametrize("directory", ["interrupted"], indirect=True)
def test_a_stored_directory_of_an_interrupted_run_goes_on(directory):
    study = stored_study(directory)
    kept = [path.name.split("-")[0] for path in (directory / "partial").iterdir()]
    assert {"flights", "000000"} <= set(kept) and list((directory / "shards").iterdir())
    with ens.open_dataset(directory) as ds:
        assert ds.attrs["complete"] == 0
    said = []
    ds = run_with(study, "simd", out=directory, say=said.append)
    assert any("members go on from where they were" in line for line in said)
    expected = run_with(study, "simd")
    assert differences(arrays(ds.load()), expected, None if SAME_MACHINE else TOLERANCES["float64"]) == []
    # What the version that began it did not store, it does not have: λ and η.
    assert {str(name).removesuffix("_stage").removesuffix("_history") for name in set(expected) - set(ds)} == set(
        ALWAYS
    )
    # Members in flight went on, so no step was taken twice.
    assert ds.attrs["member_steps"] == int(expected["stop_step"].sum())
