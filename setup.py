"""What pyproject.toml cannot say: a built package remembers the commit that it was built from."""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Writes `ensemble/commit.txt` into what is built: the commit, and `dirty` where the checkout had changes."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout itself says it
            return
        here = Path(__file__).parent
        try:
            commit, changes = (
                subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
                for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
            )
        except (OSError, subprocess.CalledProcessError):  # an archive without git
            return
        made = Path(self.build_lib) / "ensemble" / "commit.txt"
        made.write_text(f"{commit}{' dirty' if changes else ''}\n", encoding="utf-8")


setup(cmdclass={"build_py": BuildWithCommit})
