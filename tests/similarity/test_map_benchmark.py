import numpy as np
import pytest

from benchmarks.map import __main__ as program
from benchmarks.map import stages
from benchmarks.map.pages import write_page
from benchmarks.map.vectors import CROWDS, DIM, ISLANDS, draw
from ssl_photoz.core.artefact import read_json

ROWS = 1500


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The benchmark at a tiny size, its stages in this process."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "apart", lambda stage, *given: stage(*given))
        patch.setattr(program.os, "environ", dict(program.os.environ))
        asked = ["ways=command,ours,pca", "limit=600", "threads=1", f"work={folder}"]
        program.main([str(ROWS), *asked, f"results={folder / 'results'}"])
    return folder


def test_umap_is_trusted_more_than_two_components(measured):
    result = read_json(measured / "results" / f"simulated-{ROWS}.json")
    assert result["simulated"] is True
    assert (result["rows"], result["dim"], result["limit"]) == (ROWS, DIM, 600)
    ways = result["ways"]
    assert list(ways) == ["command", "ours", "pca"]
    assert ways["ours"]["trustworthiness"] > ways["pca"]["trustworthiness"] + 0.05
    # The same vectors, seed and limit: the command's map is ours, to what rounding does to it.
    ours = ways["ours"]["trustworthiness"]
    assert ways["command"]["trustworthiness"] == pytest.approx(ours, abs=0.01)


def test_the_page_says_what_it_is(measured):
    page = (measured / "RESULTS.md").read_text(encoding="utf-8")
    assert "SIMULATED" in page
    assert "1,500 galaxies of 512 numbers" in page
    write_page(measured / "results")
    assert (measured / "RESULTS.md").read_text(encoding="utf-8") == page


def test_islands_alone_are_kept_and_scattered_ones_are_not():
    crowd = np.repeat([0, CROWDS, CROWDS + 1], [100, 10, 10])
    apart = np.stack([crowd * 100.0, np.arange(120) % 10], axis=1)
    assert stages.islands_kept(apart, crowd) == 1
    mixed = np.random.default_rng(0).uniform(size=(120, 2))
    assert stages.islands_kept(mixed, crowd) < 0.3


def test_draws_repeat_and_hold_rare_islands():
    vectors, z, crowd = draw(3, 20_000)
    np.testing.assert_array_equal(vectors, draw(3, 20_000)[0])
    assert vectors.shape == (20_000, DIM)
    rare = np.mean(crowd >= CROWDS)
    assert rare == pytest.approx(ISLANDS * 0.0002, abs=0.001)
    assert (z > 0).all()
