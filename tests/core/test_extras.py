"""What only some verbs need may be missing, and is then named before any work."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ssl_photoz as sp
from ssl_photoz import pipeline
from ssl_photoz.core import extras
from ssl_photoz.core.errors import ConfigError

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
# Distributions whose module has another name; lightly imports pytorch_lightning, which brings the
# module lightning_fabric.
MODULES = {
    **{"umap-learn": "umap", "qp-prob": "qp", "huggingface-hub": "huggingface_hub"},
    "pytorch-lightning": "lightning_fabric",
}
OF_MANY = ("all", "dev", "run")
SILENT = ("dust", "tensorboard")  # done without, and that is said, where they are missing

WITHOUT = """
import sys
for name in ("lightly", "lightning_fabric", "pytorch_lightning", "galsim", "umap"):
    sys.modules[name] = None

import numpy as np
import ssl_photoz as sp

rng = np.random.default_rng(0)
flux = rng.normal(0.1, 0.02, (60, 3, 40, 40)).astype(np.float32)
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import plain
encoder = fresh_encoder(
    plain(crop_px=33), bands=["g", "r", "z"], pixscale_arcsec=0.262,
    calibrated=True, noise=[0.01] * 3, seed=0,
)
X = encoder.embed(flux)
z = rng.uniform(0, 0.3, 60)
photoz = sp.PhotoZ("mlp").fit(X[:40], z[:40], validation=(X[40:50], z[40:50]))
assert np.isfinite(photoz.predict(X[50:])).all()
ids, distance = sp.Index.build(X, ids=np.arange(60)).search(X[:1], k=3)
assert ids[0, 0] == 0
for verb in ("embed", "probe", "predict", "index", "query", "dwarfs", "report", "join", "inspect"):
    getattr(sp, verb)
print("light")
"""


def test_extras_are_those_of_the_package():
    groups = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    single = {name: some for name, some in groups.items() if name not in OF_MANY}
    assert set(single) == {*extras.EXTRAS, *SILENT}
    for name, modules in extras.EXTRAS.items():
        packages = [line.split(">")[0] for line in single[name]]
        assert [MODULES.get(package, package) for package in packages] == list(modules)
    (everything,) = groups["all"]
    named = everything.removeprefix("ssl-photoz[").removesuffix("]").split(",")
    (of_run,) = groups["run"]
    of_run = of_run.removeprefix("ssl-photoz[").removesuffix("]").split(",")
    assert {*named, *of_run} == {*single, "run"}


@pytest.mark.parametrize(
    ("verb", "module", "extra"),
    [
        ("pretrain", "lightly", "pretrain"),
        ("align", "lightly", "pretrain"),
        ("supervise", "lightning_fabric", "pretrain"),
        ("transfer", "lightly", "pretrain"),
        ("simulate", "galsim", "simulate"),
        ("map", "umap", "map"),
        ("explore", "fastapi", "explorer"),
    ],
)
def test_a_verb_without_its_extra_is_refused_at_once(verb, module, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    said = rf"{verb}: {module} not installed; run: pip install 'ssl-photoz\[{extra}\]'"
    function = getattr(sp, verb)
    with pytest.raises(ConfigError, match=said):
        function(tmp_path / "nothing", tmp_path / "nothing")


def test_a_pipeline_is_refused_before_its_first_step(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"step \d+, map: umap not installed"):
        pipeline.run(out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_embedding_probing_and_searching_need_no_extra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.endswith("light\n"), done.stderr


def test_the_demo_needs_what_its_extra_brings():
    needed = {
        getattr(importlib.import_module(f"ssl_photoz.{sp.VERBS[verb]}"), verb).needs
        for verb in ("simulate", "pretrain", "map")
    }
    assert needed == {"simulate", "pretrain", "map"}
