"""Where labels are and where not, the weights that follow, and what tables say of it."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from ssl_photoz.recipes.probe.predict import predict
from ssl_photoz.recipes.probe.probe import probe
from ssl_photoz.recipes.probe.report import report

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import ArtefactError, ConfigError, DataError
from ssl_photoz.photoz.label_coverage import FILE, LabelCoverage, drawn_labels, outside
from ssl_photoz.photoz.settings import DensityConfig, LabelConfig

COLUMNS = ("label_coverage", "cell", "labels_in_cell", "galaxies_per_label")


def half_labelled(n=4000, *, seed=0, side=None):
    """A plane of galaxies; labels only where the first feature is below 0."""
    rng = np.random.default_rng(seed)
    sample = rng.normal(size=(n, 3)).astype("f4")
    known = np.flatnonzero(sample[:, 0] < 0)
    train, val = known[:600], known[600:800]
    z = 0.1 + 0.01 * np.abs(sample[:, 0])
    fit = LabelCoverage.fit((sample[train], z[train]), sample[val], sample, side=side, seed=seed)
    return fit, sample, train


def test_what_is_beyond_the_labels_is_outside_and_what_is_among_them_is_not() -> None:
    coverage, _, _ = half_labelled()
    fresh = np.random.default_rng(9).normal(size=(3000, 3)).astype("f4")
    found = coverage.columns(fresh)
    beyond, among = fresh[:, 0] > 0.5, fresh[:, 0] < 0
    assert tuple(found) == COLUMNS
    assert outside(found)[beyond].mean() > 0.95
    assert outside(found)[among].mean() == pytest.approx(0.05, abs=0.03)
    # Among the labels, ranks are even: a part p of galaxies is below p.
    for p in (0.2, 0.5, 0.8):
        assert (found["label_coverage"][among] < p).mean() == pytest.approx(p, abs=0.09)


def test_what_is_like_no_galaxy_at_all_is_outside() -> None:
    coverage, _, _ = half_labelled()
    far = np.tile([-30.0, 30.0, 30.0], (4, 1))
    assert outside(coverage.columns(far)).all()


def test_cells_count_labels_and_galaxies() -> None:
    coverage, sample, train = half_labelled(side=5)
    cells = coverage.columns(sample)["cell"]
    assert np.array_equal(coverage.galaxies_in_cell, np.bincount(cells, minlength=25))
    assert np.array_equal(coverage.labels_in_cell, np.bincount(cells[train], minlength=25))
    bare = coverage.labels_in_cell == 0
    facts = coverage.facts()
    assert facts["cells"] == 25
    assert facts["cells_without_labels"] == bare.sum() > 0
    assert facts["galaxies_without_labels"] == pytest.approx(bare[cells].mean())
    most = coverage.galaxies_per_label.argmax()
    assert bare[most]


def test_weights_bring_labels_to_the_sample() -> None:
    rng = np.random.default_rng(1)
    sample = rng.normal(size=(6000, 2)).astype("f4")
    chance = 1 / (1 + np.exp(2 * sample[:, 0]))  # labels thin out, but nowhere end
    known = np.flatnonzero(rng.uniform(size=6000) < 0.5 * chance)
    train, val = known[: len(known) // 2], known[len(known) // 2 :]
    fit = LabelCoverage.fit((sample[train], np.ones(len(train))), sample[val], sample, side=8)
    weight = fit.weights(most=20)
    before = sample[train, 0].mean()
    after = np.average(sample[train, 0], weights=weight)
    assert before < -0.4
    assert abs(after - sample[:, 0].mean()) < 0.25 * abs(before)  # the rest is within cells
    assert fit.weights(most=2).max() <= 2.01
    assert fit.weights(most=2).mean() == pytest.approx(1)


def test_representative_labels_take_the_better_first() -> None:
    coverage, _, train = half_labelled(side=3)
    better = np.arange(len(train)) % 2
    taken, weight = coverage.representative(better, most=5.0)
    count, galaxies = coverage.labels_in_cell, coverage.galaxies_in_cell
    share = len(train) * galaxies / galaxies[count > 0].sum()
    kept = np.bincount(coverage.label_cells[taken], minlength=9)
    assert np.array_equal(kept, np.minimum(count, np.ceil(share).astype(int) * (count > 0)))
    assert weight.mean() == pytest.approx(1)
    for cell in np.flatnonzero((kept > 0) & (kept < count)):
        rows = np.flatnonzero(coverage.label_cells == cell)
        chosen = np.isin(rows, taken)
        assert better[rows[chosen]].max(initial=0) <= better[rows[~chosen]].min()
    # Where there are too few, all are taken and weigh the more.
    few = np.flatnonzero((count > 0) & (count < share))
    assert len(few)
    assert weight[np.isin(coverage.label_cells[taken], few)].mean() > 1


def test_trust_comes_before_error() -> None:
    coverage, _, train = half_labelled(side=2)
    trust = np.where(np.arange(len(train)) % 3, 0.3, 1.0)
    config = LabelConfig(draw="representative")
    error = np.where(trust == 1, 0.05, 0.001)
    rows, _ = drawn_labels(coverage, config, trust=trust, z_error=error, seed=0)
    left = np.setdiff1d(np.arange(len(train)), rows)
    assert len(left)
    full = np.isin(coverage.label_cells[left], coverage.label_cells[rows[trust[rows] < 1]])
    assert (trust[left][full] < 1).all()


def test_more_cells_than_labels_are_refused_before_the_work() -> None:
    with pytest.raises(DataError, match="600 labels and 4000 galaxies for a map of 25 x 25"):
        half_labelled(side=25)
    with pytest.raises(ConfigError, match="side=0"):
        LabelConfig(side=0)


def test_a_damaged_file_is_no_coverage(tmp_path) -> None:
    assert LabelCoverage.load(tmp_path) is None
    coverage, sample, _ = half_labelled(side=3)
    coverage.save(tmp_path)
    again = LabelCoverage.load(tmp_path)
    assert again is not None
    before, after = (one.columns(sample[:50]) for one in (coverage, again))
    assert all(np.array_equal(before[name], after[name]) for name in COLUMNS)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="run probe again"):
        LabelCoverage.load(tmp_path)


def test_a_probe_says_where_labels_are_and_predict_and_the_report_say_it_again(
    make_store, tmp_path, capsys
) -> None:
    store = make_store(simulated=True)
    folder = probe(store, tmp_path / "run/probe", probes=("ridge",))
    assert set(COLUMNS) <= set(folder.predictions())
    apart = folder.metrics["probes"]["ridge"]["test"]["label_coverage"]
    assert apart["inside"]["n"] + apart["outside"]["n"] == folder.card.labels["test"]
    assert folder.metrics["label_coverage"]["cells"] >= 1
    predict(folder, tmp_path / "z.parquet", embeddings=store, which="ridge")
    assert "outside of the labels" in capsys.readouterr().out
    assert set(COLUMNS) <= set(pq.read_table(tmp_path / "z.parquet").column_names)
    assert "outside of the labels" in report(tmp_path / "run").read_text()
    (folder.folder / FILE).unlink()  # as a folder of an earlier version
    predict(folder, tmp_path / "old.parquet", embeddings=store, which="ridge")
    assert not set(COLUMNS) & set(pq.read_table(tmp_path / "old.parquet").column_names)


@pytest.mark.parametrize("draw", ["weighted", "representative"])
def test_labels_of_two_sources_train_and_spectroscopic_ones_judge(
    make_store, tmp_path, draw
) -> None:
    store = make_store()
    column = {name: store.column(name) for name in ("id", "ra", "dec", "z", "split")}
    known = np.isfinite(column["z"])
    halves = [np.flatnonzero(known)[start::2] for start in (0, 1)]
    entries = []
    for name, rows in zip(("spec", "many"), halves, strict=True):
        write_table(
            tmp_path / f"{name}.parquet",
            {key: column[key][rows] for key in ("id", "ra", "dec", "z")},
            simulated=True,
        )
        entries.append({"name": name, "kind": "spectroscopic", "table": f"{name}.parquet"})
    entries[1] |= {"kind": "photometric", "error": 0.02}
    path = tmp_path / "labels.yaml"
    path.write_text(yaml.safe_dump({"sources": entries}))
    config = LabelConfig(sources=path, draw=draw, smooth=True)
    folder = probe(store, tmp_path / "probe", probes=("ridge", "knn"), labelling=config)
    side = column["split"].astype(str)
    assert folder.card.labels["test"] == (side[halves[0]] == "test").sum()
    assert folder.card.labels["train"] == (side[known] == "train").sum()
    assert set(folder.card.parents) == {"embeddings", "labels", "labels spec", "labels many"}
    densities = probe(
        *(store, tmp_path / "pdf"),
        density=True,
        densities=DensityConfig(method="knn"),
        labelling=config,
    )
    columns, _ = densities.densities()
    assert set(COLUMNS) <= set(columns)
    assert len(columns["id"]) == densities.card.rows == folder.card.labels["test"]


def test_smoothing_needs_errors(make_store, tmp_path) -> None:
    with pytest.raises(DataError, match="smooth=true, but the labels have no errors"):
        probe(
            make_store(), tmp_path / "probe", probes=("ridge",), labelling=LabelConfig(smooth=True)
        )
