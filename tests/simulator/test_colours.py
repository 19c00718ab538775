from pathlib import Path

import galsim
import numpy as np
import pytest

from ssl_photoz.simulator.colours import (
    BLUEST_TYPE,
    REDDEST_TYPE,
    ColourTable,
    galsim_bandpasses,
    galsim_seds,
)

SHARE = Path(galsim.meta_data.share_dir)


@pytest.fixture(scope="module")
def table():
    return ColourTable.build()


@pytest.mark.parametrize("sed_type", [-0.7, 0.0, 0.31, 1.0, 1.83, 2.5, 3.4])
@pytest.mark.parametrize("z", [0.0033, 0.137, 0.4449, 0.983])
def test_table_agrees_with_galsim_between_its_points(table, sed_type, z):
    seds = galsim_seds()
    below = int(np.floor(sed_type - REDDEST_TYPE))
    weight = sed_type - REDDEST_TYPE - below
    mixed = seds[below] * (1 - weight) + seds[below + 1] * weight
    expected = [mixed.atRedshift(z).calculateMagnitude(b) for b in galsim_bandpasses()]
    found = table.mag(np.array([sed_type]), np.array([z]))[0]
    np.testing.assert_allclose(found, expected, atol=0.015)


def observed_mag(z, band):
    """Synthetic AB magnitude of a source with luminosity density L at z, but for distance.

    f_lambda(obs) = L_lambda(emitted) / (1 + z), integrated over photons.
    """
    wave_a, lum = np.loadtxt(SHARE / "SEDs" / "CWW_Sbc_ext.sed").T
    wave_b, throughput = np.loadtxt(SHARE / "bandpasses" / f"LSST_{band}.dat").T
    obs_nm = np.linspace(wave_b[0], wave_b[-1], 4000)
    through = np.interp(obs_nm, wave_b, throughput)
    f_lambda = np.interp(obs_nm / (1 + z), wave_a / 10, lum) / (1 + z)
    photons = np.trapezoid(f_lambda * through * obs_nm, obs_nm)
    ab_photons = np.trapezoid(through / obs_nm, obs_nm)
    return -2.5 * np.log10(photons / ab_photons)


@pytest.mark.parametrize("z", [0.05, 0.2, 0.6])
@pytest.mark.parametrize(("column", "band"), [(0, "g"), (1, "r"), (2, "z")])
def test_k_correction_is_the_photon_integral(table, z, column, band):
    found = table.mag(np.array([1.0]), np.array([z]))[0, column]
    assert found == pytest.approx(observed_mag(z, band) - observed_mag(0.0, "r"), abs=0.02)


def test_all_types_are_normalised_in_r_and_bluer_along_the_sequence(table):
    types = np.linspace(REDDEST_TYPE, BLUEST_TYPE, 41)
    rest = table.mag(types, np.zeros(41))
    np.testing.assert_allclose(rest[:, 1], 0.0, atol=1e-6)
    assert np.all(np.diff(rest[:, 0]) < 0)
