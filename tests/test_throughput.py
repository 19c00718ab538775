"""The throughput benchmark: do its baselines make the views that we make?"""

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.throughput import __main__ as program
from benchmarks.throughput import measure
from benchmarks.throughput.cost import hours, table
from benchmarks.throughput.scaling import operations
from benchmarks.throughput.survey import NOISE_NMGY, draw_galaxies
from ssl_photoz.augment import survey
from ssl_photoz.augment.draws import generator
from ssl_photoz.augment.orient import orient
from ssl_photoz.augment.psf import widen
from ssl_photoz.augment.views import Views
from ssl_photoz.core.artefact import read_json
from ssl_photoz.cutouts.reader import Cutouts

CROP, SIZE, COPIES = 32, 64, 400


def test_contenders_take_turns_and_ratios_are_of_the_same_round():
    log = []

    def turn(name, rates):
        rates = iter(rates)
        return lambda: log.append(name) or next(rates)

    rates = measure.in_turn({"top": turn("top", [10, 20]), "one": turn("one", [5, 15])}, rounds=2)
    assert log == ["top", "one", "top", "one"]
    assert measure.ratios(rates, "top") == {"top": [1, 1], "one": [0.5, 0.75]}


def test_a_rate_counts_images_of_timed_steps_only():
    now = iter(range(100))
    rate = measure.rate_of(lambda: 8, seconds=2.5, clock=lambda: next(now))
    assert rate == pytest.approx(3 * 8 / 4)


@pytest.mark.parametrize("name", ["kornia", "torchvision"])
def test_baselines_make_our_views_of_the_same_draws(name):
    if name == "kornia":
        pytest.importorskip("kornia")
    from benchmarks.throughput import baselines

    flux = draw_galaxies(6, SIZE, generator=torch.Generator().manual_seed(1))
    flux[:, :, 20:25, 30:40] += 1.0  # nothing symmetric, and, below, nothing sharper than a PSF
    flux = widen(flux, extra_sigma_px=torch.full((6, 3), 1.3))
    drawn = baselines.draw_augmentations(torch.full((6,), 0.03), generator=generator(0))
    did = baselines.Augmentations(
        drawn.placed, drawn.blur_px.clamp(0, 1.5), drawn.passed, torch.zeros_like(drawn.noise)
    )
    theirs = getattr(baselines, f"by_{name}")(flux, did, crop_px=CROP)
    ours = orient(flux, crop_px=CROP, **did.placed._asdict())
    ours = widen(ours, extra_sigma_px=did.blur_px) * did.passed[..., None, None]
    inner = (..., slice(7, -7), slice(7, -7))  # edges are treated differently
    torch.testing.assert_close(theirs[inner], ours[inner], atol=5e-3, rtol=5e-3)


@pytest.fixture(scope="module")
def views():
    """Views of one galaxy, (2, COPIES, 3, CROP, CROP): ours, and one by one with scikit-image."""
    pytest.importorskip("skimage")
    from benchmarks.throughput.per_image import make_view

    noise = np.array(NOISE_NMGY)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    clean = 2.0 * np.exp(-((x / 4) ** 2 + (y / 2) ** 2) / 2) * np.ones((3, 1, 1))
    draws = np.random.default_rng(0)
    seen = clean + noise[:, None, None] * draws.normal(size=(COPIES, *clean.shape))
    ours = Views(crop_px=CROP)(
        torch.from_numpy(seen).float(),
        ebv_mag=torch.full((COPIES,), 0.5),
        noise=torch.from_numpy(noise).float().expand(COPIES, 3),
        generator=generator(1),
    )
    psf_px = np.array([survey.PSF_SIGMA_PX[band].median for band in "grz"])
    theirs = [
        make_view(
            image.transpose(1, 2, 0),
            crop_px=CROP,
            jitter_px=4.0,
            ebv_mag=0.5,
            psf_sigma_px=psf_px,
            noise_nmgy=noise,
            draws=draws,
        ).transpose(2, 0, 1)
        for image in seen
    ]
    return np.stack([ours.numpy(), np.stack(theirs)]).astype(np.float64)


def moments(view, band):
    """Flux, centroid, size and position angle of the galaxy in one band of views (N, 3, S, S)."""
    image = view[:, band]
    y, x = np.mgrid[:CROP, :CROP] - (CROP - 1) / 2
    image = image * (image > 0.1)
    flux = image.sum((1, 2))
    cx, cy = ((image * axis).sum((1, 2)) / flux for axis in (x, y))
    dx, dy = x - cx[:, None, None], y - cy[:, None, None]
    xx, yy, xy = ((image * q).sum((1, 2)) / flux for q in (dx**2, dy**2, dx * dy))
    return {
        "flux": flux,
        "column": cx,
        "row": cy,
        "size": xx + yy,
        "elongation": np.hypot(xx - yy, 2 * xy) / (xx + yy),
        "angle": np.arctan2(2 * xy, xx - yy),
    }


