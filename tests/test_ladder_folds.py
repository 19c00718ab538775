"""The redshift ladder's cross-validation: folds, draws, choices, errors, read-outs."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from astropy import units
from astropy_healpix import HEALPix

from benchmarks.redshift_ladder import crossvalidated, fold_table, folds
from benchmarks.redshift_ladder.crossvalidated import CrossValidated, Draw
from benchmarks.redshift_ladder.plan import Job, Size
from benchmarks.redshift_ladder.results import SHOWN, Key, Result, purity_at_90, read_results
from benchmarks.redshift_ladder.run import DONE, run_job
from benchmarks.redshift_ladder.table import duels_markdown, nearby_markdown, titles_of
from ssl_photoz.core.artefact import write_json
from ssl_photoz.core.errors import ConfigError, ContaminatedError, DataError
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.embeddings.store import write_embeddings
from ssl_photoz.photoz import artefact, metrics
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.regressors import Mean
from tests.conftest import DIM, survey

PLAN = {
    **{"workers": 1, "threads": 1, "seeds": [0, 1, 2], "labels": [1.0, 30], "orientations": 1},
    **{"probes": ["ridge"], "folds": 3, "draws": 10},
    "inputs": {
        "toy": {
            "simulate": {"galaxies": 1, "size_px": 48},
            "settings": {},
            "configurations": ["random", "moco", "moco+pretext-0.2", "align", "resnet18"],
        }
    },
}


@pytest.fixture
def size(tmp_path):
    """A size of the ladder; keywords replace what its YAML says."""

    def read(**changes):
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump({**PLAN, **changes}))
        return Size.read(str(path), tmp_path / "runs")

    return read


def galaxies(n=2000, *, seed=0):
    columns, vectors = survey(n, seed=seed, labelled=1.0)
    return Labelled(vectors, columns["z"], columns["id"], columns["ra"], columns["dec"])


def test_cells_of_the_sky_are_dealt_whole_and_evenly():
    some, split = galaxies(), SplitConfig(nside=8)
    half = folds.deal(some, split, 5)
    sky = HEALPix(nside=8, order="ring")
    cells = sky.lonlat_to_healpix(some.ra * units.deg, some.dec * units.deg)
    halves_of = {cell: set(half[cells == cell]) for cell in np.unique(cells)}
    assert all(len(halves) == 1 for halves in halves_of.values())
    dealt = np.bincount([halves.pop() for halves in halves_of.values()], minlength=10)
    assert dealt.max() - dealt.min() <= 1
    order = np.random.default_rng(1).permutation(len(some))
    np.testing.assert_array_equal(folds.deal(some.take(order), split, 5), half[order])
    assert (folds.deal(some, replace(split, seed=1), 5) != half).mean() > 0.5


def test_galaxies_of_one_id_are_in_one_fold():
    some = galaxies()
    some = replace(some, id=np.arange(2000) % 1000)
    half = folds.deal(some, SplitConfig(nside=8), 5)
    np.testing.assert_array_equal(half[:1000], half[1000:])


def test_fewer_cells_than_halves_are_refused():
    with pytest.raises(DataError, match="12 cells of nside 1, expected at least 14 for 7 folds"):
        folds.deal(galaxies(), SplitConfig(nside=1), 7)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_galaxy_is_tested_once_and_no_side_shares_any(count):
    some = galaxies(500)
    half = folds.deal(some, SplitConfig(nside=8), count)
    tested, validated = [], []
    for fold in range(count):
        sides = folds.sides(some, half, fold, count)
        everyone = np.concatenate([side.id for side in sides.values()])
        assert sorted(everyone) == sorted(some.id)
        tested.append(sides["test"].id)
        validated.append(sides["val"].id)
    assert sorted(np.concatenate(tested)) == sorted(some.id)
    assert len(np.unique(np.concatenate(validated))) == sum(map(len, validated))


def test_frozen_configurations_are_drawn_and_those_with_labels_are_not(size):
    def drawn(**changes):
        return [job for job in size(**changes).jobs() if job.folds]

    jobs = drawn()
    assert {job.configuration for job in jobs} == {
        *("references", "random", "moco", "moco+pretext-0.2")
    }
    of_moco = [(job.labels, job.seed) for job in jobs if job.configuration == "moco"]
    assert {one: of_moco.count(one) for one in of_moco} == {
        **{(1.0, seed): 1 for seed in range(3)},
        **{(30, seed): 4 for seed in range(3)},  # twelve in all, of ten at least
    }
    assert {job.folder for job in jobs} < {job.folder for job in drawn(draws=30)}
    assert not drawn(folds=0)
    done = set()
    for job in size().jobs():
        assert job.ready(done)
        done.add(job.folder)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"folds": 1}, "at least 2 folds"),
        ({"draws": 0}, "at least 1 draw"),
        ({"fold_probes": ["svn"]}, "no probe is called svn"),
        ({"probes": ["mpl"]}, "no probe is called mpl"),
        ({"compared": ["mocca: last"]}, "compared names mocca, expected configurations"),
    ],
)
def test_a_size_that_means_nothing_is_refused_before_it_runs(size, wrong, why):
    with pytest.raises(ConfigError, match=why):
        size(**wrong)


def hand_made(folder, n=400, **facts):
    """Embeddings of two blocks: what bends with redshift, and four numbers of noise."""
    columns, vectors = survey(n, labelled=1.0)
    noise = np.random.default_rng(5).normal(size=(n, 4)).astype(np.float32)
    columns["aperture"] = vectors[:, :3]
    facts |= {"blocks": {"measurements": DIM, "learnt": 4}}
    facts |= {"split": {"nside": 8, "seed": 0, "fractions": [0.7, 0.1, 0.2], "counts": None}}
    write_embeddings(folder, columns, np.concatenate([vectors, noise], axis=1), **facts)
    return columns


def job(folder, *, seed=0, draw=0, labels=1.0, configuration="measuring", readouts=()):
    where = folder / configuration / f"{seed}-{labels}-{draw}"
    after = folder / "made"
    given = {"after": after, "readouts": readouts, "folds": 3, "draw": draw}
    return Job("toy", seed, configuration, "", {}, labels, where, **given)


def test_a_block_is_a_line_of_the_table_and_every_galaxy_is_scored_once_in_it(size, tmp_path):
    columns = hand_made(tmp_path / "made" / "embeddings")
    plan = size(
        fold_probes=["ridge", "boosting"],
        configurations={
            "measuring": {
                **{"title": "Measuring", "pretrain": {}},
                "readouts": ["both", "measurements", "learnt"],
            }
        },
    )
    names = tuple(plan.configurations["measuring"]["readouts"])
    jobs = [job(tmp_path, readouts=names), job(tmp_path, configuration="references")]
    for one in jobs:
        run_job(one, plan)
    parts = crossvalidated.read_cross_validated(jobs)
    assert {(one.key.configuration, one.key.probe) for one in parts} == {
        ("measuring", "ridge"),
        ("measuring: measurements", "ridge"),
        ("measuring: measurements", "boosting"),
        ("measuring: learnt", "ridge"),
        ("aperture", "ridge"),
        ("aperture", "boosting"),
        ("mean", "mean"),
    }
    for one in parts:
        np.testing.assert_array_equal(one.ids, np.sort(columns["id"].astype(str)))
        np.testing.assert_allclose(one.z_spec, columns["z"][np.argsort(columns["id"].astype(str))])
    best = {one.key.configuration: one for one in crossvalidated.chosen_by_fold(parts)}
    assert best["measuring: measurements"].metric("r2") > 0.8
    assert best["measuring: learnt"].metric("r2") < 0.05
    assert read_results(jobs) == []
    titles = titles_of(plan)
    assert [titles[line] for line in best if line.startswith("measuring")] == [
        *("Measuring", "Measuring: measurements", "Measuring: learnt")
    ]
    page = fold_table.markdown(plan, list(best.values()))
    assert "toy (SIMULATED), cross-validated: 400 galaxies in 3 folds of the sky" in page
    assert "On the one split only, for they train on labels: + labels, Rank-N-Contrast, " in page
    assert page.count("| Measuring") == 3
    gains = fold_table.gains_markdown(plan, list(best.values()))
    assert "| Measuring: learnt, 100 % | aperture photometry |" in gains
    tuning = {line: one.tuning for line, one in best.items() if "learnt" not in line}
    rival = titles[min(["measuring", "measuring: measurements"], key=tuning.get)]
    assert f"| Measuring: learnt, 100 % | {rival} |" in gains
    assert sum(line.startswith("| Measuring") for line in gains.splitlines()) == 6
    rows = list(crossvalidated.rows(parts, list(best.values())))
    assert [row["chosen"] for row in rows].count(True) == len(best)
    assert all(set(row) == set(rows[0]) for row in rows)


def test_lines_that_a_size_names_are_compared_with_baselines_on_the_one_split(size):
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.25, 500)

    def line(name, sigma):
        z_phot = z + sigma * rng.normal(size=(1, 500)) * (1 + z)
        return Result(Key("toy", name, "100 %", "all", "mlp"), z_phot, z, np.arange(500), sigma)

    results = [line("moco", 0.01), line("moco: last", 0.02), line("resnet18", 0.03)]
    plan = size(compared=["moco: last"], configurations={"moco": {"readouts": ["all", "last"]}})
    (row,) = [one for one in duels_markdown(plan, results).splitlines() if "ResNet-18" in one]
    assert row.startswith("| MoCo, survey-matched augmentations: last, 100 % | ResNet-18")
    assert row.count("**+") == 3


def test_a_block_that_is_not_there_is_refused_by_name(size, tmp_path):
    hand_made(tmp_path / "made" / "embeddings")
    with pytest.raises(ConfigError, match="no read-out learned; it has all, both, measurements"):
        run_job(job(tmp_path, readouts=("learned",)), size())


def test_an_encoder_that_has_read_labels_is_refused(size, tmp_path):
    hand_made(tmp_path / "made" / "embeddings", labels_seen=[1, 2])
    with pytest.raises(ContaminatedError, match="every labelled galaxy is a test galaxy"):
        run_job(job(tmp_path), size())


def test_draws_are_the_same_for_all_and_others_every_time(size, tmp_path, monkeypatch):
    hand_made(tmp_path / "made" / "embeddings")
    fitted = []

    class Recorder(Mean):
        def fit(self, X, z, *, validation=None, ids=None):
            fitted.append((ids, validation[1]))
            return super().fit(X, z, validation=validation, ids=ids)

    monkeypatch.setitem(artefact.PROBES, "ridge", Recorder)

    def of(one):
        fitted.clear()
        run_job(one, size())
        return [ids.tolist() for ids, _ in fitted], [tuned.tolist() for _, tuned in fitted]

    first, tuned = of(job(tmp_path, labels=30))
    assert [len(ids) for ids in first] == [30, 30, 30]
    assert of(job(tmp_path, labels=30, configuration="other"))[0] == first
    again, tuned_again = of(job(tmp_path, labels=30, draw=1))
    assert all(set(one) != set(other) for one, other in zip(first, again, strict=True))
    assert tuned_again == tuned  # validation keeps its labels
    assert of(job(tmp_path, labels=30, seed=1))[0] not in (first, again)
    whole, _ = of(job(tmp_path, labels=1.0))
    (result,) = crossvalidated.read_cross_validated([job(tmp_path, labels=1.0)])
    for fold, ids in enumerate(whole):
        tested = set(result.ids[result.fold == fold])
        assert tested
        assert not tested & set(map(str, ids))


def test_a_finished_draw_stays_as_it_is(size, tmp_path):
    hand_made(tmp_path / "made" / "embeddings")
    one = job(tmp_path, labels=30)
    run_job(one, size())
    before = (one.folder / DONE).stat().st_mtime_ns
    (tmp_path / "made" / "embeddings" / "card.json").unlink()
    run_job(one, size())
    assert (one.folder / DONE).stat().st_mtime_ns == before


def folded(z_spec, z_phot, *, configuration="a", probe="ridge", tunings=(0.0, 0.0)):
    z_phot = np.atleast_2d(z_phot)
    return CrossValidated(
        key=Key("toy", configuration, "100 %", "all", probe),
        z_phot=z_phot,
        z_spec=z_spec,
        ids=np.arange(len(z_spec)),
        tuning=float(np.mean(tunings)),
        fold=np.arange(len(z_spec)) % 2,
        fold_tuning=np.array(tunings),
        draws=tuple(Draw(0, number) for number in range(len(z_phot))),
    )


def test_the_probe_is_chosen_fold_by_fold_on_validation():
    z = np.linspace(0.01, 0.3, 200)
    ridge = folded(z, z + 0.1, tunings=(0.01, 0.03))
    mlp = folded(z, z, probe="mlp", tunings=(0.02, 0.02))
    (best,) = crossvalidated.chosen_by_fold([mlp, ridge])
    np.testing.assert_allclose(best.z_phot[0] - z, np.where(np.arange(200) % 2 == 0, 0.1, 0))
    assert best.fold_tuning.tolist() == [0.01, 0.02]


def test_draws_that_others_lack_are_left_out_of_a_choice():
    z = np.linspace(0.01, 0.3, 200)
    ridge = folded(z, [z + 0.1, z + 0.2], tunings=(0.01, 0.03))
    mlp = folded(z, [z], probe="mlp", tunings=(0.02, 0.02))
    (best,) = crossvalidated.chosen_by_fold([ridge, mlp])
    assert best.draws == (Draw(0, 0),)
    strange = replace(mlp, draws=(Draw(7, 7),))
    assert crossvalidated.chosen_by_fold([ridge, strange]) == []


def test_the_error_holds_galaxies_and_draws():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.25, 4000)
    dz = rng.normal(0, 0.02, 4000)
    scales = np.array([0.8, 1.0, 1.2])
    result = folded(z, z + scales[:, None] * dz * (1 + z))
    # The median of |x| has a standard error of 1 / (2 f sqrt(n)), f = 2 phi(0.6745): of sigma_NMAD
    # 1.17 / sqrt(n) in units of itself; three draws that scatter by 0.2 add 0.2 / sqrt(3).
    expected = 0.02 * np.hypot(1.1664 / np.sqrt(4000), 0.2 / np.sqrt(3))
    assert crossvalidated.errors(result)["sigma_nmad"] == pytest.approx(expected, rel=0.02)
    single = folded(z, z + dz * (1 + z))
    galaxies_alone = 0.02 * 1.1664 / np.sqrt(4000)
    assert crossvalidated.errors(single)["sigma_nmad"] == pytest.approx(galaxies_alone, rel=0.15)


def test_what_draws_share_drops_out_of_a_difference():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.25, 2000)
    scales = np.array([0.8, 1.0, 1.2])[:, None]
    worse = folded(z, z + 0.02 * scales * rng.normal(size=2000) * (1 + z), configuration="b")
    better = replace(worse, z_phot=z + 0.97 * (worse.z_phot - z))
    there, back = crossvalidated.gains(better, worse), crossvalidated.gains(worse, better)
    for metric in SHOWN:
        assert back[metric][0] == pytest.approx(-there[metric][0])
        assert there[metric][0] >= 0
    gain, error = there["sigma_nmad"]
    assert gain == pytest.approx(0.03 * worse.metric("sigma_nmad"))
    assert error == pytest.approx(0.03 * crossvalidated.errors(worse)["sigma_nmad"], rel=1e-6)
    other_draws = replace(better, draws=tuple(Draw(1, number) for number in range(3)))
    assert crossvalidated.gains(other_draws, worse)["sigma_nmad"][1] > 5 * error
    with pytest.raises(ValueError, match="different galaxies"):
        crossvalidated.gains(better, replace(worse, ids=worse.ids + 1))


def test_purity_of_a_ranked_list_is_that_of_the_cut_that_keeps_nine_tenths():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.0, 0.2, 3000)
    z_phot = z + rng.normal(0, 0.02, (2, 3000))
    key = Key("toy", "a", "100 %", "all", "ridge")
    found, again = purity_at_90(Result(key, z_phot, z, np.arange(3000), 0.0), 0.03)
    cuts = [metrics.purity_at(one, z, 0.03) for one in z_phot]
    assert found == pytest.approx(np.mean(cuts))
    assert len(again) == 200
    # Two thirds of some 630 in the list are right: 0.019 by counting alone, and the cut scatters.
    assert 0.015 < np.std(again) < 0.06
    none, _ = purity_at_90(Result(key, z_phot + 1, z + 1, np.arange(3000), 0.0), 0.03)
    assert np.isnan(none)


def test_nearby_galaxies_are_marked_where_the_list_is_purer_beyond_two_errors(size, tmp_path):
    rng = np.random.default_rng(0)
    z = rng.uniform(0.0, 0.2, 3000)
    noise = {"moco": 0.002, "random": 0.04, "aperture": 0.02}
    made = {name: z + sigma * rng.normal(size=(1, 3000)) for name, sigma in noise.items()}
    results = [
        Result(Key("toy", name, "100 %", "all", "mlp"), z_phot, z, np.arange(3000), 0.0)
        for name, z_phot in made.items()
    ]
    over = [folded(z, made[name], configuration=name) for name in ("moco", "aperture")]
    references = Job("toy", 0, "references", "", {}, None, tmp_path / "references")
    write_json(references.folder / DONE, {"training_labels": 10})
    page = nearby_markdown(size(), results, [references], over)
    rows = {line.split(" | ")[0][2:]: line for line in page.splitlines() if line.count("%") > 3}
    assert rows["MoCo, survey-matched augmentations"].count("‡") == 4
    assert rows["random weights"].count("‡") == rows["aperture photometry"].count("‡") == 0
    assert rows["random weights"].endswith("|  |  |")
    assert f"cross-validated 3000, {np.sum(z < 0.03)} of z < 0.03" in page
