"""Vectors as ssl-legacysurvey publishes them, from their file to look-alikes."""

import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.pretrain.adopt import adopt

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.embeddings.adopting import open_vectors
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.search import Search

N = 60


@pytest.fixture
def survey_file(tmp_path):
    """A file in the layout of ssl-legacysurvey: lower-case columns, 152 px, no identifiers."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        images = 0.01 * rng.normal(size=(N, 3, 152, 152)) + 0.02
        file["images"] = images.astype("f4")
        file["ra"], file["dec"] = rng.uniform(0, 360, N), rng.uniform(-30, 30, N)
        file["ebv"], file["z_spec"] = np.full(N, 0.02, "f4"), np.full(N, -99.0, "f4")
        file["flux"] = rng.uniform(1, 9, (N, 3)).astype("f4")
    return tmp_path / "images.h5"


def vectors_of(tmp_path, vectors):
    np.save(tmp_path / "vectors.npy", vectors)
    return tmp_path / "vectors.npy"


def test_published_vectors_are_searched_like_our_own(tmp_path, survey_file):
    vectors = np.random.default_rng(1).normal(size=(N, 24)).astype("f4")
    vectors[7] = vectors[3] + 1e-3
    vectors[9, 2] = np.nan
    given = [f"data={survey_file}", f"vectors={vectors_of(tmp_path, vectors)}"]
    for _ in range(2):  # the second time it says that it is made
        cli.run("adopt", [*given, f"out={tmp_path / 'e'}", "shard_rows=25"])
    made = Embeddings.open(tmp_path / "e")
    assert (made.card["rows_in"], made.card["rows_rejected"], made.dim) == (N, 1, 24)
    assert 9 not in made.column("row")
    np.testing.assert_allclose(made.vectors()[3], vectors[3], rtol=1e-3)
    cli.run("index", [f"embeddings={tmp_path / 'e'}", f"out={tmp_path / 'i'}"])
    search = Search.open(index=tmp_path / "i", embeddings=tmp_path / "e")
    (found,) = search.like_rows([3], k=1)
    assert made.column("row")[found.rows[0]] == 7


def test_vectors_of_different_networks_are_not_mixed_up(tmp_path, survey_file):
    rng = np.random.default_rng(2)
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(N, 8)).astype("f4"))
        given = [f"data={survey_file}", f"vectors={tmp_path / name}.npy"]
        cli.run("adopt", [*given, f"out={tmp_path / name}"])
        cli.run("adopt", [*given, f"out={tmp_path / name}-named", "network=theirs"])
    one, other = (Embeddings.open(tmp_path / name).card["encoder"] for name in ("a", "b"))
    assert one != other
    with pytest.raises(MismatchError, match="encoder"):
        cli.run(
            "join", [f"embeddings=[{tmp_path / 'a'},{tmp_path / 'b'}]", f"out={tmp_path / 'j'}"]
        )
    named = [Embeddings.open(tmp_path / f"{name}-named").card["encoder"] for name in ("a", "b")]
    assert named == ["theirs", "theirs"]


def test_vectors_that_do_not_fit_are_refused(tmp_path, survey_file):
    given = [f"data={survey_file}", f"out={tmp_path / 'e'}"]
    short = vectors_of(tmp_path, np.zeros((N - 1, 4), "f4"))
    with pytest.raises(MismatchError, match="59 vectors for 60 galaxies"):
        cli.run("adopt", [*given, f"vectors={short}"])


def test_as_a_function_it_takes_open_cutouts_and_gives_embeddings(tmp_path, survey_file):
    vectors = vectors_of(tmp_path, np.random.default_rng(1).normal(size=(N, 4)).astype("f4"))
    with Cutouts.open(survey_file) as cutouts:
        made = adopt(out=str(tmp_path / "e"), vectors=vectors, data=cutouts, network="theirs")
        assert len(made) == N
        assert (made.card.encoder, made.card.rows_in) == ("theirs", N)
        assert len(cutouts[:2]) == 2, "cutouts that were open stay so"


def test_what_to_adopt_must_be_clear(tmp_path):
    for wrong, says in (
        ({}, "expected checkpoint="),
        ({"checkpoint": "a.ckpt", "vectors": "a.npy"}, "expected checkpoint="),
        ({"checkpoint": "a.ckpt", "data": "a.h5"}, "belong to vectors"),
        ({"vectors": "a.npy"}, "data is missing"),
        ({"vectors": "a.npy", "data": "a.h5", "shard_rows": 0}, "at least 1"),
        ({"vectors": "a.npy", "data": "a.h5", "encoder": "e", "network": "n"}, "give it, or"),
    ):
        with pytest.raises(ConfigError, match=says):
            adopt(out=tmp_path / "e", **wrong)
    with pytest.raises(ConfigError, match="out is missing"):
        adopt("a.ckpt")
    assert not (tmp_path / "e").exists()


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    class Malice:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    np.save(tmp_path / "evil.npy", np.array([Malice()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot be read as a \.npy array"):
        open_vectors(tmp_path / "evil.npy")
    assert not (tmp_path / "was_run").exists()
    with pytest.raises(DataError, match="expected one array of real numbers"):
        open_vectors(vectors_of(tmp_path, np.zeros(5)))