@pytest.mark.parametrize("band", [0, 1, 2])
def test_our_views_and_those_made_one_by_one_are_distributed_alike(views, band):
    ours, theirs = (moments(view, band) for view in views)
    for name in ours:
        assert stats.ks_2samp(ours[name], theirs[name]).pvalue > 0.002, name
    # Noise where no galaxy is: its size, and how like its neighbours a pixel is.
    corners = views[:, :, band, :5, :5]
    for measured in (corners.std((2, 3)), (corners[..., 1:] * corners[..., :-1]).mean((2, 3))):
        assert stats.ks_2samp(*measured).pvalue > 0.002


def test_colours_of_our_views_and_of_those_made_one_by_one_are_distributed_alike(views):
    flux = views[..., 8:-8, 8:-8].sum((3, 4))
    for one, other in ((0, 1), (1, 2)):
        assert stats.ks_2samp(*(flux[..., one] / flux[..., other])).pvalue > 0.002


def test_the_statistics_would_notice_a_wider_blur_or_less_noise(views):
    ours, theirs = views
    wide = widen(torch.from_numpy(ours).float(), extra_sigma_px=torch.full((COPIES, 3), 0.7))
    size = moments(wide.numpy().astype(np.float64), 1)["size"]
    assert stats.ks_2samp(size, moments(theirs, 1)["size"]).pvalue < 1e-4
    quiet = 0.9 * ours[:, 1, :5, :5]
    assert stats.ks_2samp(quiet.std((1, 2)), theirs[:, 1, :5, :5].std((1, 2))).pvalue < 1e-4


def run(tmp_path, what, **given):
    arguments = {"seconds": 0.1, "rounds": 1, "threads": torch.get_num_threads(), **given}
    folders = {"work": tmp_path / "work", "results": tmp_path / "results"}
    program.main(
        [f"{name}={value}" for name, value in {"what": what, **arguments, **folders}.items()]
    )
    return tmp_path / "results"


def test_reading_is_measured_for_every_storage(tmp_path):
    results = run(tmp_path, "read", rows=64, batch_size=16)
    rows = read_json(results / "read.json")["rows"]
    assert len({row["file"] for row in rows}) == 5
    assert {row["from"] for row in rows} == {"memory", "disk"}
    assert all(rate > 0 for row in rows for rate in row["images_per_s"])
    page = (results / "read.md").read_text()
    assert "SIMULATED" in page
    assert page.count("\n| ") == len(rows)


@pytest.mark.slow
def test_training_and_embedding_are_measured_beside_their_ceilings(tmp_path):
    given = {"rows": 64, "batch_size": 8, "crop_px": 34}
    results = run(tmp_path, "train,embed", **given)
    for name in ("train-resnet18-34", "embed-resnet18-34-1", "embed-resnet18-34-8"):
        found = read_json(results / f"{name}.json")
        assert all(len(rates) == 1 and rates[0] > 0 for rates in found["images_per_s"].values())
        assert found["ceiling"] in found["images_per_s"]
        assert found["ceiling"] in (results / f"{name}.md").read_text()


def test_unknown_settings_and_questions_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="no setting secs"):
        program.main(["secs=3"])
    with pytest.raises(SystemExit, match="what=tran is not one of"):
        program.main(["what=tran", f"work={tmp_path}", f"results={tmp_path}"])


def test_hours_are_operations_over_what_the_machine_does():
    assert hours(1e6, 50, 1e9, peak=1e13, share=0.5) == pytest.approx(1e4 / 3600)
    row = {"backbone": "resnet18", "crop_px": 64, "batch": 256, "peak_flop_per_s": 1e12}
    row |= {f"{kind}_flop": 1e9 for kind in ("train", "embed")}
    row |= {f"{kind}_images_per_s": 500.0 for kind in ("train", "embed")}
    here = next(line for line in table(row, "box") if line.startswith("| box"))
    # 250,000 galaxies 50 times at 500 per second, and 8 times.
    assert here.split("|")[2].split(" + ") == [" 6.9", "1.1 "]


def test_operations_are_counted_not_guessed():
    one = torch.ones(8, 16)
    assert operations(lambda: len(one @ torch.ones(16, 4))) == 2 * 8 * 16 * 4


@pytest.mark.slow
def test_shuffles_are_compared_on_a_file_whose_neighbours_are_alike(tmp_path, monkeypatch):
    from benchmarks.throughput import shuffle

    monkeypatch.setattr(shuffle, "SEEDS", (0, 1))
    monkeypatch.setattr(shuffle, "EPOCHS", 1)
    results = run(tmp_path, "shuffle", rows=400, batch_size=32, crop_px=34)
    found = read_json(results / "shuffle.json")
    assert found["simulated"] is True
    assert [len(scores) for scores in found["knn_sigma_nmad"].values()] == [2, 2, 2]
    assert "SIMULATED" in (results / "shuffle.md").read_text()
    with Cutouts.open(tmp_path / "work" / "survey-400-by-seeing.h5") as cutouts:
        assert (np.diff(cutouts.column("psfsize")[:, 1]) >= 0).all()
        order = np.argsort(cutouts.column("id"))
        with Cutouts.open(tmp_path / "work" / "survey-400.h5") as unsorted:
            np.testing.assert_array_equal(cutouts.read(order[:5]), unsorted.read(range(5)))
