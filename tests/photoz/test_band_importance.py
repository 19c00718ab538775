import numpy as np
import pytest

from ssl_photoz.photoz.band_importance import draw_losses, losses, table_of
from ssl_photoz.photoz.metrics import summarise

N = 400


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    z = rng.uniform(0.05, 0.4, N)
    best = z + rng.normal(0, 0.01, N)
    noisier = [best + rng.normal(0, 0.05, N) for _ in range(3)]
    return z, best, noisier, losses(z, best, {"permuted": {"u": noisier, "g": [best]}})


def test_a_loss_is_the_difference_of_the_metrics(found):
    z, best, noisier, rows = found
    one = next(row for row in rows if (row.band, row.metric) == ("u", "rmse"))
    wanted = np.mean([summarise(draw, z).rmse for draw in noisier]) - summarise(best, z).rmse
    assert one.value == pytest.approx(wanted)
    assert one.value > 5 * one.error > 0


def test_a_band_that_changes_nothing_loses_nothing(found):
    assert all(row.value == row.error == 0 for row in found[3] if row.band == "g")


def test_table_and_figure_name_every_band_and_way(found, tmp_path):
    z, best, noisier, _ = found
    rows = losses(z, best, {"permuted": {"u": noisier, "g": [best]}, "left_out": {"u": [best]}})
    said = table_of(rows).splitlines()
    assert [line.split()[0] for line in said] == ["band", "u", "g", "u"]
    assert "retrained" in said[-1]
    draw_losses(tmp_path / "bands.png", rows, title="SIMULATED")
    assert (tmp_path / "bands.png").stat().st_size > 5000
