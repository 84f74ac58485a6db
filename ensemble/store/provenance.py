"""What a dataset says of how it was made."""

import datetime
import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import jax

from ..study import Study


def provenance(study: Study) -> dict[str, str | int | float]:
    """Versions, commit, device and precision, as attributes of a dataset."""
    commit, dirty = commit_state()
    device = jax.local_devices()[0]
    packages = ("jax", "jaxlib", "equinox", "numpy", "xarray", "netCDF4")
    return {
        "gd_atlas_version": version("gd-atlas"),
        "git_commit": commit,
        "git_dirty": dirty,
        "python_version": platform.python_version(),
        **{f"{name.lower()}_version": version(name) for name in packages},
        "backend": jax.default_backend(),
        "device": f"{len(jax.local_devices())} × {device.device_kind}",
        "precision": study.precision,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


_PACKAGE = Path(__file__).parents[1]


@functools.cache
def commit_state() -> tuple[str, int]:
    """(commit that the code is of, whether it has changes since); ("unknown", 0) where nobody knows.

    A built package says it itself (`setup.py`); else it is that of the checkout that holds this very file: a package
    installed inside another project's checkout is not of that project's commit.
    """
    return commit_of(_PACKAGE)


def commit_of(package: Path) -> tuple[str, int]:
    """`commit_state` of a package in some folder."""
    try:
        commit, *dirty = (package / "commit.txt").read_text(encoding="utf-8").split()
        return commit, int(bool(dirty))
    except (OSError, ValueError):
        pass

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=package, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD"), int(bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return "unknown", 0
