"""The main galaxy sample, from a generated file in the layout of Pasquet's, by the shipped YAML."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.embeddings.store import Embeddings

ROWS = 240
CONFIG = Path(__file__).parents[1] / "configs" / "sdss_mgs.yaml"
COUNTS = (100, 30, 50)


def write(path):
    """SIMULATED: blobs in u, g, r, i, z, channels last; some fail each of the three cuts."""
    rng = np.random.default_rng(0)
    dtype = [
        *(("z", "f4"), ("EBV", "f4"), ("dered_petro_r", "f4")),
        *(("primtarget", "i8"), ("specObjID", "i8"), ("ra", "f8"), ("dec", "f8")),
    ]
    labels = np.zeros(ROWS, dtype)
    labels["z"] = rng.uniform(0.02, 0.39, ROWS)
    labels["EBV"] = rng.uniform(0, 0.1, ROWS)
    labels["dered_petro_r"] = rng.uniform(15, 17.7, ROWS)
    labels["primtarget"], labels["specObjID"] = 64, rng.permutation(ROWS) + 2**55
    labels["ra"], labels["dec"] = rng.uniform(120, 240, ROWS), rng.uniform(0, 60, ROWS)
    labels["z"][:20], labels["dered_petro_r"][20:40], labels["primtarget"][40:60] = 0.45, 17.9, 32
    x = np.arange(64) - 31.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 60)[..., None]
    colour = 0.2 + labels["z"][:, None, None, None] * np.arange(5) / 2
    cube = colour * blob + rng.normal(0, 0.01, (ROWS, 64, 64, 5))
    np.savez(path, cube=cube.astype("f4"), labels=labels)
    return labels


@pytest.fixture(scope="module")
def steps():
    return {
        next(iter(step)): next(iter(step.values()))
        for step in yaml.safe_load(CONFIG.read_text())["steps"]
    }


def test_the_yaml_splits_by_the_numbers_of_the_papers(steps):
    counts = [393_219, 20_000, 103_305]
    assert steps["pretrain"]["split"]["counts"] == counts
    assert sum(counts) == 516_524
    text = CONFIG.read_text()
    assert text.count(str(counts)) == 2


@pytest.fixture(scope="module")
def made(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("mgs")
    labels = write(folder / "sdss.npz")
    out = {name: folder / name for name in ("cutouts.h5", "encoder", "embeddings")}
    where = f"where={steps['convert']['where']}"
    given = [f"data={folder / 'sdss.npz'}", f"out={out['cutouts.h5']}", "dtype=float16"]
    cli.run("convert", [*given, where])
    small = ["epochs=0", f"split.counts={list(COUNTS)}", "encoder.crop_px=64"]
    given = [f"data={out['cutouts.h5']}", f"out={out['encoder']}"]
    cli.run("pretrain", [*given, *small])
    given = [f"data={out['cutouts.h5']}", f"encoder={out['encoder']}", f"out={out['embeddings']}"]
    cli.run("embed", [*given, "readout.orientations=1"])
    return labels, out


def test_the_selection_is_that_of_the_papers(made):
    labels, out = made
    kept = labels[(labels["dered_petro_r"] <= 17.8) & (labels["z"] <= 0.4)]
    kept = kept[kept["primtarget"] >= 64]
    with h5py.File(out["cutouts.h5"]) as file:
        assert file["images"].shape == (180, 5, 64, 64)
        names = {name.lower(): name for name in file}
        np.testing.assert_allclose(file[names["z"]][:], kept["z"])
        assert file.attrs["packed_where"].startswith("dered_petro_r <= 17.8")


def test_the_numbers_of_galaxies_are_those_asked_for_and_on_every_card(made):
    _, out = made
    embeddings = Embeddings.open(out["embeddings"])
    side = embeddings.column("split")
    assert tuple(int(np.sum(side == name)) for name in ("train", "val", "test")) == COUNTS
    for folder, kind in (("encoder", "encoder"), ("embeddings", "embeddings")):
        assert artefact.read_card(out[folder], kind)["split"]["counts"] == list(COUNTS)


def test_a_copy_of_other_rows_is_not_taken_for_this_one(made, tmp_path):
    _, out = made
    given = [f"data={out['cutouts.h5'].parent / 'sdss.npz'}", f"out={out['cutouts.h5']}"]
    with pytest.raises(Exception, match="packed_where"):
        cli.run("convert", [*given, "dtype=float16"])
