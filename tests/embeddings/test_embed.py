import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.embeddings.embed import embed, embed_cutout
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig

ROWS = 40
SPLIT = {"seed": 3, "nside": 32, "fractions": [0.7, 0.1, 0.2]}


@pytest.fixture
def cutouts(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cutouts.h5"
    with h5py.File(path, "w") as file:
        images = rng.normal(0, 0.01, (ROWS, 3, 48, 48)).astype("f4")
        images[5, 1, 3, 3] = np.nan
        images[16:24] = 0
        file["images"] = images
        file["TARGETID"] = np.arange(ROWS) + 2**62
        file["RA"] = np.r_[rng.uniform(0, 360, ROWS - 1), 500]
        file["DEC"] = rng.uniform(-60, 60, ROWS)
        file["Z"] = rng.uniform(0.01, 0.5, ROWS).astype("f4")
        file["split"] = np.arange(ROWS)
        file["PSFSIZE"] = np.ones((ROWS, 3), "f4")
    return path


@pytest.fixture
def encoder(tmp_path):
    made = fresh_encoder(
        EncoderConfig(crop_px=40, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )
    save_encoder(tmp_path / "encoder", made, config={}, parents={}, split=SPLIT, steps=0)
    return tmp_path / "encoder"


def run(cutouts, encoder, folder, **changes):
    given = {"orientations": 2, "shard_rows": 8, "batch_size": 8, **changes}
    return embed(cutouts, encoder, folder, **given)


def test_every_row_is_written_or_rejected_with_its_reason(cutouts, encoder, tmp_path):
    card = run(cutouts, encoder, tmp_path / "e")
    stored = Embeddings.open(tmp_path / "e")
    assert (card["rows_in"], card["rows_written"], card["rows_rejected"]) == (40, 30, 10)
    rejects = pq.read_table(tmp_path / "e" / "rejects.parquet").to_pylist()
    reasons = {reject["row"]: reject["reason"] for reject in rejects}
    assert reasons == {
        5: "nan or inf pixels",
        39: "position out of range",
        **dict.fromkeys(range(16, 24), "all-zero cutout"),
    }
    np.testing.assert_array_equal(
        np.sort(np.r_[stored.column("row"), list(reasons)]), np.arange(ROWS)
    )
    np.testing.assert_array_equal(stored.column("id") - 2**62, stored.column("row"))
    assert len(stored.thumbnails([0])[0].shape) == 3


def test_the_split_is_the_encoders_and_a_clashing_column_keeps_its_values(
    cutouts, encoder, tmp_path
):
    run(cutouts, encoder, tmp_path / "e")
    stored = Embeddings.open(tmp_path / "e")
    places = [stored.column(name) for name in ("ra", "dec", "id")]
    expected = assign_splits(*places, SplitConfig(seed=3, fractions=(0.7, 0.1, 0.2)))
    np.testing.assert_array_equal(stored.column("split"), expected)
    np.testing.assert_array_equal(stored.column("catalogue_split"), stored.column("row"))


def test_a_shard_that_is_there_is_kept_and_a_damaged_one_redone(cutouts, encoder, tmp_path):
    folder = tmp_path / "e"
    run(cutouts, encoder, folder)
    whole = Embeddings.open(folder).vectors()
    kept, torn = folder / "part-00000.parquet", folder / "part-00001.parquet"
    before = kept.stat().st_mtime_ns
    torn.write_bytes(torn.read_bytes()[:50])
    (folder / "card.json").unlink()
    run(cutouts, encoder, folder)
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(Embeddings.open(folder).vectors(), whole)


def test_a_single_cutout_is_embedded_as_the_table_was(cutouts, encoder, tmp_path):
    run(cutouts, encoder, tmp_path / "e")
    stored = Embeddings.open(tmp_path / "e")
    position = int(np.flatnonzero(stored.column("row") == 30)[0])
    alone, picture = embed_cutout(encoder, cutouts, 30, like=stored.card)
    assert picture.shape == (48, 48, 3)
    np.testing.assert_allclose(alone, stored.vectors()[position], rtol=0.02, atol=0.02)
    with pytest.raises(DataError, match="rows 0 to 39, asked for row 40"):
        embed_cutout(encoder, cutouts, 40, like=stored.card)
    with pytest.raises(DataError, match=r"row 16 .* all-zero cutout"):
        embed_cutout(encoder, cutouts, 16, like=stored.card)


def test_cutouts_unlike_the_encoders_are_refused(cutouts, encoder, tmp_path):
    with h5py.File(cutouts, "r+") as file:
        file.attrs["bands"] = "g,r,i"
    with pytest.raises(MismatchError, match="bands"):
        run(cutouts, encoder, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_file_with_no_good_row_is_refused(cutouts, encoder, tmp_path):
    with h5py.File(cutouts, "r+") as file:
        file["images"][:] = 0
    with pytest.raises(DataError, match="not one of 40 rows could be embedded"):
        run(cutouts, encoder, tmp_path / "e")
    assert not (tmp_path / "e" / "card.json").exists()
