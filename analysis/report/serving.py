"""A small server for one's own machine: the runs under some folders, while they go. It writes nothing."""

import errno
import json
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import xarray as xr

from ensemble import open_dataset

from ..boundaries.question import kept
from ..members import standard
from .content import content
from .index import index, picture
from .measures import opening
from .page import html_of
from .runs import TROUBLE, Runs, State, stamp_of

HOST = "127.0.0.1"
_KEPT = 8
"""Runs whose content is kept in memory."""
_GOES_ON = "left out while the run goes on"
_SOON = "worked out in the meantime: they appear by themselves"
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Made(NamedTuple):
    """The content of a run's page."""

    stamp: str
    """Of the files that it was made of, and whether it is whole."""
    said: dict[str, Any]


class Server(ThreadingHTTPServer):
    """Answers on the loopback address alone, with what lies under some folders.

    **Arguments:** folders of runs, or run directories; the port, 0 for any that is free.

    **Raises:** `ValueError` for what is no folder, and a port that cannot be had.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], port: int):
        self.runs = Runs(folders)
        self._made: dict[str, Made] = {}
        self._quick, self._long = threading.Lock(), threading.Lock()
        self._busy: set[str] = set()
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            why = {errno.EADDRINUSE: "which another program listens on", errno.EACCES: "which needs more rights"}
            said = why.get(error.errno or 0, f"which cannot be had: {error.strerror}")
            raise ValueError(f"port: got {port}, {said}; take another one, or 0 for any that is free") from None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def made(self, key: str, path: Path) -> Made:
        """The content of a run's page: at once what takes a moment, later all of it.

        **Raises:** what reading a directory may raise.
        """
        stamp, state = stamp_of(path), self.runs.state(key, path)
        known = self._made.get(key)
        if known is not None and known.stamp.startswith(stamp):
            return known
        running = isinstance(state, State) and state.running
        with self._quick:
            known = self._made.get(key)
            if known is None or not known.stamp.startswith(stamp):
                known = Made(stamp, _content(path, _GOES_ON if running else _SOON))
                self._keep(key, known)
        if not running and key not in self._busy:
            self._busy.add(key)
            threading.Thread(target=self._complete, args=(key, path, stamp), daemon=True).start()
        return known

    def _complete(self, key: str, path: Path, stamp: str) -> None:
        """Families, certificates and neurons, in the background."""
        try:
            with self._long:
                self._keep(key, Made(f"{stamp}+", _content(path, "")))
        except TROUBLE as error:
            known = self._made[key]
            self._keep(key, Made(f"{stamp}+", {**known.said, "noFamilies": str(error)}))
        finally:
            self._busy.discard(key)

    def _keep(self, key: str, made: Made) -> None:
        self._made.pop(key, None)
        self._made[key] = made
        while len(self._made) > _KEPT:
            self._made.pop(next(iter(self._made)))

    def state(self, key: str, path: Path) -> dict[str, Any]:
        """What a page asks again and again: whether there is more to show, and how far the run is."""
        state = self.runs.state(key, path)
        if isinstance(state, str):
            return {"stamp": stamp_of(path), "line": state, "done": False}
        known, stamp = self._made.get(key), stamp_of(path)
        whole = known is not None and known.stamp == f"{stamp}+"
        return {
            "stamp": known.stamp if known is not None and known.stamp.startswith(stamp) else stamp,
            "line": state.line,
            "done": state.complete and whole,
        }


def _content(path: Path, without: str) -> dict[str, Any]:
    with open_dataset(path) as ds:
        return content(ds, *_asked(path, ds), without=without)


def _asked(path: Path, ds: xr.Dataset) -> tuple[str | None, float | None, str | None, str | None]:
    """What a run's page opens with, where its refinement asked something."""
    asked = kept(path)
    if asked is None or not asked.fits(ds):
        return None, None, None, None
    return asked.measure, asked.below, asked.x, asked.y


def _picture(path: Path) -> str:
    with open_dataset(path) as ds:
        ds = standard(ds)
        return picture(ds, opening(ds, *_asked(path, ds))[0])


class Handler(BaseHTTPRequestHandler):
    """One request. What it names is looked up among the runs that were found: no path is made of it."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "gd-atlas"
    sys_version = ""

    def do_GET(self) -> None:
        """Answers with a page, a picture or JSON."""
        own = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in own:  # another site's name that was made to point here
            self._send(403, "text/plain", "this server answers to its own address alone\n")
            return
        room, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        found = self.server.runs.found()
        if not room:
            self._send(200, "text/html", index(self.server.runs, found))
            return
        answers: dict[str, Callable[[str, Path], tuple[str, str]]] = {
            "run": self._page,
            "state": lambda key, path: ("application/json", json.dumps(self.server.state(key, path))),
            "content": self._new_content,
            "picture": lambda key, path: ("image/svg+xml", _picture(path)),
        }
        if room not in answers or key not in found:
            self._send(404, "text/plain", "there is no such run: the index, /, lists those that there are\n")
            return
        try:
            kind, text = answers[room](key, found[key])
        except TROUBLE as error:
            self._send(503, "text/plain", f"{found[key]}: {error}\n")
            return
        self._send(200, kind, text)

    do_HEAD = do_GET

    def _page(self, key: str, path: Path) -> tuple[str, str]:
        made, address = self.server.made(key, path), quote(key)
        live = {"stamp": made.stamp, "state": f"/state/{address}", "content": f"/content/{address}"}
        state = self.server.runs.state(key, path)
        if isinstance(state, State) and not state.complete:
            live["line"] = state.line
        return "text/html", html_of(made.said, live)

    def _new_content(self, key: str, path: Path) -> tuple[str, str]:
        made = self.server.made(key, path)
        text = json.dumps({"stamp": made.stamp, "content": made.said}, ensure_ascii=False, allow_nan=False)
        return "application/json", text

    def _send(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is for its user."""
