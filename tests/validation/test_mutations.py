"""Three hundred mutations of a run directory, a shard and a collected file: right values or one clear message.

Never another member's value, never a traceback, never a command that waits for ever. The mutations are drawn with a
fixed seed; every function that opens a directory is asked of each.
"""

import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import analysis.__main__ as analysis_commands
import ensemble as ens
import ensemble.__main__ as commands
from ensemble.launch import reproduce, status
from ensemble.store import directory as directory_module
from ensemble.store import sealed, survey
from ensemble.store.boxes import Box
from tests.helpers import assert_identical
from tests.studies import heavy_tailed, tiny
from tests.test_orders import Stop

MUTATIONS = 300
SECONDS = 60
REFUSED = (ens.StoreError, ens.SchemaError, ens.StudyError, FileNotFoundError)
RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def few_members_a_shard(monkeypatch):
    monkeypatch.setattr(directory_module, "_MOST_MEMBERS", 8)


# -- what a directory can suffer -----------------------------------------------------------------------


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 8])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def lengthen(path: Path, chance: random.Random) -> None:
    with open(path, "ab") as file:
        file.write(chance.randbytes(chance.randrange(1, 200)))


def zeros(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    begin = chance.randrange(len(data))
    data[begin : begin + 64] = bytes(len(data[begin : begin + 64]))
    path.write_bytes(data)


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def link(path: Path, chance: random.Random) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def exchange(path: Path, chance: random.Random) -> None:
    """With another file of the directory: the contents of each under the name of the other."""
    other = chance.choice([p for p in path.parent.iterdir() if p != path] or [path])
    if other != path:
        path.rename(path.with_name("between"))
        other.rename(path)
        path.with_name("between").rename(other)


def renumber(path: Path, chance: random.Random) -> None:
    """A shard under another number; another file under another name."""
    path.rename(path.with_name(f"{chance.randrange(4):06}{path.name[6:]}"))


def twice(path: Path, chance: random.Random) -> None:
    shutil.copy(path, path.with_name(f"{chance.randrange(4):06}{path.name[6:]}"))


def elsewhere(path: Path, chance: random.Random) -> None:
    """A shard among the partial files, or the other way round."""
    root = path.parent.parent if path.parent.name in ("shards", "partial") else path.parent
    if (root / "shards").is_dir():
        path.rename(root / chance.choice(["shards", "partial"]) / path.name)


def text(path: Path, chance: random.Random) -> None:
    path.write_text(chance.choice(["", "{", "[]", "null", "3", '"x"', "{}", '{"layout_version": 1}', "\0"]))


def value(path: Path, chance: random.Random) -> None:
    """Another value somewhere in a JSON file, its checksum as it was."""
    try:
        data = json.loads(path.read_text())
    except ValueError:
        return flip(path, chance)
    place, keys = data, []
    while isinstance(place, dict | list) and place:
        keys.append((place, chance.choice([*place] if isinstance(place, dict) else range(len(place)))))
        place = place[keys[-1][1]]
        if chance.random() < 0.2:
            break
    if keys:
        holder, key = keys[-1]
        others = [None, -1, 0, 1, 2**63, 1e300, "x", [], {}, [[0, 1]], [[[0, 1]], [[0, 2]]], True]
        if chance.random() < 0.3:
            del holder[key]
        else:
            holder[key] = chance.choice(others)
    path.write_text(json.dumps(data))


OF_BYTES = [flip, flip, cut, lengthen, zeros]
OF_FILES = [*OF_BYTES, remove, link, pipe, folder, exchange, renumber, twice, elsewhere, text, value, value, value]


# -- what is asked of it -------------------------------------------------------------------------------


class Hangs(BaseException):
    """Not an Exception: nothing may catch it."""


def within_a_minute(act: Callable) -> object:
    def alarm(*_):
        raise Hangs

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return act()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(act: Callable) -> object:
    """What a call says, or the message with which it refuses."""
    try:
        return within_a_minute(act)
    except REFUSED as error:
        assert str(error) and "\n\n" not in str(error)
        return error


def assert_right(ds: xr.Dataset, whole: xr.Dataset) -> None:
    """Labels, and every value of a finished member; of the others it says that they are not finished."""
    done = (ds["status"] >= 2).values
    for name, expected in whole.variables.items():
        if name in whole.data_vars and expected.dims[: done.ndim] == ds["status"].dims and name != "status":
            np.testing.assert_array_equal(ds[name].values[done], expected.values[done], err_msg=str(name))
        elif name != "status":
            np.testing.assert_array_equal(ds[name].values, expected.values, err_msg=str(name))
    np.testing.assert_array_equal(ds["status"].values[done], whole["status"].values[done])
    if ds.attrs["complete"]:
        assert done.all()


def opened(path: Path, whole: xr.Dataset) -> None:
    with ens.open_dataset(path) as ds:
        assert_right(ds.load(), whole)


def command(app, *arguments: str | Path) -> int:
    """A command line ends with what it was asked for, or with one message."""
    result = within_a_minute(lambda: RUNNER.invoke(app, [str(a) for a in arguments]))
    if isinstance(result.exception, REFUSED):  # `analysis.__main__.main` says it
        return 2
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output
    return result.exit_code


def forget() -> None:
    """As in a new process: what was verified is not known."""
    survey._verified.clear()
    sealed._verified.clear()


def asked(path: Path, study: ens.Study, whole: xr.Dataset, scratch: Path) -> None:
    forget()
    now = answer(lambda: status(path))
    if not isinstance(now, Exception):
        counts = now.counts
        assert counts.sum() == study.members and (counts >= 0).all()
    answer(lambda: opened(path, whole))
    collected = answer(lambda: ens.collect(path, scratch / "one.nc", overwrite=True))
    if not isinstance(collected, Exception):
        opened(scratch / "one.nc", whole)
    labels = {name: str(whole[name].values[0]) for name in (*study.axes, "seed")}
    again = answer(lambda: reproduce(path, labels))
    if not isinstance(again, Exception):
        assert again.different == {}
    command(commands.app, "status", path)
    command(analysis_commands.app, "summary", path)
    forget()
    ds = answer(lambda: ens.run(study, out=path))
    if not isinstance(ds, Exception):
        assert ds.attrs["complete"] == 1
        assert_identical(ds.load(), whole)


# -- the directories ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study() -> ens.Study:
    return heavy_tailed(seeds=12, axes={"step_size": [0.05, 0.2]}, probes=["loss", "max_angle", "active", "grad_norm"])


@pytest.fixture(scope="module")
def whole(study) -> xr.Dataset:
    return ens.run(study)


@pytest.fixture(scope="module")
def halfway(study, tmp_path_factory) -> Path:
    """Some shards, some boxes partly filled, members in flight."""
    path = tmp_path_factory.mktemp("halfway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory_module, "_MOST_MEMBERS", 8)
        first = [Box((np.array([0]), np.arange(6)))]
        ens.run(study, out=path, boxes=first)
        with pytest.raises(KeyboardInterrupt):
            more = [Box((np.array([0]), np.arange(6, 12))), Box((np.array([1]), np.arange(12)))]
            ens.run(study, out=path, boxes=more, on_progress=Stop(20))
    found = directory_module.RunDirectory.open(path).survey()
    assert found.stored and found.partial and found.flights, "interrupt at another moment"
    return path


@pytest.mark.parametrize("part", range(10))
def test_mutations_of_a_directory(part, study, whole, halfway, tmp_path):
    chance = random.Random(part)
    for i in range(MUTATIONS * 2 // 3 // 10):
        path = Path(shutil.copytree(halfway, tmp_path / f"{i}"))
        for _ in range(chance.choice([1, 1, 1, 2])):
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size)
            victim = chance.choice(files)
            mutation = chance.choice(OF_FILES)
            print(part, i, mutation.__name__, victim.name)
            mutation(victim, chance)
        asked(path, study, whole, tmp_path)
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["shard", "collected"])
def test_mutations_of_one_file(kind, tmp_path):
    """Also the page, which is made of a whole dataset."""
    small = tiny(seeds=3)
    whole = ens.run(small, out=tmp_path / "run")
    if kind == "collected":
        good = ens.collect(tmp_path / "run", tmp_path / "good.nc")
    else:
        (good,) = [p for p in (tmp_path / "run" / "shards").iterdir() if p.name.startswith("000000")]
        whole = ens.open_dataset(good).load()
    chance = random.Random(77)
    refused = 0
    for i in range(MUTATIONS // 6):
        victim = Path(shutil.copy(good, tmp_path / f"{i}" / good.name if (tmp_path / f"{i}").mkdir() is None else ""))
        mutation = chance.choice([*OF_BYTES, link, pipe, folder])
        print(i, mutation.__name__)
        mutation(victim, chance)
        forget()
        said = answer(lambda: opened(victim, whole))  # noqa: B023
        refused += isinstance(said, Exception)
        labels = {name: str(whole[name].values[0]) for name in ("weight_decay", "seed")}
        again = answer(lambda: reproduce(victim, labels))  # noqa: B023
        assert isinstance(again, Exception) or again.different == {}
        assert command(commands.app, "reproduce", victim, "--member", "weight_decay=0.0,seed=1") in (0, 2)
        assert command(analysis_commands.app, "summary", victim) in (0, 2)
        if i % 5 == 0:
            assert command(analysis_commands.app, "report", victim, "--out", tmp_path / "page.html") in (0, 2)
    assert refused > MUTATIONS // 12
