"""The northern survey: the same galaxies, seen by other telescopes."""

from dataclasses import replace

import numpy as np
import pytest
from ssl_photoz.recipes.survey.simulate import simulate

from ssl_photoz.core.errors import MismatchError
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import SURVEYS, draw_conditions, passband_gain
from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.simulator.survey import Simulator

CONFIG = SimulatorConfig(seed=3, size_px=32)
COLOURS = ColourTable.build(step=0.05)
OBSERVED = {"EBV", "PSFSIZE", "NOISE"}


def both_surveys(**changes):
    configs = (replace(CONFIG, survey=survey, **changes) for survey in ("south", "north"))
    return [Simulator(config, colours=COLOURS) for config in configs]


def test_seeing_and_depth_have_the_medians_of_their_sources():
    rng = np.random.default_rng(0)
    drawn = [draw_conditions(rng, SURVEYS["north"]) for _ in range(3000)]
    fwhm = np.median([some.psf_fwhm_arcsec for some in drawn], axis=0)
    np.testing.assert_allclose(fwhm, [1.9, 1.7, 1.2], rtol=0.02)
    noise = np.median([some.noise_nmgy for some in drawn], axis=0)
    point = 5 * noise * np.sqrt(4 * np.pi) * fwhm / np.sqrt(8 * np.log(2)) / 0.262
    np.testing.assert_allclose(22.5 - 2.5 * np.log10(point), [24.2, 23.6, 23.0], atol=0.04)
    assert np.median([some.ebv_mag for some in drawn]) == pytest.approx(0.02, rel=0.05)


def test_passbands_differ_as_the_published_colour_terms_do():
    # g-i = 1 by g-r = 0.6 and r-z = 8/11; then g-i = 3, beyond the terms' range, and g-i = 0.
    for mag, x in (([20.6, 20.0, 20 - 8 / 11], 1.0), ([23.0, 20.0, 20.0], 2.7), ([20.0] * 3, 0.4)):
        north = np.array(
            [
                0.00464 + 0.08672 * x - 0.00668 * x**2 - 0.00255 * x**3,
                0.00110 - 0.06875 * x + 0.02480 * x**2 - 0.00855 * x**3,
                0.03664 - 0.11084 * x + 0.04477 * x**2 - 0.01223 * x**3,
            ]
        )
        south = np.array(
            [
                0.00062 + 0.03604 * x + 0.01028 * x**2 - 0.00613 * x**3,
                0.00495 - 0.08435 * x + 0.03222 * x**2 - 0.01140 * x**3,
                0.02583 - 0.07690 * x + 0.02824 * x**2 - 0.00898 * x**3,
            ]
        )
        gain = passband_gain(np.array(mag), SURVEYS["north"])
        np.testing.assert_allclose(-2.5 * np.log10(gain), north - south, atol=1e-12)
        assert passband_gain(np.array(mag), SURVEYS["south"]).tolist() == [1.0, 1.0, 1.0]


def test_a_galaxy_is_the_same_in_both_surveys_but_for_how_it_is_seen():
    south, north = both_surveys()
    for i in range(4):
        (image, one), (other_image, other) = south.row(i), north.row(i)
        for name in one.keys() - OBSERVED:
            assert one[name] == other[name], name
        for name in OBSERVED:
            assert np.all(np.asarray(one[name]) != np.asarray(other[name])), name
        noise = [row["NOISE"][:, None, None] for row in (one, other)]
        deviates = [
            (some - np.median(some)) / sigma
            for some, sigma in zip((image, other_image), noise, strict=True)
        ]
        border = np.r_[0:4, -4:0]
        correlation = np.corrcoef(*(some[:, border].ravel() for some in deviates))[0, 1]
        assert correlation < 0.9  # noise of its own


def test_the_light_of_a_galaxy_is_that_of_the_passbands():
    bare = {"galaxies_per_arcmin2": 0.0, "stars_per_arcmin2": 0.0, "size_px": 128}
    south, north = both_surveys(**bare)
    ratios, expected = [], []
    for i in range(60):
        (image, row), (other, seen) = south.row(i), north.row(i)
        mag = np.array([row[f"TRUE_MAG_{band}"] for band in "GRZ"])
        if mag[1] > 19.5 or row["TRUE_RADIUS_ARCSEC"] > 4:
            continue
        dust = 10 ** (-0.4 * np.array([3.214, 2.165, 1.211]) * (seen["EBV"] - row["EBV"]))
        ratios.append(other.sum(axis=(1, 2)) / image.sum(axis=(1, 2)) / dust)
        expected.append(passband_gain(mag, SURVEYS["north"]))
    assert len(ratios) >= 5
    np.testing.assert_allclose(np.median(np.array(ratios) / expected, axis=0), 1.0, atol=0.03)


def test_the_program_writes_it_and_an_older_file_stays_what_it_is(tmp_path, capsys):
    def run(name, survey):
        config = SimulatorConfig(size_px=16, survey=survey)
        return simulate(tmp_path / f"{name}.h5", galaxies=3, simulator=config, workers=1)

    with run("south", "south") as south, run("north", "north") as north:
        assert south.column("id").tolist() == north.column("id").tolist()
        assert (south.column("psfsize") != north.column("psfsize")).all()
    with pytest.raises(MismatchError, match="survey = 'north'"):
        run("north", "south")
    run("south", "south")
    assert "already" in capsys.readouterr().out
