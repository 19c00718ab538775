"""The library as its users meet it: ten lines, public names, objects in place of paths."""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ssl_photoz as sp

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cutouts.h5 (SIMULATED) and an untrained encoder in runs/mine/encoder."""
    folder = tmp_path_factory.mktemp("library")
    simulator = sp.SimulatorConfig(size_px=48, labelled_fraction=0.8)
    sp.simulate(out=folder / "cutouts.h5", galaxies=400, simulator=simulator)
    sp.pretrain(
        str(folder / "cutouts.h5"),
        str(folder / "runs/mine/encoder"),
        training=sp.TrainingConfig(epochs=0),
        encoder=sp.EncoderConfig(crop_px=40),
    )
    return folder


def ten_lines() -> str:
    """The Python block of the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert block
    return block[1]


def test_the_package_opens_with_the_lines_of_the_readme() -> None:
    doc = textwrap.dedent(inspect.getdoc(sp) or "")
    shown = [line.strip() for line in ten_lines().splitlines() if line.strip()]
    told = [line.strip() for line in doc.splitlines()]
    assert [line for line in shown if line not in told] == []
    assert len(ast.parse(ten_lines()).body) <= 10


def test_the_ten_lines_run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    exec(compile(ten_lines(), "README.md", "exec"), names)
    n = int(names["split"].test.sum())  # type: ignore[attr-defined]
    z, lo, hi = (np.asarray(names[name]) for name in ("z", "lo", "hi"))
    assert z.shape == lo.shape == hi.shape == (n,)
    assert np.all((lo <= z) & (z <= hi))
    assert np.asarray(names["ids"]).shape == np.asarray(names["distance"]).shape == (1, 12)
    said = capsys.readouterr().out
    assert "sigma_NMAD" in said
    assert "bias" in said


@pytest.mark.parametrize("name", sp.__all__)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(sp, name)
    assert name in dir(sp)
    assert name == "__version__" or (inspect.getdoc(thing) or "").strip()


@pytest.mark.parametrize("verb", sp.VERBS)
def test_every_parameter_of_a_verb_is_described(verb: str) -> None:
    function = getattr(sp, verb)
    said = inspect.getdoc(function) or ""
    for name, parameter in inspect.signature(function).parameters.items():
        assert re.search(rf"^    {name}: \S", said, re.MULTILINE), f"{verb}: {name}"
        assert parameter.annotation is not parameter.empty
    assert len(inspect.signature(function).parameters) <= 12


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'embedd'"):
        sp.embedd  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "ssl_photoz" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"ssl_photoz.{home}" for name, home in sp.HOMES.items()}


def test_importing_takes_no_torch() -> None:
    heavy = "'torch', 'faiss', 'h5py', 'sklearn', 'pyarrow', 'astropy', 'scipy'"
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, ssl_photoz; print({{{heavy}}} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert told.stdout == "set()\n"
