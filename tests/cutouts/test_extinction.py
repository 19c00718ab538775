"""Flux without the Milky Way's dust: published coefficients, unknown E(B-V), what is left alone."""

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import read_batch
from ssl_photoz.cutouts.device import HalfPrecision
from ssl_photoz.cutouts.extinction import corrected, corrected_alike, correction_note
from ssl_photoz.cutouts.packing import pack
from ssl_photoz.cutouts.parquet_out import write_parquet
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.rejects import fault_tolerant
from ssl_photoz.cutouts.sample import typical_noise
from ssl_photoz.cutouts.subset import subset

N = 12
# 10**(0.4 R E(B-V)) for E(B-V) = 0.5 and R = 3.214, 2.165, 1.211 in g, r, z (DR9's web page).
HALF_MAG = np.array([10**0.6428, 10**0.433, 10**0.2422])


def images_of(cutouts):
    return cutouts.read(np.arange(len(cutouts)))


def test_flux_and_noise_are_divided_by_what_the_dust_lets_pass(make_file):
    noise = np.full((N, 3), [0.01, 0.02, 0.03], "f4")
    ebv = np.where(np.arange(N) == 4, 0.5, 0.0).astype("f4")
    seen = Cutouts.open(make_file(EBV=ebv, NOISE=noise, PSFSIZE=np.full((N, 3), 1.2, "f4")))
    batch = read_batch(seen.dereddened(), np.array([4, 0, 4]), size_px=8)
    plain = read_batch(seen, np.array([4, 0, 4]), size_px=8)
    for place in (0, 2):
        ratio = (batch.flux[place] / plain.flux[place]).mean((1, 2)).numpy()
        np.testing.assert_allclose(ratio, HALF_MAG, rtol=1e-6)
        np.testing.assert_allclose(batch.noise[place], HALF_MAG * [0.01, 0.02, 0.03], rtol=1e-6)
    assert batch.flux[1].equal(plain.flux[1])
    assert batch.noise[1].equal(plain.noise[1])
    assert batch.psf_fwhm_arcsec.equal(plain.psf_fwhm_arcsec)
    assert batch.ebv_mag.tolist() == [0.5, 0.0, 0.5]
    assert seen.source.extinction_corrected is False


def test_noise_from_the_depth_and_that_of_the_whole_file_is_scaled_too(make_file):
    depth = np.full((N, 3), 1000.0, "f4")
    seen = Cutouts.open(
        make_file(EBV=np.full(N, 0.5), PSFDEPTH=depth, PSFSIZE=np.full((N, 3), 1.2, "f4"))
    )
    ratio = typical_noise(seen.dereddened(), np.arange(N)) / typical_noise(seen, np.arange(N))
    np.testing.assert_allclose(ratio, HALF_MAG, rtol=1e-5)
    border = Cutouts.open(make_file("border.h5", EBV=np.full(N, 0.5)))
    ratio = typical_noise(border.dereddened(), np.arange(N)) / typical_noise(border, np.arange(N))
    np.testing.assert_allclose(ratio, HALF_MAG, rtol=1e-5)


def test_where_ebv_is_unknown_the_median_of_the_others_stands_in(make_file):
    ebv = np.array([0.1, 0.5, 0.9, np.nan, -99, 99, -0.01, np.inf, 0.5, 0.5, 0.5, 0.5], "f4")
    seen = Cutouts.open(make_file(EBV=ebv))
    clear = seen.dereddened()
    expected = [0.1, 0.5, 0.9, *[0.5] * 9]
    np.testing.assert_allclose(clear.column("ebv"), expected, rtol=1e-6)
    ratio = (images_of(clear)[3:8] / images_of(seen)[3:8]).mean((2, 3))
    np.testing.assert_allclose(ratio, np.tile(HALF_MAG, (5, 1)), rtol=1e-5)
    note = correction_note(clear, wanted=True)
    assert note.endswith("0.100 to 0.900 mag; 5 of 12 rows do not state theirs and get 0.500")
    np.testing.assert_array_equal(seen.column("ebv"), ebv)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "no galaxy states E"),
        ({"EBV": np.full(N, np.nan)}, "no galaxy states E"),
        ({"EBV": np.full(N, 0.1), "attrs": {"bands": "g,r,Y"}}, r"no extinction for bands \['Y'\]"),
        ({"EBV": np.full(N, 0.1), "attrs": {"calibrated": False}}, "display values"),
        ({"EBV": np.full(N, 0.1), "images": np.ones((N, 3, 16, 16), "u1")}, "display values"),
    ],
)
def test_what_cannot_be_corrected_is_left_alone_bit_for_bit(make_file, changes, says):
    seen = Cutouts.open(make_file(**changes))
    with pytest.raises(DataError, match=f"cannot be corrected for extinction: .*{says}"):
        seen.dereddened()
    left = corrected(seen, wanted=True)
    assert left is seen
    assert left.source.kind["extinction_corrected"] is False
    said = correction_note(left, wanted=True)
    assert said == "" if "display" in says else said.startswith("not corrected for Galactic")
    assert correction_note(left, wanted=False) == ""


