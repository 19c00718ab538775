"""A card names the commit and the libraries that made it, and no commit that is not its own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from ssl_photoz.core import artefact, version


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-qm", "first")
    return folder


def test_the_commit_and_whether_files_differ_from_it(package):
    commit = git(package, "rev-parse", "HEAD")
    version.git_revision.cache_clear()
    assert version.git_revision(package) == commit
    (package / "__init__.py").write_text("changed = True")
    version.git_revision.cache_clear()
    assert version.git_revision(package) == f"{commit}-dirty"


def test_a_package_installed_inside_somebody_elses_checkout_has_no_commit(package):
    installed = package.parent / "site-packages" / "ssl_photoz"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert version.git_revision(installed) is None
    assert version.git_revision(package.parents[1] / "nowhere") is None


def test_without_git_there_is_no_commit_and_no_error(package, monkeypatch):
    monkeypatch.setenv("PATH", str(package))
    version.git_revision.cache_clear()
    assert version.git_revision(package) is None


def test_every_card_says_which_libraries(tmp_path):
    card = artefact.write_card(tmp_path, "probe")
    assert card["versions"]["numpy"] == np.__version__
    assert card["revision"] == version.git_revision()


def test_versions_are_found_without_importing_anything():
    program = (
        "import sys, json; from ssl_photoz.core import version; found = version.versions();"
        "print(json.dumps([sorted(found), [m for m in ('torch', 'h5py') if m in sys.modules]]))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    names, imported = json.loads(said)
    assert {"torch", "numpy", "h5py"} <= set(names)
    assert imported == []
