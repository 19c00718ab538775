import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy import integrate

from ssl_photoz.simulator import population
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import EBV_MAG, draw_conditions
from ssl_photoz.simulator.population import Galaxies, Universe, luminosity_function


@pytest.fixture(scope="module")
def universe():
    return Universe(ColourTable.build(step=0.05), r_limit_mag=21.2)


def concatenated(drawn):
    return Galaxies(*(np.concatenate(column) for column in zip(*drawn, strict=True)))


def test_proposals_follow_luminosity_function_and_volume(universe):
    rng = np.random.default_rng(0)
    sample = concatenated([universe.propose(rng) for _ in range(1500)])
    # Where everything this luminous is seen, so that the flux limit plays no part.
    complete = (sample.abs_mag_r < -21.0) & (sample.redshift < 0.25)
    near = np.mean(sample.redshift[complete] < 0.15)
    cosmology = FlatLambdaCDM(70, 0.3)

    def number(z_max):
        def density(m, z):
            volume = cosmology.differential_comoving_volume(z).value
            return luminosity_function(m, z) * volume

        return integrate.dblquad(density, 0.0015, z_max, -24.5, -21.0, epsrel=1e-3)[0]

    expected = number(0.15) / number(0.25)
    n = complete.sum()
    assert n > 1000
    assert near == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / n) + 0.01)


def test_populations_keep_their_promises(universe):
    rng = np.random.default_rng(1)
    drawn = [[universe.draw(rng, population) for _ in range(60)] for population in range(3)]
    for galaxies in drawn:
        assert all(galaxy.mag[1] < 21.2 for galaxy in galaxies)
    assert all(galaxy.log_mass < 9.25 for galaxy in drawn[0])
    median_z = [np.median([galaxy.redshift for galaxy in galaxies]) for galaxies in drawn]
    assert median_z[0] < 0.15 < median_z[2]
    assert median_z[1] < 0.15


def test_distances_and_scales_are_those_of_the_cosmology(universe):
    galaxies = universe.propose(np.random.default_rng(2))
    cosmology = FlatLambdaCDM(70, 0.3)
    np.testing.assert_allclose(
        galaxies.distance_modulus, cosmology.distmod(galaxies.redshift).value, atol=2e-3
    )
    kpc_per_arcsec = cosmology.kpc_proper_per_arcmin(galaxies.redshift).value / 60
    np.testing.assert_allclose(galaxies.kpc_per_arcsec, kpc_per_arcsec, rtol=2e-3)


def test_median_sizes_are_those_of_shen_et_al():
    rng = np.random.default_rng(3)
    n = 4000
    log_mass = np.full(n, 10.0)
    radius = population.draw_radius_kpc(rng, log_mass, np.zeros(n, bool), np.full(n, 0.1))
    # gamma M^alpha (1 + M/M0)^(beta - alpha), by hand for 1e10 Msun: 0.1 * 25.12 * 1.0574.
    assert np.median(radius) == pytest.approx(2.656, rel=0.04)


def test_thin_discs_seen_from_all_sides_are_flat_in_axis_ratio():
    rng = np.random.default_rng(4)
    q = population.draw_axis_ratio(rng, np.full(4000, -21.0), np.zeros(4000, bool))
    assert np.all((q >= 0.12) & (q <= 1.0))
    # For an infinitely thin disc q = cos(i), uniform: mean 1/2; thickness raises it a little.
    assert 0.5 < q.mean() < 0.6


def test_conditions_have_the_survey_medians():
    rng = np.random.default_rng(5)
    drawn = [draw_conditions(rng) for _ in range(2000)]
    fwhm = np.median([c.psf_fwhm_arcsec for c in drawn], axis=0)
    np.testing.assert_allclose(fwhm, [1.48, 1.33, 1.24], atol=0.02)
    assert np.median([c.ebv_mag for c in drawn]) == pytest.approx(
        EBV_MAG.loc + EBV_MAG.scale, rel=0.06
    )
    assert min(c.noise_nmgy.min() for c in drawn) > 0
