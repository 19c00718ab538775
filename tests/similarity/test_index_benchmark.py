import numpy as np
import pytest

from benchmarks.similarity import __main__ as program
from benchmarks.similarity import stages
from benchmarks.similarity.pages import write_pages
from benchmarks.similarity.vectors import DIM, draw
from ssl_photoz.core.artefact import read_json

ROWS = 3000


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The benchmark at a tiny size, its stages in this process."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "apart", lambda stage, *given: stage(*given))
        patch.setattr(program.os, "environ", {})
        patch.setattr(stages, "SLOW_BATCH", 20)
        asked = [
            *("types=auto,ivf_flat,ivf_sq8", "baselines=flat,scikit_learn,nowhere"),
            *(f"work={folder}", f"results={folder / 'results'}", "threads=1"),
        ]
        program.main([str(ROWS), *asked])
    return folder


def test_every_index_and_baseline_is_measured(measured):
    result = read_json(measured / "results" / f"{ROWS}.json")
    assert result["simulated"] is True
    assert list(result["ours"]) == ["auto", "ivf_flat", "ivf_sq8"]
    assert list(result["baselines"]) == ["flat", "scikit_learn"]
    assert result["baselines"]["scikit_learn"]["recall_at_10"] == pytest.approx(1, abs=0.005)
    assert result["ours"]["auto"]["recall_at_10"] == pytest.approx(1, abs=0.001)
    for one in result["ours"].values():
        assert 0.9 < one["recall_at_10"] <= 1
        assert 0 < one["p50_ms"] <= one["p99_ms"]


def test_the_pages_say_what_they_are(measured):
    results, scale = (
        (measured / name).read_text(encoding="utf-8") for name in ("RESULTS.md", "SCALE.md")
    )
    assert "SYNTHETIC" in results
    assert "3,000 vectors" in results
    assert "EXTRAPOLATED" in scale
    before = results
    write_pages(measured / "results")
    assert (measured / "RESULTS.md").read_text(encoding="utf-8") == before


def test_extrapolated_bytes_are_those_measured_times_the_galaxies(measured):
    one = read_json(measured / "results" / f"{ROWS}.json")["ours"]["ivf_sq8"]
    held = one["index_bytes"] / ROWS
    lines = (measured / "SCALE.md").read_text(encoding="utf-8").splitlines()
    cells = next(line for line in lines if line.startswith("| ivf_sq8")).split("|")
    assert float(cells[3].replace(",", "")) == pytest.approx(held * 1e8 / 1e9, abs=0.5)


def test_a_baseline_that_is_absent_is_left_out_aloud(capsys):
    assert not program._is_there("nowhere_to_be_found")
    assert "LEFT OUT: nowhere_to_be_found" in capsys.readouterr().out


def test_draws_repeat_and_cluster():
    one, again, other = draw(3, 500), draw(3, 500), draw(4, 500)
    np.testing.assert_array_equal(one, again)
    assert one.shape == (500, DIM)
    assert not np.array_equal(one, other)
    spread = np.linalg.svd(draw(0, 4000) - draw(0, 4000).mean(axis=0), compute_uv=False) ** 2
    assert spread[:10].sum() > 0.4 * spread.sum()
