"""Our catalogues beside others in LSDB: the same galaxies are joined, with their redshifts."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lsdb", reason="lsdb is not installed")

import lsdb

from ssl_photoz import distribute, probe, score
from ssl_photoz.scaleout.hats import write_hats_embeddings
from ssl_photoz.scaleout.settings import TilesConfig
from tests.conftest import survey

ARCSEC = 1 / 3600


@pytest.mark.slow
def test_redshifts_of_tiles_meet_those_of_another_catalogue(tmp_path):
    columns, vectors = survey(400, labelled=0.5)
    tiles = TilesConfig(most_rows=50)
    store = write_hats_embeddings(tmp_path / "tiles", columns, vectors, tiles=tiles, encoder="e")
    probe(store, tmp_path / "probe", probes=("ridge",))
    photoz = distribute(
        "predict", store.folder, tmp_path / "photoz", using=tmp_path / "probe", which="ridge"
    )
    known = np.isfinite(columns["z"])
    rng = np.random.default_rng(1)
    shift = 0.3 * ARCSEC * rng.uniform(-1, 1, known.sum())
    other = {
        "target": columns["id"][known],
        "ra": columns["ra"][known],
        "dec": np.clip(columns["dec"][known] + shift, -90, 90),
        "z_desi": columns["z"][known].astype(float),
    }
    far = {"target": [-1], "ra": [columns["ra"][0]], "dec": [columns["dec"][0] + 5 * ARCSEC]}
    table = pd.concat([pd.DataFrame(other), pd.DataFrame({**far, "z_desi": [9.0]})])
    desi = lsdb.from_dataframe(table, ra_column="ra", dec_column="dec", catalog_name="desi")
    ours = lsdb.open_catalog(photoz)
    both = ours.crossmatch(desi, radius_arcsec=1, suffix_method="overlapping_columns").compute()
    assert sorted(both["id"]) == sorted(columns["id"][known])  # each once, none of the far ones
    np.testing.assert_array_equal(both["id"], both["target"])
    expected = dict(zip(columns["id"].tolist(), columns["z"].tolist(), strict=True))
    z = both["z_desi"].to_numpy()
    np.testing.assert_allclose(z, [expected[one] for one in both["id"]], rtol=1e-6)
    np.testing.assert_allclose(both["z_spec"].to_numpy(float), z, rtol=1e-6)
    assert score(both["z_phot"].to_numpy(float), z).sigma_nmad < 0.05
