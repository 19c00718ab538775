"""What is carried from a catalogue into a cutout file, and the reddening on its scale."""

import numpy as np
import pytest
from astropy.io import fits

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import DataError
from ssl_photoz.fetching.columns import cutout_columns
from ssl_photoz.fetching.dust import find_reddening


def catalogue(z=None, **columns):
    n = 3
    columns = {"ra": np.array([10.0, 200.0, 30.0]), "dec": np.array([5.0, 60.0, -45.0]), **columns}
    return Catalogue("c.fits", columns, Roles(None, "ra", "dec", z), np.arange(n), "row numbers")


def test_columns_keep_their_names_unless_these_mean_something_else():
    given = catalogue(
        pixscale=np.ones(3),
        noise=np.ones(3),
        images=np.ones(3),
        mass=np.ones(3),
        MASS=np.zeros(3),
        **{"a/b": np.ones(3), "day": np.array(["2020-01-01"] * 3, "M8[D]")},
        psfsize_g=np.ones(3),
        psfsize_r=2 * np.ones(3),
        psfdepth_g=np.ones(3),
    )
    columns = cutout_columns(given, ("g", "r"), None)
    assert columns["PSFSIZE"].tolist() == [[1, 2]] * 3
    assert "PSFDEPTH" not in columns  # r is missing
    assert "psfdepth_g" in columns
    assert "EBV" not in columns
    assert {"catalogue_pixscale", "catalogue_noise", "catalogue_images", "a_b"} <= set(columns)
    assert columns["mass"].tolist() == [1, 1, 1]
    assert columns["catalogue_MASS"].tolist() == [0, 0, 0]
    assert columns["day"].tolist() == ["2020-01-01"] * 3


def test_no_redshift_is_nan():
    z = cutout_columns(catalogue(z="zz", zz=np.array([-99, -0.001, 0.3])), ("g",), None)["Z"]
    assert np.isnan(z[0])
    assert z[1:] == pytest.approx([-0.001, 0.3])


def test_a_reddening_of_the_catalogue_stands_once():
    ebv = np.array([0.1, np.nan, 0.3], "f4")
    assert set(cutout_columns(catalogue(ebv=ebv), ("g",), ebv)) == {"TARGETID", "RA", "DEC", "EBV"}
    from_map = cutout_columns(catalogue(ebv=ebv), ("g",), ebv * 2)
    assert np.array_equal(from_map["catalogue_ebv"], ebv, equal_nan=True)


@pytest.mark.parametrize(("band", "extinction"), [("g", 3.214), ("r", 2.165), ("z", 1.211)])
def test_reddening_from_what_passes(band, extinction):
    ebv = np.array([0.0, 0.05, 0.7])
    passed = 10 ** (-0.4 * extinction * ebv)
    found = find_reddening(catalogue(**{f"MW_TRANSMISSION_{band.upper()}": passed}), "auto")
    assert found.ebv_mag == pytest.approx(ebv, abs=1e-6)
    assert "not rescaled by 0.86" in found.source
    passed[1] = 0
    found = find_reddening(catalogue(**{f"MW_TRANSMISSION_{band.upper()}": passed}), "auto")
    assert np.isnan(found.ebv_mag[1])


def test_a_column_goes_before_a_derivation_and_none_is_none(monkeypatch):
    monkeypatch.delenv("SFD_DIR", raising=False)
    both = catalogue(EBV=np.array([0.1, 0.2, 0.3]), mw_transmission_r=np.ones(3))
    assert find_reddening(both, "auto").ebv_mag == pytest.approx([0.1, 0.2, 0.3])
    assert find_reddening(both, "none") is None
    with pytest.raises(DataError, match="dust=catalogue: no column ebv"):
        find_reddening(catalogue(), "catalogue")
    with pytest.raises(DataError, match="dust=sfdmap2: not installed, or SFD_DIR"):
        find_reddening(catalogue(), "sfdmap2")


def test_the_map_is_not_rescaled(tmp_path, monkeypatch):
    pytest.importorskip("sfdmap2")
    for pole, sign, value in (("ngp", 1, 0.1), ("sgp", -1, 0.3)):
        header = fits.Header({"LAM_SCAL": 28, "LAM_NSGP": sign, "CRPIX1": 32.5, "CRPIX2": 32.5})
        image = fits.PrimaryHDU(np.full((64, 64), value, "f4"), header)
        image.writeto(tmp_path / f"SFD_dust_4096_{pole}.fits")
    monkeypatch.setenv("SFD_DIR", str(tmp_path))
    given = catalogue()
    given.columns["dec"][0] = np.nan
    found = find_reddening(given, "auto")
    assert found.ebv_mag[1:] == pytest.approx([0.1, 0.3])  # north and south of the Galaxy
    assert np.isnan(found.ebv_mag[0])
    assert "scaling 1.0" in found.source
