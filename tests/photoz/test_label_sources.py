"""Labels of several tables: matched, compared, merged; what contradicts is said."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz.label_sources import (
    LabelsFolder,
    collect_labels,
    merge_labels,
    read_labels,
    read_sources,
)

N = 40


@pytest.fixture
def store(tmp_path):
    """Embeddings of galaxies without redshift, a degree apart."""
    columns = {
        "id": np.arange(N) + 100,
        "ra": np.arange(N, dtype=float),
        "dec": np.zeros(N),
        "z": np.full(N, np.nan, "f4"),
        "split": np.array(["train"] * N),
    }
    features = np.zeros((N, 2), "f4")
    return write_embeddings(tmp_path / "embeddings", columns, features, encoder="e" * 64)


@pytest.fixture
def sources(tmp_path):
    """Return the function that writes tables and a YAML of them."""

    def write(**tables):
        entries = []
        for name, (columns, entry) in tables.items():
            known = {"id": np.asarray(columns["id"])}
            known |= {"ra": known["id"] - 100.0, "dec": np.zeros(len(known["id"]))}
            write_table(tmp_path / f"{name}.parquet", known | columns, simulated=True)
            entries.append({"name": name, "table": f"{name}.parquet", **entry})
        path = tmp_path / "labels.yaml"
        path.write_text(yaml.safe_dump({"sources": entries}))
        return path

    return write


SPEC = {"kind": "spectroscopic"}
PHOT = {"kind": "photometric", "error": 0.03}


def table(ids, z, **more):
    columns = {"id": np.asarray(ids), "z": np.asarray(z, float)}
    return columns | {name: np.asarray(values) for name, values in more.items()}


def test_the_more_trusted_label_is_taken_wherever_it_stands(store, sources) -> None:
    path = sources(
        many_bands=(table([100, 101, 102], [0.21, 0.4, 0.3]), PHOT),
        desi=(table([101, 103], [0.1, 0.2]), SPEC),
    )
    labels = collect_labels(store, read_sources(path))
    assert labels.z[:5].tolist() == pytest.approx([0.21, 0.1, 0.3, 0.2, np.nan], nan_ok=True)
    assert labels.spectroscopic[:5].tolist() == [False, True, False, True, False]
    assert labels.z_error[:4] == pytest.approx([0.0363, 1.1e-4, 0.039, 1.2e-4])
    assert labels.account["desi"] == {"rows": 2, "good": 2, "matched": 2, "taken": 2}
    assert labels.account["many_bands"]["taken"] == 2
    assert {k: v.tolist() for k, v in labels.conflicts.items()} == {
        "id": [101],
        "z": [0.1],
        "source": ["desi"],
        "z_other": [0.4],
        "source_other": ["many_bands"],
        "taken": ["desi"],
    }


def test_labels_that_agree_within_their_errors_do_not_contradict(store, sources) -> None:
    path = sources(
        a=(table([100, 101], [0.30, 0.30]), SPEC), b=(table([100, 101], [0.39, 0.45]), PHOT)
    )
    conflicts = collect_labels(store, read_sources(path)).conflicts
    assert conflicts["z_other"].tolist() == [0.45]  # 3 sigma are 0.117 and 0.13


def test_of_one_trust_the_smaller_error_wins_and_equals_cancel(store, sources) -> None:
    first = table([100, 101, 102], [0.1, 0.1, 0.1], e=[0.001, 0.002, 0.001])
    second = table([100, 101, 102], [0.5, 0.5, 0.1], e=[0.002, 0.001, 0.001])
    third = table([103, 103], [0.1, 0.6], e=[0.001, 0.001])
    entry = {**SPEC, "error": "e"}
    path = sources(a=(first, entry), b=(second, entry), c=(third, entry))
    labels = collect_labels(store, read_sources(path))
    assert labels.z[:4].tolist() == pytest.approx([0.1, 0.5, 0.1, np.nan], nan_ok=True)
    assert labels.conflicts["taken"].tolist() == ["a", "b", ""]
    assert "3 contradictions; 1 of equal trust" in labels.summary()


def test_quality_words_and_bad_errors_are_counted(store, sources) -> None:
    spec = table([100, 101, 102, 103], [0.1, 0.2, -99, 0.4], zwarn=[0, 4, 0, 0])
    many = table([104, 105, 106], [0.1, 0.2, 0.3], e=[0.02, np.nan, -1.0])
    words = {"id": np.array([107, 108]), "verdict": np.array(["dwarf", "junk"])}
    path = sources(
        spec=(spec, {**SPEC, "quality": "zwarn", "good": [0]}),
        many=(many, {"kind": "photometric", "error": "e"}),
        looks=(
            words,
            {
                "kind": "verdict",
                "redshift": "verdict",
                "words": {"dwarf": 0.02},
                "error": 0.015,
            },
        ),
    )
    labels = collect_labels(store, read_sources(path))
    assert np.flatnonzero(np.isfinite(labels.z)).tolist() == [0, 3, 4, 7]
    assert labels.z[7] == 0.02
    assert [one["good"] for one in labels.account.values()] == [2, 1, 1]


def test_positions_match_where_ids_differ(store, sources) -> None:
    columns = table([5, 6, 7], [0.1, 0.2, 0.3], ra=[0 + 0.5 / 3600, 1 + 2 / 3600, np.nan])
    path = sources(other=(columns, {**SPEC, "match": "position"}))
    assert np.flatnonzero(np.isfinite(collect_labels(store, read_sources(path)).z)).tolist() == [0]


def test_a_folder_of_labels_is_written_and_read_again(store, sources, tmp_path) -> None:
    path = sources(a=(table([103, 101], [0.3, 0.1]), SPEC), b=(table([101, 104], [0.4, 0.2]), PHOT))
    folder = merge_labels(store, path, tmp_path / "labels")
    assert folder.card.labels == 3
    assert folder.card.contradictions == 1
    assert folder.card.sources["b"] == {
        **{"kind": "photometric", "trust": 0.3},
        **{"rows": 2, "good": 2, "matched": 2, "taken": 1},
    }
    assert pq.read_table(tmp_path / "labels/labels.parquet").column_names == [
        *("id", "ra", "dec", "z", "z_error", "kind", "trust", "source", "simulated")
    ]
    again, parents = read_labels(store, tmp_path / "labels")
    straight, others = read_labels(store, path)
    assert np.array_equal(again.z, straight.z, equal_nan=True)
    assert np.array_equal(again.spectroscopic, straight.spectroscopic)
    assert set(parents) == {"labels"}
    assert set(others) == {"labels", "labels a", "labels b"}
    assert merge_labels(store, path, tmp_path / "labels").card == folder.card
    assert LabelsFolder.open(tmp_path / "labels").conflicts()["source_other"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "photometric"}, "has no errors"),
        ({"kind": "guess"}, "kind 'guess'"),
        ({**SPEC, "error": 3}, "error 3"),
        ({**SPEC, "quality": "zwarn"}, "and the values good="),
        ({**SPEC, "match": "name"}, "match 'name'"),
        ({**SPEC, "colour": 1}, "unknown colour"),
        ({**SPEC, "table": "nowhere.fits"}, "no table"),
        ({}, "kind missing"),
    ],
)
def test_sources_that_cannot_be_meant_are_refused_before_tables_are_read(
    sources, entry, said
) -> None:
    path = sources(a=(table([100], [0.1]), entry))
    with pytest.raises(ConfigError, match=said):
        read_sources(path)


@pytest.mark.parametrize(
    ("columns", "entry", "said"),
    [
        (table([7, 8], [0.1, 0.2]), SPEC, "none of its 2 good labels is of a galaxy"),
        (table([100], [0.1], e=[np.nan]), {**PHOT, "error": "e"}, r"an error above 0 \(0 rows\)"),
        (table([100], [np.nan]), SPEC, r"a redshift above 0 \(0 rows\)"),
        (table([100], [0.1]), {**SPEC, "error": "zerr"}, "no column 'zerr'"),
    ],
)
def test_a_source_without_any_label_is_refused(store, sources, columns, entry, said) -> None:
    with pytest.raises(DataError, match=said):
        collect_labels(store, read_sources(sources(a=(columns, entry))))
