import galsim
import numpy as np
import pytest

from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.simulator import fourier
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import EXTINCTION, Conditions, dim_by_dust, flux_of
from ssl_photoz.simulator.population import Galaxies
from ssl_photoz.simulator.scene import (
    draw_field,
    draw_grain,
    draw_knots,
    fluctuation_flux_nmgy,
    render,
)
from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.simulator.survey import Simulator

COLOURS = ColourTable.build(step=0.05)


def galaxy(*, radius_arcsec=1.2, sersic=1.0, sed_type=2.0, early=False, axis_ratio=0.6):
    return Galaxies(
        redshift=np.float64(0.05),
        abs_mag_r=np.float64(-18.0),
        early=np.bool_(early),
        sed_type=np.float64(sed_type),
        mag=np.array([19.4, 19.0, 18.8]),
        rest_mag=np.array([-17.6, -18.0, -18.2]),
        distance_modulus=np.float64(36.7),
        log_mass=np.float64(9.0),
        radius_arcsec=np.float64(radius_arcsec),
        kpc_per_arcsec=np.float64(0.98),
        sersic=np.float64(sersic),
        axis_ratio=np.float64(axis_ratio),
    )


def rendered(target, *, size_px=128, ebv_mag=0.0, angle_rad=0.5, fwhm_arcsec=1.3):
    rng = np.random.default_rng(0)
    knots = draw_knots(rng, target, angle_rad, COLOURS)
    field = draw_field(rng, COLOURS, size_px=size_px, galaxies_per_arcmin2=0, stars_per_arcmin2=0)
    conditions = Conditions(ebv_mag, np.full(3, fwhm_arcsec), np.zeros(3))
    return render(
        rng,
        target,
        knots,
        field,
        conditions,
        angle_rad=angle_rad,
        offset_arcsec=np.zeros(2),
        size_px=size_px,
    )


@pytest.mark.parametrize(
    ("sersic", "sed_type", "early"), [(1.0, 3.0, False), (1.5, 1.0, False), (4.0, 0.0, True)]
)
def test_flux_is_the_catalogue_flux(sersic, sed_type, early):
    target = galaxy(sersic=sersic, sed_type=sed_type, early=early)
    flux = rendered(target).sum(axis=(1, 2))
    np.testing.assert_allclose(flux, flux_of(target.mag), rtol=0.02)


@pytest.mark.parametrize(("sersic", "radius_arcsec"), [(1.0, 2.0), (2.5, 1.0), (4.0, 0.8)])
def test_image_is_the_one_galsim_draws(sersic, radius_arcsec):
    # So far away that its stars leave no grain.
    target = galaxy(sersic=sersic, radius_arcsec=radius_arcsec, early=True, sed_type=0.0)
    target = target._replace(distance_modulus=np.float64(60.0))
    found = rendered(target, size_px=64)[1]
    profile = galsim.Sersic(sersic, half_light_radius=radius_arcsec, trunc=8 * radius_arcsec)
    profile = profile.shear(q=0.6, beta=0.5 * galsim.radians)
    psf = galsim.Moffat(beta=3.5, fwhm=1.3)
    drawn = galsim.Convolve(profile, psf).withFlux(flux_of(target.mag)[1])
    expected = drawn.drawImage(nx=64, ny=64, scale=PIXSCALE_ARCSEC).array
    np.testing.assert_allclose(found, expected, atol=0.01 * expected.max())


def test_point_sources_land_where_they_are_put():
    plane = fourier.plane(64)
    at = np.array([3.0, -5.0]) * PIXSCALE_ARCSEC
    spot = plane.points(at[:1], at[1:], np.array([2.0])) * fourier.moffat(plane.k, 1.3)
    image = plane.image(spot)
    y, x = np.indices(image.shape) - 31.5
    assert image.sum() == pytest.approx(2.0)
    assert (image * x).sum() / 2 == pytest.approx(3.0, abs=0.05)
    assert (image * y).sum() / 2 == pytest.approx(-5.0, abs=0.05)


def test_dust_dims_by_r_times_ebv():
    target = galaxy()
    mag = -2.5 * np.log10(rendered(target, ebv_mag=0.2) / rendered(target))
    for band in range(3):
        np.testing.assert_allclose(mag[band], EXTINCTION[band] * 0.2, atol=1e-6)
    np.testing.assert_allclose(dim_by_dust(np.ones(3), 0.0), 1.0)


def test_knots_take_their_light_from_the_galaxy():
    knots = draw_knots(np.random.default_rng(1), galaxy(sed_type=3.0), 0.0, COLOURS)
    assert knots.share.sum() == pytest.approx(1.0)
    assert np.all(knots.flux_nmgy > 0)
    assert np.all(knots.flux_nmgy <= 0.5 * flux_of(galaxy().mag))
    assert knots.flux_nmgy[0] / knots.flux_nmgy[1] > 10 ** (-0.4 * 0.4)
    early = draw_knots(np.random.default_rng(1), galaxy(early=True), 0.0, COLOURS)
    np.testing.assert_array_equal(early.flux_nmgy, 0.0)


def grain_variance(distance_mpc):
    """Variance of one r-band pixel of given mean flux, over many realisations."""
    modulus = 25 + 5 * np.log10(distance_mpc)
    giant = fluctuation_flux_nmgy(np.array([0.4, 0.0, -0.2]), modulus)[1]
    profile = np.full(200_000, 1e-4)
    total_nmgy = 50.0
    grain = np.sqrt(total_nmgy * giant) * draw_grain(np.random.default_rng(2), profile)
    return grain.var()


def test_fluctuations_fall_with_the_square_of_distance():
    assert grain_variance(5.0) / grain_variance(20.0) == pytest.approx(16.0, rel=1e-6)


def test_fluctuations_are_those_of_a_poissonian_number_of_stars():
    giant_nmgy, total_nmgy = fluctuation_flux_nmgy(np.array([0.4, 0.0, -0.2]), 27.0)[1], 50.0
    stars = np.random.default_rng(3).poisson(total_nmgy * 1e-4 / giant_nmgy, 200_000)
    distance_mpc = 10 ** ((27.0 - 25) / 5)
    assert grain_variance(distance_mpc) == pytest.approx((stars * giant_nmgy).var(), rel=0.03)


def test_noise_is_what_the_catalogue_says():
    config = SimulatorConfig(
        seed=3, proportions=(1, 0, 0), galaxies_per_arcmin2=0.0, stars_per_arcmin2=0.0
    )
    simulator = Simulator(config, colours=COLOURS)
    ratios = []
    for i in range(12):
        image, row = simulator.row(i)
        if row["TRUE_RADIUS_ARCSEC"] < 1.2:
            corner = image[:, :16, :16]
            pairs = (corner[:, :, 1:] - corner[:, :, :-1]) / np.sqrt(2)
            ratios.append(pairs.std(axis=(1, 2)) / row["NOISE"])
    assert len(ratios) >= 5
    np.testing.assert_allclose(np.mean(ratios, axis=0), 1.0, atol=0.06)