def test_a_choice_not_to_correct_is_kept_and_none_is_corrected_twice(make_file):
    seen = Cutouts.open(make_file(EBV=np.full(N, 0.5)))
    assert corrected(seen, wanted=False) is seen
    clear = corrected(seen, wanted=True)
    assert clear.dereddened() is clear
    assert corrected(clear, wanted=True) is clear
    np.testing.assert_allclose(images_of(clear)[:, 1], images_of(seen)[:, 1] * 10**0.433, rtol=1e-6)


def test_half_precision_is_rounded_once(make_file):
    images = np.random.default_rng(0).normal(size=(N, 3, 16, 16)).astype("f2")
    ebv = np.linspace(0, 0.5, N)
    clear = Cutouts.open(make_file(images=images, EBV=ebv)).dereddened()
    factors = 10 ** (0.4 * np.outer(ebv, [3.214, 2.165, 1.211]))
    assert images_of(clear).dtype == np.float32
    exact = images * factors[:, :, None, None]
    np.testing.assert_allclose(images_of(clear), exact, rtol=1e-6)
    on_its_way = HalfPrecision(clear).tensor(np.arange(N))
    assert on_its_way.dtype == torch.half
    np.testing.assert_allclose(on_its_way.numpy(), exact, rtol=2**-11)


def test_rows_chosen_before_and_after_are_corrected_by_their_own_dust(make_file):
    ebv = np.linspace(0, 0.5, N)
    seen = Cutouts.open(make_file(EBV=ebv))
    rows = np.array([3, 7, 11])
    whole = seen.dereddened().read(rows)
    np.testing.assert_array_equal(images_of(subset(seen.dereddened(), rows)), whole)
    np.testing.assert_array_equal(images_of(subset(seen, rows).dereddened()), whole)
    assert subset(seen, rows).dereddened().is_subset
    assert not seen.dereddened().is_subset
    tolerant, met = fault_tolerant(seen.dereddened())
    np.testing.assert_array_equal(tolerant.read(rows), whole)
    assert tolerant.source.extinction_corrected
    assert not met


def test_a_corrected_copy_would_be_corrected_again_and_is_refused(make_file, tmp_path):
    clear = Cutouts.open(make_file(EBV=np.full(N, 0.1))).dereddened()
    with pytest.raises(DataError, match="copy them as they are stored"):
        pack(clear, tmp_path / "copy.h5", size_px=None, dtype="float32")
    assert not (tmp_path / "copy.h5").exists()
    with pytest.raises(DataError, match="copy them as they are stored"):
        write_parquet(clear, tmp_path / "copy", size_px=16, shard_rows=4, config={})


def test_two_surveys_are_corrected_together_or_not_at_all(make_file, capsys):
    one, other = (Cutouts.open(make_file(f"{n}.h5", EBV=np.full(N, 0.1))) for n in "ab")
    bare = Cutouts.open(make_file("bare.h5"))
    both = corrected_alike(one, other, wanted=True)
    assert [some.source.extinction_corrected for some in both] == [True, True]
    assert capsys.readouterr().out.count("corrected for Galactic extinction, E(B-V)") == 2
    assert corrected_alike(one, bare, wanted=True) == (one, bare)
    assert "neither is corrected" in capsys.readouterr().out
    assert corrected_alike(one, other, wanted=False) == (one, other)
    assert not capsys.readouterr().out
