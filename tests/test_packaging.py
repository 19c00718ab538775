"""What a wheel holds, and the files that stand beside the code."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import ssl_photoz

ROOT = Path(__file__).parents[1]
SOURCES = ("ssl_photoz", "survey", "pretrain", "probe", "configs")
FILES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from a copy, so that the checkout stays clean."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def test_the_wheel_owns_one_top_level_name(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ssl_photoz"}


def test_the_wheel_holds_every_module_and_config(wheel: list[str]) -> None:
    expected = set()
    for top in SOURCES:
        for path in (ROOT / top).rglob("*"):
            if path.suffix in {".py", ".yaml", ".html", ".typed"} or (
                path.is_file() and "static" in path.parts
            ):
                name = path.relative_to(ROOT).as_posix()
                expected.add(name if top == "ssl_photoz" else f"ssl_photoz/recipes/{name}")
    assert {"ssl_photoz/py.typed", "ssl_photoz/reports/page.html"} <= expected
    assert "ssl_photoz/recipes/configs/demo.yaml" in expected
    assert expected - set(wheel) == set()


def test_the_wheel_leaves_tests_and_runs_behind(wheel: list[str]) -> None:
    assert not [name for name in wheel if re.search(r"(^|/)(tests|runs|benchmarks)/", name)]


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in pinned)
    assert pinned == sorted(pinned, key=str.upper)


def test_every_dependency_is_pinned_and_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    extras = project["optional-dependencies"].values()
    for requirement in (*project["dependencies"], *(one for some in extras for one in some)):
        if requirement.startswith("ssl-photoz["):  # other extras of this package
            continue
        assert ">=" in requirement, requirement
        name = re.split(r"[\[><=;]", requirement)[0].strip().lower()
        if name != "faiss-cpu":  # faiss-gpu owns the same module where the constraints were made
            assert f"\n{name}==" in pinned, name


def test_version_and_licence_agree_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == ssl_photoz.__version__
    assert project["license"] == citation["license"] == "BSD-3-Clause"
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text()


def test_citation_has_what_its_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert all("name" in author or "family-names" in author for author in citation["authors"])
