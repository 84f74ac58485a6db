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


@functools.cache
def commit_state() -> tuple[str, int]:
    """(commit of the checkout that the code runs from, whether it has changes); ("unknown", 0) without git."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), int(bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return "unknown", 0
