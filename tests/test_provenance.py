"""What a dataset says of the code that made it."""

import re
import subprocess

import ensemble as ens
from ensemble.store.provenance import commit_of


def test_a_built_package_says_its_own_commit(tmp_path):
    (tmp_path / "commit.txt").write_text("0123abcd dirty\n")
    assert commit_of(tmp_path) == ("0123abcd", 1)
    (tmp_path / "commit.txt").write_text("0123abcd\n")
    assert commit_of(tmp_path) == ("0123abcd", 0)


def test_a_package_inside_another_projects_checkout_is_not_of_its_commit(tmp_path):
    def git(*arguments: str) -> str:
        told = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(told, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    package = tmp_path / "site-packages" / "ensemble"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / "paper.tex").touch()
    git("add", "paper.tex")
    git("commit", "-qm", "a paper")
    assert commit_of(package) == ("unknown", 0)
    git("add", "-f", "site-packages")
    git("commit", "-qm", "its own package")
    assert commit_of(package) == (git("rev-parse", "HEAD"), 0)
    (package / "__init__.py").write_text("changed = True\n")
    assert commit_of(package)[1] == 1


def test_the_package_knows_its_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*|unknown", ens.__version__)
