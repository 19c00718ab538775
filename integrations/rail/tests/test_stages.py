"""The stages in RAIL: the same answers as without it; SIMULATED vectors whose redshift is known."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rail.core.stage", reason="pz-rail-base is not installed")
h5py = pytest.importorskip("h5py")
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import qp  # noqa: E402
from rail.core.data import Hdf5Handle, PqHandle  # noqa: E402
from rail.estimation.algos.ssl_photoz import (  # noqa: E402
    SslPhotozEstimator,
    SslPhotozInformer,
    checksum,
)

import ssl_photoz as sp  # noqa: E402

HERE = Path(__file__).resolve().parents[1]
GRID = {"zmin": 0.0, "zmax": 0.8, "nzbins": 801}


def sky(rows, seed):
    draws = np.random.default_rng(seed)
    z = draws.uniform(0.02, 0.5, rows)
    vectors = np.stack([np.log1p(z), z**2, *draws.normal(0, 0.1, (4, rows))], axis=1)
    vectors[:, :2] += draws.normal(0, 0.01, (rows, 2))
    return {
        "embedding": vectors.astype(np.float32),
        "redshift": z,
        "object_id": np.arange(rows) + 10_000_000_000,
    }


def write(path, table, group=""):
    if path.suffix == ".pq":
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(table["embedding"].ravel()), table["embedding"].shape[1]
        )
        pq.write_table(pa.table({**table, "embedding": vectors}), path)
    else:
        with h5py.File(path, "w") as file:
            for name, values in table.items():
                file[f"{group}/{name}"] = values
    return str(path)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rail")
    train = {**sky(600, 0)}
    train["redshift"][:5] = np.nan  # no redshift, left out
    informer = SslPhotozInformer.make_stage(
        name="inform",
        hdf5_groupname="",
        probe_folder=str(folder / "probe"),
        model=str(folder / "model.pkl"),
        output_mode="default",
    )
    model = informer.inform(train)
    return folder, model


@pytest.mark.parametrize("ending", [".hdf5", ".pq"])
def test_densities_ids_and_point_estimates_are_those_of_the_probe(fitted, tmp_path, ending):
    folder, model = fitted
    test = sky(230, 1)
    handle = {".hdf5": Hdf5Handle, ".pq": PqHandle}[ending]
    data = handle("test", path=write(tmp_path / f"test{ending}", test))
    estimator = SslPhotozEstimator.make_stage(
        name="estimate",
        model=model,
        hdf5_groupname="",
        chunk_size=100,  # three chunks, the last is not full
        id_col="object_id",
        calculated_point_estimates=["zmedian"],
        output=str(tmp_path / "densities.hdf5"),
        **GRID,
    )
    estimator.estimate(data)
    found = qp.read(str(tmp_path / "densities.hdf5"))
    probe = sp.PhotoZ.load(folder / "probe")
    density = probe.density(test["embedding"])
    for z in (0.1, 0.2, 0.35):
        np.testing.assert_allclose(np.ravel(found.pdf(z)), density.pdf_at(z), rtol=0.02, atol=0.02)
    assert found.ancil["id"].tolist() == test["object_id"].tolist()
    np.testing.assert_allclose(found.ancil["redshift"], test["redshift"])
    np.testing.assert_allclose(np.ravel(found.ancil["zmedian"]), density.median(), atol=1e-3)
    assert (found.ancil["p_outside"] < 1e-3).all()
    assert sp.score(np.ravel(found.ancil["zmedian"]), test["redshift"]).sigma_nmad < 0.02


def test_a_model_is_a_path_and_a_checksum_and_other_probes_are_refused(fitted, tmp_path):
    folder, model = fitted
    assert set(model.data) == {"probe_folder", "sha256"}
    copy = tmp_path / "probe"
    shutil.copytree(folder / "probe", copy)
    told = {"probe_folder": str(copy), "sha256": checksum(copy)}
    given = {"hdf5_groupname": "", "output_mode": "return", **GRID}
    estimator = SslPhotozEstimator.make_stage(name="one", model=told, **given)
    estimator.estimate(sky(20, 2))
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="run the informer again"):
        SslPhotozEstimator.make_stage(name="two", model=told, **given).estimate(sky(20, 2))


def test_probability_beyond_the_grid_is_told(fitted, tmp_path):
    _, model = fitted
    given = {"hdf5_groupname": "", "zmin": 0.0, "zmax": 0.25, "nzbins": 251}
    estimator = SslPhotozEstimator.make_stage(
        name="short", model=model, output_mode="return", **given
    )
    test = sky(200, 3)
    outside = estimator.estimate(test).data.ancil["p_outside"]
    assert outside[test["redshift"] > 0.35].min() > 0.9
    assert outside[test["redshift"] < 0.15].max() < 0.1


def test_a_table_without_vectors_is_refused(fitted):
    _, model = fitted
    given = {"hdf5_groupname": "", "output_mode": "return", **GRID}
    table = sky(20, 4)
    with pytest.raises(KeyError, match="no column 'vectors'"):
        SslPhotozEstimator.make_stage(
            name="none", model=model, embedding_col="vectors", **given
        ).estimate(table)
    table["embedding"] = table["embedding"][:, 0]
    with pytest.raises(ValueError, match="expected vectors"):
        SslPhotozEstimator.make_stage(name="flat", model=model, **given).estimate(table)


def test_the_pipeline_informs_estimates_and_evaluates(tmp_path):
    for name in ("pipeline.yml", "config.yml"):
        shutil.copy(HERE / name, tmp_path)
    write(tmp_path / "train.hdf5", sky(600, 5), "galaxies")
    test = sky(200, 6)
    write(tmp_path / "test.hdf5", test, "galaxies")
    ceci = Path(sys.executable).with_name("ceci")
    path = os.pathsep.join([str(ceci.parent), os.environ["PATH"]])  # its jobs are run by python3
    done = subprocess.run(
        [str(ceci), "pipeline.yml"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    logs = "".join(log.read_text() for log in (tmp_path / "logs").glob("*"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    density = sp.PhotoZ.load(tmp_path / "output" / "probe").density(test["embedding"])
    expected = sp.score(density.median(), test["redshift"])
    (scores,) = (tmp_path / "output").glob("scores*.hdf5")
    with h5py.File(scores) as file:
        found = {name: float(np.ravel(file[name])[0]) for name in file}
    assert found["point_stats_sigma_mad"] == pytest.approx(expected.sigma_nmad, abs=2e-4)
