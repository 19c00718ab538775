"""An index that is damaged, or made by somebody hostile, is refused in one line."""

import faiss
import numpy as np
import pytest

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.index_building import build_index
from ssl_photoz.similarity.settings import IndexConfig


@pytest.fixture
def store(make_store):
    return make_store(n=500)


@pytest.mark.parametrize("prefix", ["shard-", "vectors-", "trained", "reduction"])
def test_a_damaged_file_of_an_approximate_index_is_refused(store, tmp_path, prefix):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8)).save(folder)
    (path,) = folder.glob(f"{prefix}*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=f"{path.name} is not the file its card describes"):
        Index.load(folder)


def reseal(folder, name, content):
    """Replace a file and its checksum, as somebody hostile would."""
    (folder / name).write_bytes(content)
    card = artefact.read_json(folder / "card.json")
    card["files"][name] = artefact.sha256_of(folder / name)
    card["sizes"][name] = len(content)
    artefact.write_json(folder / "card.json", card)


@pytest.mark.parametrize("cut", [0, 3, 100, 5000])
@pytest.mark.parametrize("prefix", ["shard-", "vectors-"])
def test_a_truncated_file_with_a_right_checksum_is_refused(store, tmp_path, prefix, cut):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8)).save(folder)
    (path,) = folder.glob(f"{prefix}*")
    reseal(folder, path.name, path.read_bytes()[:cut])
    with pytest.raises(ArtefactError, match=path.name if prefix == "shard-" else "vectors"):
        Index.load(folder).nearest_rows(store.vectors()[:1], 3)


def test_a_pickle_is_not_unpickled(store, tmp_path):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8)).save(folder)
    (path,) = folder.glob("vectors-*")
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    reseal(folder, path.name, (tmp_path / "evil.npy").read_bytes())
    with pytest.raises(ArtefactError, match="not a shard of vectors"):
        Index.load(folder)


def test_files_that_do_not_belong_together_are_refused(store, tmp_path):
    folder, wider = tmp_path / "i", tmp_path / "wider"
    build_index(wider, store, IndexConfig(index_type="ivf_sq8", pca_dim=12)).save(wider)
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8)).save(folder)
    (path,) = folder.glob("shard-*")
    (other,) = wider.glob("shard-*")
    reseal(folder, path.name, other.read_bytes())
    with pytest.raises(ArtefactError, match="500 codes of 12 bytes in 8 lists, expected 500 of 8"):
        Index.load(folder).nearest_rows(store.vectors()[:1], 3)
    reseal(folder, "trained.faiss", (wider / "trained.faiss").read_bytes())
    with pytest.raises(ArtefactError, match="500 vectors of 12 dimensions"):
        Index.load(folder)


def test_a_card_that_points_outside_is_refused(store, tmp_path):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="flat", pca_dim=8)).save(folder)
    card = artefact.read_json(folder / "card.json")
    card["files"]["../secret"] = "0"
    artefact.write_json(folder / "card.json", card)
    with pytest.raises(ArtefactError, match="outside"):
        Index.load(folder)


def test_a_shard_that_points_outside_is_refused(store, tmp_path):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_sq8", pca_dim=8)).save(folder)
    card = artefact.read_json(folder / "card.json")
    card["index_shards"][0]["lists"] = "../secret.faiss"
    artefact.write_json(folder / "card.json", card)
    with pytest.raises(ArtefactError, match="outside"):
        Index.load(folder)


def test_an_index_whose_lists_lie_in_another_file_is_refused(store, tmp_path):
    folder = tmp_path / "i"
    build_index(folder, store, IndexConfig(index_type="ivf_flat", pca_dim=8)).save(folder)
    (path,) = folder.glob("shard-*")
    index = faiss.read_index(str(path))
    elsewhere = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(folder / "other"))
    elsewhere.merge_from(index.invlists, 0)
    index.replace_invlists(elsewhere)
    reseal(folder, path.name, faiss.serialize_index(index).tobytes())
    with pytest.raises(ArtefactError, match="keeps its lists in"):
        Index.load(folder).nearest_rows(store.vectors()[:1], 3)
