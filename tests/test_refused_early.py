"""What can be refused is refused before the part that takes long, which is not reached here."""

import json
import os

import numpy as np
import pytest

import ssl_photoz as sp
from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.artefact import write_card
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError, MismatchError
from ssl_photoz.core.workplace import require_place
from ssl_photoz.nearby.settings import EvaluationConfig
from ssl_photoz.photoz.experiment import require_comparable
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.settings import CorrectionConfig, DensityConfig, SampleConfig
from ssl_photoz.qa.settings import CheckConfig
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.settings import TargetConfig

WORK = (
    "cutouts.batches.good_rows",
    "cutouts.packing._copy_pixels",
    "fetching.gathering.gather",
    "nearby.fitting.fit_dwarf_search",
    "photoz.artefact.predict_rows",
    "photoz.experiment.fit_and_score",
    "photoz.experiment.fit_calibrated",
    "photoz.labels.in_step",
    "qa.summary.summarise",
    "core.find.find_artefacts",
    "similarity.map.reduce_all",
    "similarity.search.Search.open",
    "simulator.survey._fill",
    "training.row_selection.good_rows",
    "training.transfer.fields.good_rows",
)


class WorkError(AssertionError):
    """The part that takes long was begun."""


@pytest.fixture
def no_work(monkeypatch):
    def begun(*arguments, **keywords):
        raise WorkError("begun")

    for name in WORK:
        monkeypatch.setattr(f"ssl_photoz.{name}", begun)


def test_places_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    require_place(tmp_path / "new" / "deep", folder=True)
    require_place(tmp_path / "new" / "deep.h5", folder=False)
    require_place(tmp_path / "file", folder=False)
    require_place(tmp_path, folder=True)
    for folder, name, said in (
        (True, "file", "is a file, expected a folder"),
        (False, ".", "is a folder, expected a file"),
        (True, "file/out", "lies below .*file, which is a file"),
        (False, "file/out.csv", "lies below .*file, which is a file"),
    ):
        with pytest.raises(ConfigError, match=said):
            require_place(tmp_path / name, folder=folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError, match="no permission to write"):
        require_place(tmp_path / "new", folder=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("no_work")
def test_files_that_would_replace_a_folder(tmp_path, make_store, make_file):
    store, cutouts = make_store(), make_file()
    (tmp_path / "a.csv").write_text("TARGETID,RA,DEC\n1,150.1,2.2\n")
    for verb, arguments in (
        (sp.select, {"catalogue": tmp_path / "a.csv", "out": "t.csv"}),
        (sp.fetch, {"catalogue": tmp_path / "a.csv", "out": "c.h5"}),
        (sp.simulate, {"out": "c.h5", "galaxies": 4}),
        (sp.convert, {"data": cutouts, "out": "c.h5"}),
        (sp.query, {"index": tmp_path / "i", "embeddings": store.folder, "out": "t.parquet"}),
        (sp.predict, {"probe": tmp_path / "p", "embeddings": store.folder, "out": "t.vot"}),
        (sp.report, {"run": tmp_path, "out": "r.html"}),
    ):
        out = tmp_path / arguments.pop("out")
        out.mkdir(exist_ok=True)
        if verb is sp.query:
            arguments["target"] = TargetConfig(id="1")
        with pytest.raises(ConfigError, match="is a folder, expected a file"):
            verb(**arguments, out=out)
        assert list(out.iterdir()) == []


@pytest.mark.usefixtures("no_work")
def test_folders_that_would_replace_a_file_or_other_work(tmp_path, make_store, make_file):
    store = make_store()
    (tmp_path / "file").write_text("mine")
    other = tmp_path / "encoder"
    other.mkdir()
    (other / "started.json").write_text(json.dumps({"kind": "encoder", "config": {}}))
    (other / "last.ckpt").write_text("steps of somebody")
    verbs = {
        "probe": lambda out: sp.probe(store.folder, out),
        "pdf": lambda out: sp.probe(store.folder, out, density=True),
        "map": lambda out: sp.map(store.folder, out),
        "correct": lambda out: sp.correct(store.folder, out),
        "mask": lambda out: sp.inspect(make_file(), tmp_path / "page", mask=out),
    }
    for verb in verbs.values():
        with pytest.raises(ConfigError, match="is a file, expected a folder"):
            verb(tmp_path / "file")
        with pytest.raises(MismatchError, match="holds unfinished encoder work"):
            verb(other)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in other.iterdir()) == ["last.ckpt", "started.json"]
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        sp.inspect(make_file(), tmp_path / "file")


