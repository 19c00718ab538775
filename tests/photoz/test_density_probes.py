"""Densities from neighbours and from a mixture network, on galaxies whose truth is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from ssl_photoz.photoz import diagnostics, experiment
from ssl_photoz.photoz.density import grid_for
from ssl_photoz.photoz.experiment import fit_calibrated, score_calibrated
from ssl_photoz.photoz.knn import NeighbourDensity, kernels, unevenness
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.networks import Mixture


def labelled(features, z, *, first=0):
    ids = np.arange(first, first + len(z))
    return Labelled(features, z, ids, np.zeros(len(z)), np.zeros(len(z)))


def neighbours(features, z, **keywords):
    half = len(z) // 2
    probe = NeighbourDensity(**keywords)
    return probe.fit(features[:half], z[:half], validation=(features[half:], z[half:]))


def test_kernels_are_a_weighted_kernel_density_estimate():
    rng = np.random.default_rng(0)
    target, distance = rng.normal(0.2, 0.02, (1, 40)), rng.uniform(1, 2, (1, 40)).astype("f4")
    weights, centres, width = kernels(distance, target, floor=0.0)
    np.testing.assert_allclose(weights, (1 / distance) / (1 / distance).sum(), rtol=1e-6)
    rival = stats.gaussian_kde(target[0], "silverman", weights=1 / distance[0])
    # Scott & Silverman's factors of SciPy take the plain standard deviation and 1.06.
    assert width[0, 0] == pytest.approx(np.sqrt(rival.covariance[0, 0]) * 0.9 / 1.06, rel=0.25)
    np.testing.assert_array_equal(centres, target)


def test_unevenness_is_the_wasserstein_distance():
    pit = stats.beta.rvs(0.5, 2, size=(1, 4_000), random_state=0)
    even = np.linspace(0, 1, 4_001)
    assert unevenness(pit)[0] == pytest.approx(stats.wasserstein_distance(pit[0], even), abs=1e-3)


def test_k_is_large_where_galaxies_are_alike_and_small_where_redshift_runs_fast():
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, (6_000, 2)).astype("f4")
    steep = np.maximum(features[:, 0], 0)  # left: no trend; right: z rises steeply
    z = np.expm1(0.1 + 0.6 * steep + 0.004 * rng.normal(size=6_000))
    probe = neighbours(features, z, ks=(4, 16, 128))
    flat = probe.choose(np.array([[-0.6, 0.0], [-0.5, 0.3], [-0.5, -0.5]], "f4"))
    run = probe.choose(np.array([[0.5, 0.0], [0.6, 0.4], [0.4, -0.4]], "f4"))
    assert (flat == 128).all()
    assert (run < 128).all()


def test_a_galaxy_is_not_its_own_neighbour(galaxies):
    features, z = galaxies(200)
    z[0] *= 1.5
    probe = NeighbourDensity(ks=(4,)).fit(features, z, validation=(features, z), ids=np.arange(200))
    assert probe.density(features[:1]).median()[0] == pytest.approx(z[0], abs=1e-3)
    assert probe.density(features[:1], ids=np.array([0])).median()[0] < 0.9 * z[0]


def test_pit_of_labelled_galaxies_is_that_of_their_left_out_density(galaxies):
    features, z = galaxies(600)
    probe = neighbours(features, z, ks=(16,))
    ids = np.arange(300)
    pit = probe.density(features[:300], ids=ids).cdf_at(z[:300])
    np.testing.assert_allclose(pit, probe.pit_[:, 0], atol=0.01)


def test_a_mixture_learns_widths_that_differ():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4_000, 3)).astype("f4")
    sigma = np.where(features[:, 0] > 0, 0.01, 0.04)
    z = np.expm1(0.3 + 0.03 * features[:, 1] + sigma * rng.normal(size=4_000))
    mixture = Mixture(hidden=32, steps=300)
    mixture.fit(features[:3_000], z[:3_000], validation=(features[3_000:], z[3_000:]))
    density = mixture.density(features[3_000:])
    low, high = np.log1p(density.interval())
    told = (high - low) / (2 * stats.norm.ppf(0.84))
    apart = features[3_000:, 0]
    assert np.median(told[apart > 0.7]) == pytest.approx(0.01, rel=0.35)
    assert np.median(told[apart < -0.7]) == pytest.approx(0.04, rel=0.35)
    assert diagnostics.ks_distance(density.cdf_at(z[3_000:])) < 0.08


def test_wrong_labels_bend_nothing(galaxies):
    features, z = galaxies(2_400)
    wrong = z.copy()
    wrong[:40] = 0.6
    fits = [
        Mixture(grid=grid_for(wrong), hidden=32, steps=300)
        .fit(features[:2_000], some[:2_000], validation=(features[2_000:], z[2_000:]))
        .density(features[2_000:])
        for some in (z, wrong)
    ]
    clean, dirty = (float(np.mean(diagnostics.crps(fit, z[2_000:]))) for fit in fits)
    assert dirty < 1.35 * clean


def test_fitting_leaves_the_global_generator_alone_and_repeats_itself(galaxies):
    features, z = galaxies(300)
    before = torch.random.get_rng_state()
    fits = [
        Mixture(hidden=8, steps=40, seed=3).fit(features, z, validation=(features, z))
        for _ in range(2)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    first, second = (fit.density(features).values for fit in fits)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("method", "n"), [("knn", 4_000), ("mlp", 600)])
def test_calibrated_densities_are_calibrated(galaxies, monkeypatch, method, n):
    monkeypatch.setattr(experiment, "FOLDS", 2)
    features, z = galaxies(n + 2_500, noise=0.02)
    train, val, test = (
        labelled(features[some], z[some], first=some.start)
        for some in (slice(0, n), slice(n, n + 500), slice(n + 500, n + 2_500))
    )
    fitted = fit_calibrated(train, val, method=method)
    assert fitted.n == n + 500
    _, scores = score_calibrated(fitted, test, by={})
    assert scores["test"]["ks"] < 0.045
    # Three errors: 0.010 of counting 2,000, 0.014 of having been calibrated on some 1,100.
    assert scores["test"]["coverage"]["0.68"] == pytest.approx(0.68, abs=0.052)
    alone = fit_calibrated(train, val, method=method, train_calibrates=False)
    assert (alone.n, alone.calibrators) == (500, "validation")
