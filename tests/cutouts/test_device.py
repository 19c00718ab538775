import h5py
import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.cutouts.batches import Batches, read_batch
from ssl_photoz.cutouts.device import GpuResident, HalfPrecision, bytes_of, for_training
from ssl_photoz.cutouts.reader import Cutouts

CPU = torch.device("cpu")


@pytest.fixture(params=["float32", "uint8"])
def cutouts(tmp_path, request):
    path = tmp_path / "cutouts.h5"
    draws = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        if request.param == "uint8":
            file["images"] = draws.integers(0, 256, (40, 3, 12, 12), np.uint8)
        else:
            file["images"] = draws.normal(0, 0.004, (40, 3, 12, 12)).astype(np.float32)
        file["RA"], file["DEC"] = draws.uniform(0, 9, 40), draws.uniform(0, 9, 40)
    with Cutouts.open(path) as opened:
        yield opened


def test_a_gpu_is_given_every_pixel_rounded_to_half_precision(cutouts):
    rows = np.array([7, 3, 30])
    batch = read_batch(HalfPrecision(cutouts), rows).to("cpu")
    exact = read_batch(cutouts, rows).flux
    assert batch.flux.dtype == torch.float32
    if cutouts.source.dtype == "uint8":
        assert torch.equal(batch.flux, exact)
    else:
        assert (batch.flux - exact).abs().max() <= 2**-11 * exact.abs().max()
        assert torch.equal(batch.flux, exact.half().float())


@pytest.mark.parametrize("block_rows", [1, 4])
@pytest.mark.parametrize("size_px", [None, 8])
def test_held_cutouts_make_the_same_batches_as_streamed_ones(cutouts, block_rows, size_px):
    rows = np.setdiff1d(np.arange(len(cutouts)), [5, 11])
    given = {"batch_size": 8, "seed": 1, "block_rows": block_rows, "window_rows": 16}
    given["size_px"] = size_px
    held = list(Batches(GpuResident(cutouts, rows, CPU), rows, **given))
    streamed = list(Batches(HalfPrecision(cutouts), rows, **given))
    assert len(held) == len(streamed) == 4
    for one, other in zip(held, streamed, strict=True):
        assert np.array_equal(one.rows, other.rows)
        assert torch.equal(one.to("cpu").flux, other.to("cpu").flux)


def test_held_cutouts_are_read_from_the_file_once(cutouts, monkeypatch):
    held = GpuResident(cutouts, np.arange(len(cutouts)), CPU)
    monkeypatch.setattr(cutouts.stored, "read", lambda *_, **__: pytest.fail("read again"))
    assert len(held.tensor(np.array([1, 1, 39]))) == 3
    assert held.source is cutouts.source
    assert len(held) == len(cutouts)


def test_memory_needed_is_that_of_the_pixels_held(cutouts):
    rows = np.arange(0, 40, 2)
    held = GpuResident(cutouts, rows, CPU)
    assert bytes_of(cutouts, rows) == held._pixels.numel() * held._pixels.element_size()


def test_a_processor_reads_the_file_itself(cutouts):
    assert for_training(cutouts, np.arange(40), device=CPU, resident=None) is cutouts
    with pytest.raises(ConfigError, match="needs a GPU"):
        for_training(cutouts, np.arange(40), device=CPU, resident=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("resident", [True, False, None])
def test_a_gpu_gets_the_same_numbers_resident_or_streamed(cutouts, resident):
    rows = np.arange(len(cutouts))
    source = for_training(cutouts, rows, device=torch.device("cuda", 0), resident=resident)
    batch = read_batch(source, rows[:8]).pinned().to("cuda")
    assert torch.equal(
        batch.flux.cpu(), read_batch(HalfPrecision(cutouts), rows[:8]).to("cpu").flux
    )
