import math

import faiss
import pytest

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.similarity.index_types import NAMES, available_bytes, choose_type, lists_for

ROOMY = 1e15


@pytest.mark.parametrize(
    ("rows", "memory_bytes", "expected"),
    [
        (1_000, ROOMY, "flat"),
        (100_000, ROOMY, "flat"),
        (100_001, ROOMY, "hnsw"),
        (1_000_000, ROOMY, "ivf_flat"),
        (5_000_000, 3e9, "ivf_flat"),
        (5_000_000, 1e9, "ivf_sq8"),
        (5_000_000, 5e8, "ivf_pq"),
        (5_000_000, 1.0, "ivf_pq"),
        (100, 1.0, "ivf_sq8"),
    ],
)
def test_auto_climbs_with_size_and_as_memory_shrinks(rows, memory_bytes, expected):
    chosen = choose_type("auto", rows=rows, dim=128, memory_bytes=memory_bytes)
    assert chosen.name == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dim", [1, 7, 12, 128])
def test_a_type_that_is_named_is_taken_and_faiss_knows_it(name, dim):
    chosen = choose_type(name, rows=5_000, dim=dim, memory_bytes=1.0)
    assert chosen.name == name
    built = faiss.index_factory(dim, chosen.factory, faiss.METRIC_INNER_PRODUCT)
    assert built.d == dim


def test_a_factory_string_is_passed_on_and_re_ranked():
    chosen = choose_type("OPQ8,IVF16,PQ8np", rows=5_000, dim=16, memory_bytes=1.0)
    assert (chosen.name, chosen.factory) == ("custom", "OPQ8,IVF16,PQ8np")
    assert chosen.shortlist > 1


@pytest.mark.parametrize("name", ["flat", "hnsw", "ivf_flat", "ivf_sq8", "ivf_pq"])
def test_bytes_per_row_are_those_that_faiss_writes(name):
    rows, dim = 4_000, 16
    chosen = choose_type(name, rows=rows, dim=dim, memory_bytes=1.0)
    index = faiss.index_factory(dim, chosen.factory, faiss.METRIC_INNER_PRODUCT)
    vectors = faiss.rand((rows, dim), seed=3)
    index.train(vectors)
    without = faiss.serialize_index(index).nbytes
    index.add(vectors)
    written = (faiss.serialize_index(index).nbytes - without) / rows
    assert chosen.bytes_per_row == pytest.approx(written, rel=0.1)


@pytest.mark.parametrize("rows", [1, 38, 39, 300, 1_000, 100_000, 1_000_000, 10**8])
def test_lists_are_a_power_of_two_that_k_means_can_train(rows):
    lists = lists_for(rows)
    assert math.log2(lists).is_integer()
    assert lists == 1 or rows / lists >= 39
    if rows >= 100_000:
        assert 1 / math.sqrt(2) <= lists / (4 * math.sqrt(rows)) <= math.sqrt(2)


@pytest.mark.parametrize(
    ("dim", "factory"), [(16, "PQ8np"), (17, "PQ9np"), (2, "PQ1np"), (127, "PQ64np")]
)
def test_a_byte_codes_two_numbers_whatever_the_length(dim, factory):
    chosen = choose_type("ivf_pq", rows=5_000, dim=dim, memory_bytes=1e9)
    assert chosen.factory.split(",")[-1] == factory
    assert chosen.factory.startswith("Pad") == bool(dim % 2)


def test_codes_of_a_byte_need_enough_galaxies():
    with pytest.raises(ConfigError, match="at least 256 galaxies"):
        choose_type("ivf_pq", rows=255, dim=8, memory_bytes=1.0)


def test_some_memory_is_available():
    assert 1e6 < available_bytes() < 1e15
