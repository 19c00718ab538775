import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.pretrain.embed import embed

from ssl_photoz.core.errors import ArtefactError, DataError, MismatchError, ShapeError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, assign_splits
from ssl_photoz.embeddings.embed import embed_cutout
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.artefact import load_encoder, save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig

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
    given = {"shard_rows": 8, "batch_size": 8, **changes}
    readout = ReadOutConfig(orientations=2)
    return embed(cutouts, encoder, folder, readout=readout, **given).card


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


def test_an_encoder_embeds_arrays_and_open_cutouts_as_the_table_was(cutouts, encoder, tmp_path):
    with h5py.File(cutouts, "r+") as file:
        file["images"][5], file["images"][16:24] = file["images"][1], file["images"][8:16]
        images = file["images"][:]
    card = run(cutouts, encoder, tmp_path / "e")
    stored, loaded = Embeddings.open(tmp_path / "e"), load_encoder(encoder)
    assert card["stages"] == "blocks"
    assert list(card.blocks.items()) == list(loaded.blocks().items())
    assert sum(card.blocks.values()) == card.dim == len(stored.weights)
    given = {"config": ReadOutConfig(orientations=2), "batch_size": 8}
    for some in (images, images.astype(">f8"), Cutouts.open(cutouts)):
        vectors = loaded.embed(some, **given)
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors[:32], stored.vectors()[:32])
        assert vectors.shape == (ROWS, stored.dim)
    assert loaded.embed(images[:0]).shape == (0, stored.dim)
    loaded.train()
    np.testing.assert_array_equal(loaded.embed(images[:8], **given), stored.vectors()[:8])
    assert loaded.training


def test_an_encoder_refuses_arrays_that_are_not_its_own(cutouts, encoder):
    loaded, flux = load_encoder(encoder), np.zeros((9, 3, 48, 48), "f4")
    for wrong, error, says in (
        (flux[:, :2], MismatchError, r"trained with bands = \['g', 'r', 'z'\].* have 2 bands"),
        (flux[..., :20], MismatchError, "sees crops of 40 px, these cutouts are 20 px"),
        (flux.astype("u1"), MismatchError, "8-bit"),
        (flux[0], ShapeError, "expected \\(N, C, H, W\\)"),
    ):
        with pytest.raises(error, match=says):
            loaded.embed(wrong)
    with pytest.raises(DataError, match=r"nan or inf pixels in 1 cutouts, rows 5;"):
        loaded.embed(Cutouts.open(cutouts))
    with h5py.File(cutouts, "r+") as file:
        file.attrs["bands"] = "g,r,i"
    with pytest.raises(MismatchError, match="trained with bands"):
        loaded.embed(Cutouts.open(cutouts))
    unwritten = fresh_encoder(loaded.config, noise=[0.01] * 3, seed=0, **about(loaded))
    with pytest.raises(ArtefactError, match="never written"):
        run(cutouts, unwritten, cutouts.parent / "e")


def about(encoder):
    return {name: encoder.description[name] for name in ("bands", "pixscale_arcsec", "calibrated")}


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