@pytest.mark.usefixtures("no_work")
def test_columns_that_are_not_there(tmp_path, make_store):
    store, out = make_store(), tmp_path / "out"
    Index.build(store).save(tmp_path / "index")
    for verb in (
        lambda: sp.probe(store.folder, out, sample=SampleConfig(magnitude="mag_r")),
        lambda: sp.correct(store.folder, out),
        lambda: sp.probe(
            store.folder, out, density=True, densities=DensityConfig(seeing="psfsize")
        ),
        lambda: sp.dwarfs(
            store.folder, tmp_path / "index", out, evaluation=EvaluationConfig(cuts=("a", "b"))
        ),
        lambda: sp.dwarfs(
            store.folder, tmp_path / "index", out, evaluation=EvaluationConfig(population="kind")
        ),
    ):
        with pytest.raises(ArtefactError, match=r"column|no '"):
            verb()
    assert not out.exists()


@pytest.mark.usefixtures("no_work")
def test_tables_and_folders_to_compare_with(tmp_path, make_store):
    def magnitudes(columns, vectors):
        columns["mag_r"] = np.linspace(15, 20, len(vectors))

    store, out = make_store(change=magnitudes), tmp_path / "out"
    table = tmp_path / "photoz.csv"
    table.write_text("id,z\n1,0.1\n")
    with pytest.raises(DataError, match="has no column z_hi, z_lo, z_phot"):
        sp.correct(store.folder, out, table)
    table.write_text("id,z_phot,z_lo,z_hi\n1,0.1,0.0,0.2\n")
    with pytest.raises(ConfigError, match="with predictions= expected any of balanced"):
        sp.correct(store.folder, out, table, correction=CorrectionConfig(steps=("channels",)))
    other = tmp_path / "other"
    place = {"id": np.arange(20), "ra": np.zeros(20), "dec": np.zeros(20)}
    values = {"z_phot_svr": np.zeros(20), "z_phot_boosting": np.zeros(20)}
    write_table(other / "predictions.parquet", {**place, **values}, simulated=True)
    write_card(other, "probe", label="other", encoder="e")
    with pytest.raises(MismatchError, match="holds none of the probes knn, ridge, mlp"):
        sp.probe(store.folder, out, versus=(other,))
    assert not out.exists()
    galaxies = {"id": np.arange(11, 31), "ra": np.zeros(20), "dec": np.zeros(20)}
    test = Labelled(features=np.zeros((20, 2), "f4"), z=np.ones(20), **galaxies)
    with pytest.raises(DataError, match="9 test galaxies are also in the table of other"):
        require_comparable(["svr"], [other], test)


@pytest.mark.usefixtures("no_work")
def test_too_few_labels(tmp_path, make_file):
    """Before every cutout is looked at; the folder stays free for the corrected command."""
    data, free = make_file(n=40, Z=np.full(40, np.nan, "f4")), tmp_path / "out"
    for verb in (
        lambda: sp.supervise(data, free),
        lambda: sp.transfer(data, data, free),
    ):
        with pytest.raises(DataError, match=r"0 usable redshifts .* in the train split"):
            verb()
        with pytest.raises(WorkError):  # the same folder, other settings and labels
            sp.supervise(make_file("labelled.h5", n=400, RA=np.linspace(0, 359, 400)), free)


@pytest.mark.usefixtures("no_work")
def test_a_mask_of_other_thresholds_is_in_the_way(tmp_path, make_file):
    data = make_file()
    sp.inspect(data, tmp_path / "page", mask=tmp_path / "mask", page=False)
    with pytest.raises(MismatchError, match="checks"):
        sp.inspect(
            data, tmp_path / "page", mask=tmp_path / "mask", checks=CheckConfig(repeat_arcsec=9)
        )
    assert not (tmp_path / "page").exists()
