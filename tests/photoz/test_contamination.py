"""A probe does not score an encoder on redshifts that the encoder has seen."""

import json

import numpy as np
import pytest
from ssl_photoz.recipes.probe.probe import probe

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ContaminatedError
from ssl_photoz.photoz.labels import label_facts
from ssl_photoz.photoz.settings import SampleConfig

RIDGE = {"probes": ("ridge",)}


def main(embeddings, out, *, probes=("knn", "ridge", "mlp"), versus=(), **sample):
    return probe(embeddings, out, probes=probes, versus=versus, sample=SampleConfig(**sample))


def ids_of(store, *splits):
    labelled = np.isfinite(store.column("z")) & np.isin(store.column("split").astype(str), splits)
    return store.column("id")[labelled].tolist()


def test_test_and_validation_labels_are_refused(make_store, tmp_path, capsys):
    plain = make_store("plain")
    for split in ("val", "test"):
        seen = [*ids_of(plain, "train")[:5], *ids_of(plain, split)[:3]]
        store = make_store(split, labels_seen=seen)
        with pytest.raises(ContaminatedError, match=f"of 3 galaxies .* id {seen[5]}"):
            main(embeddings=store.folder, out=tmp_path / "probe", **RIDGE)
        assert cli.main(["probe", f"embeddings={store.folder}", f"out={tmp_path / 'probe'}"]) == 2
        assert "contaminated=allow" in capsys.readouterr().err
        assert not (tmp_path / "probe").exists()


def test_a_contaminated_score_says_so_everywhere(make_store, tmp_path, capsys):
    seen = ids_of(make_store("plain"), "test")
    store = make_store(labels_seen=seen)
    given = {"embeddings": store.folder, "out": tmp_path / "probe", **RIDGE}
    main(**given, contaminated="allow")
    assert "CONTAMINATED: frozen embedding, test split" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "probe" / "metrics.json").read_text())
    for told in (metrics, artefact.read_card(tmp_path / "probe", "probe")):
        assert told["label"] == "CONTAMINATED: frozen embedding"
        assert told["contaminated"] == len(seen)
    with pytest.raises(ContaminatedError):  # though it is made already
        main(**given)
    rival = {"embeddings": make_store("clean").folder, "out": tmp_path / "other", **RIDGE}
    main(**rival, versus=(tmp_path / "probe",))
    rivals = json.loads((tmp_path / "other" / "metrics.json").read_text())["versus"]
    assert "CONTAMINATED: frozen embedding" in {row["baseline"] for row in rivals}


def test_training_labels_are_counted_and_do_not_matter(make_store, tmp_path):
    plain = make_store("plain")
    train = ids_of(plain, "train")
    store = make_store(labels_seen=train[:50])
    main(embeddings=store.folder, out=tmp_path / "probe", **RIDGE)
    told = json.loads((tmp_path / "probe" / "metrics.json").read_text())
    assert told["label"] == "frozen embedding"
    assert (told["labels_seen"], told["labels_seen_beyond"], told["contaminated"]) == (50, 0, 0)
    facts = label_facts(store, np.array(train[40:60]), "x")
    assert facts["labels_seen_beyond"] == 40
    main(embeddings=plain.folder, out=tmp_path / "plain-probe", **RIDGE)
    assert set(told) - {"labels_seen", "labels_seen_beyond", "contaminated"} == set(
        json.loads((tmp_path / "plain-probe" / "metrics.json").read_text())
    )


def test_ids_that_are_text_are_compared_too(make_store, tmp_path):
    def as_text(columns, _):
        columns["id"] = np.array([f"J{one}" for one in columns["id"]])

    seen = ids_of(make_store("plain", change=as_text), "val")[:2]
    store = make_store(change=as_text, labels_seen=seen)
    with pytest.raises(ContaminatedError, match="of 2 galaxies"):
        main(embeddings=store.folder, out=tmp_path / "probe", **RIDGE)
