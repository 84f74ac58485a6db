"""The server of pages: on the loopback address, inside the folders it was given, and without a written byte."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ensemble as ens
from analysis.__main__ import app
from analysis.report.runs import State
from analysis.report.serving import Server
from tests.studies import tiny

QUESTION = "is <b>5 > 3</b> & so on?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two runs, one of them unfinished; beside them a hidden one, and a link to one that lies elsewhere."""
    top = tmp_path_factory.mktemp("serve")
    inside = top / "runs"
    ens.run(tiny(question=QUESTION), inside / "whole")
    shutil.copytree(inside / "whole", inside / "deep" / "left over")
    for shard in (inside / "deep" / "left over" / "shards").iterdir():
        shard.unlink()
    shutil.copytree(inside / "whole", inside / ".hidden" / "run")
    shutil.copytree(inside / "whole", top / "elsewhere")
    (inside / "link").symlink_to(top / "elsewhere")
    (inside / "broken").mkdir()
    (inside / "broken" / "manifest.json").write_text("{")
    return inside


@pytest.fixture(scope="module")
def server(folder):
    with Server([folder], 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asked(server: Server, way: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(server.address + way, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def content_of(page: str, name: str = "content") -> dict:
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', page, flags=re.S)
    assert found is not None
    return json.loads(found[1])


def state_of_files(folder: Path) -> dict[Path, tuple]:
    return {p: (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in folder.parent.rglob("*")}


def test_the_index_says_what_each_run_asks_and_how_far_it_is(server, folder):
    code, page = asked(server, "")
    assert code == 200 and "3 runs under" in page
    cards = re.findall(r"<article>.*?</article>", page, flags=re.S)
    broken, left, whole = cards
    assert "is &lt;b&gt;5 &gt; 3&lt;/b&gt; &amp; so on?" in whole and "<b>" not in page
    assert 'href="/run/0/whole"' in whole and 'value="1.0000"' in whole and "complete" in whole
    assert 'href="/run/0/deep/left%20over"' in left and 'value="0.0000"' in left and "0 of 6 members" in left
    assert "manifest.json" in broken and "href" not in broken
    code, picture = asked(server, "picture/0/whole")
    assert code == 200 and picture.startswith("<svg") and picture.count("<rect") == 1 + 3
    assert asked(server, "picture/0/deep/left%20over")[1].count("<rect") == 1


def test_a_run_says_how_much_of_its_work_is_done():
    going = State("a", "", "running (host here)", 0, 6, True, False, 0.374)
    assert going.line == "0 of 6 members are finished, about 37% of the work is done; running (host here)"


def test_a_page_is_made_on_request_and_completed_by_itself(server):
    code, page = asked(server, "run/0/whole")
    said, live = content_of(page), content_of(page, "live")
    assert code == 200 and said["opening"]["measure"] == "max_angle" and len(said["cells"]) == 3
    until = time.monotonic() + 60
    while not (state := json.loads(asked(server, live["state"].lstrip("/"))[1]))["done"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert state["line"] == "6 of 6 members are finished; complete" and state["stamp"] != live["stamp"]
    fresh = json.loads(asked(server, live["content"].lstrip("/"))[1])
    assert fresh["stamp"] == state["stamp"] and fresh["content"]["measures"] == said["measures"]
    assert asked(server, "run/0/whole", "HEAD") == (200, "")


def test_a_page_follows_a_run_that_goes_on(server, folder):
    ens.run(tiny(), folder / "going")
    code, page = asked(server, "run/0/going")
    live = content_of(page, "live")
    assert code == 200 and content_of(page)["seeds"] == [0, 1]
    ens.run(tiny(seeds=3), folder / "going")
    assert not json.loads(asked(server, live["state"].lstrip("/"))[1])["stamp"].startswith(live["stamp"])
    fresh = json.loads(asked(server, live["content"].lstrip("/"))[1])
    assert fresh["content"]["seeds"] == [0, 1, 2]
    shutil.rmtree(folder / "going")
    assert asked(server, "run/0/going")[0] == 404


@pytest.mark.parametrize(
    "way",
    [
        "run/0/link",
        "run/0/.hidden/run",
        "run/0/../elsewhere",
        "run/0/%2e%2e/elsewhere",
        "run/0/whole/../../elsewhere",
        "run/0/whole/manifest.json",
        "run//etc/passwd",
        "run/1/whole",
        "run/0",
        "etc/passwd",
        "shards/0/whole",
        "picture/0/link",
        "content/0/..%2felsewhere",
    ],
)
def test_nothing_outside_the_folders_is_read(server, way):
    code, said = asked(server, way)
    assert code == 404 and said.startswith("there is no such run")


def test_others_are_refused_and_trouble_is_a_sentence(server):
    assert server.server_address[0] == "127.0.0.1"
    code, said = asked(server, "", Host="evil.example")
    assert code == 403 and "its own address alone" in said
    assert asked(server, "", "POST")[0] == 501 and asked(server, "run/0/whole", "DELETE")[0] == 501
    code, said = asked(server, "run/0/broken")
    assert code == 503 and "manifest.json" in said and "Traceback" not in said


def test_no_file_is_changed(server, folder):
    before = state_of_files(folder)
    for way in ("", "run/0/whole", "state/0/whole", "content/0/whole", "picture/0/whole", "run/0/deep/left%20over"):
        assert asked(server, way)[0] == 200
    assert state_of_files(folder) == before


def test_a_run_directory_itself_is_served(folder):
    with Server([folder / "whole", folder], 0) as made:
        assert list(made.runs.found()) == ["0", "1/broken", "1/deep/left over", "1/whole"]


def test_a_port_that_is_taken_and_a_folder_that_is_none_are_said(server, folder):
    done = CliRunner().invoke(app, ["serve", str(folder), "--port", str(server.server_port)])
    assert done.exit_code == 2
    assert f"--port: got {server.server_port}, which another program listens on; take another one" in done.stderr
    done = CliRunner().invoke(app, ["serve", str(folder / "nowhere")])
    assert done.exit_code == 2 and "nowhere, which is no folder" in done.stderr


def test_ctrl_c_ends_it_in_a_sentence(folder):
    call = [sys.executable, "-m", "analysis", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address is not None and line.startswith("3 runs: ")
        with urllib.request.urlopen(address[0], timeout=60) as answer:
            assert answer.status == 200
        running.send_signal(signal.SIGINT)
        out, error = running.communicate(timeout=60)
    assert running.returncode == 0 and error == "" and out == "ended; runs that were looked at go on without it\n"
