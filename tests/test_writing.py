"""Files of the analysis: whole or not at all, and in the place of nothing but what was written by it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ensemble as ens
from analysis.__main__ import app
from analysis.writing import replace
from tests.studies import small

AXES = ["--x", "weight_decay", "--y", "separation", "--measure", "loss", "--below", "0.02"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("writing") / "run"
    ens.run(small(seeds=2), out)
    return out


def writers(run: Path, folder: Path) -> dict[str, tuple[list[str], list[Path]]]:
    """Command → its arguments and the files that it writes."""
    picture = ["--out", str(folder / "x.png")]
    return {
        "phase": (["phase", str(run), *AXES, *picture], [folder / "x.png", folder / "x.nc"]),
        "difference": (["difference", str(run), str(run), *AXES, *picture], [folder / "x.png"]),
        "survival": (
            ["survival", str(run), "--measure", "loss", "--below", "0.02", "--at", "separation=0.4", *picture],
            [folder / "x.png"],
        ),
        "picture": (["picture", "order", str(run), *AXES[:6], *picture], [folder / "x.png"]),
        "report": (["report", str(run), "--measure", "loss", "--out", str(folder / "x.html")], [folder / "x.html"]),
    }


@pytest.mark.parametrize("name", ["phase", "difference", "survival", "picture", "report"])
def test_only_own_files_are_replaced_without_being_asked(run, tmp_path, name):
    arguments, files = writers(run, tmp_path)[name]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    for file in files:
        file.write_bytes(b"my own words")
        refused = CliRunner().invoke(app, arguments)
        assert refused.exit_code == 2 and f"--out: got {file}, which is there" in refused.stderr
        assert "replace it with --overwrite" in refused.stderr
        assert file.read_bytes() == b"my own words"
        asked = CliRunner().invoke(app, [*arguments, "--overwrite"])
        assert asked.exit_code == 0 and file.read_bytes() != b"my own words"
    assert {p.name for p in tmp_path.iterdir()} == {f.name for f in files}, "a temporary file was left"


@pytest.mark.parametrize("place", ["manifest.json", "shards/000000.png", "shards/mine.html"])
def test_a_run_directory_keeps_its_own_files(run, place):
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for arguments in (["report", str(run), "--measure", "loss"], ["phase", str(run), *AXES]):
        done = CliRunner().invoke(app, [*arguments, "--out", str(run / place), "--overwrite"])
        assert done.exit_code == 2 and "which a run directory keeps for itself" in done.stderr
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_what_is_no_plain_file_is_refused(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.html")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "device.html").symlink_to("/dev/null")
    for name in ("pipe.html", "folder.html", "device.html"):
        done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / name), "--overwrite"])
        assert done.exit_code == 2 and "is no plain file" in done.stderr


def test_what_fails_leaves_what_was_there(tmp_path):
    file = tmp_path / "x.html"
    file.write_text("gd-atlas page")

    def fails(temporary: Path) -> None:
        temporary.write_text("half a p")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        replace(file, "page", fails)
    assert file.read_text() == "gd-atlas page" and list(tmp_path.iterdir()) == [file]


def test_every_format_knows_its_own_files(run, tmp_path):
    for ending in ("pdf", "svg", "eps"):
        call = ["picture", "order", str(run), *AXES[:6], "--out", str(tmp_path / f"x.{ending}")]
        assert [CliRunner().invoke(app, call).exit_code for _ in range(2)] == [0, 0], ending


def test_a_disk_without_room_ends_in_messages_and_no_file(run, tmp_path):
    calls = [writers(run, tmp_path)[name][0] for name in ("phase", "report")]
    # A limit on the size of files says what a full disk says, and needs no disk.
    script = (
        "import resource; from typer.testing import CliRunner; from analysis.__main__ import app\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"for call in {calls!r}:\n"
        "    done = CliRunner().invoke(app, call)\n"
        "    print(done.exit_code, type(done.exception).__name__, done.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.count("2 SystemExit error: ") == 2, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_ending_that_is_no_format_is_named_as_it_was_given(run, tmp_path):
    done = CliRunner().invoke(app, ["picture", "order", str(run), *AXES[:6], "--out", str(tmp_path / "x.foo")])
    assert done.exit_code == 2 and "got 'x.foo'" in done.stderr and not list(tmp_path.iterdir())
