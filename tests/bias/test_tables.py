import numpy as np
import pytest

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.photoz.base import Prediction, to_redshift, to_target
from ssl_photoz.photoz.bias.cells import Cells
from ssl_photoz.photoz.bias.steps import Recipe
from ssl_photoz.photoz.bias.tables import Estimates, balanced_density, correct_estimates
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.metrics import residuals
from ssl_photoz.photoz.settings import CorrectionConfig


def recipe_of(train, *steps):
    config = CorrectionConfig(steps=steps, bins=40, channels=2, kept=0.3)
    return Recipe.of(train, config, seed=0)


@pytest.fixture
def splits(survey):
    return {
        split: survey(n, seed=seed)
        for seed, (split, n) in enumerate({"train": 4000, "val": 3000, "test": 3000}.items())
    }


def drawn_in(some, slope=0.5):
    """Estimates that are drawn to ln(1+z) = 0.12."""
    target = 0.12 + slope * (to_target(some.z) - 0.12)
    z_phot = to_redshift(target)
    return Prediction(z_phot, z_phot - 0.02, z_phot + 0.02)


def test_any_table_can_be_calibrated_on_its_validation_galaxies(splits, tmp_path):
    known = [drawn_in(splits[split]) for split in ("val", "test")]
    columns = {
        name: np.concatenate([getattr(one, name) for one in known])
        for name in ("z_phot", "z_lo", "z_hi")
    }
    ids = np.concatenate([splits[split].id for split in ("val", "test")])
    order = np.random.default_rng(0).permutation(len(ids))
    table = {"id": ids, **columns}
    path = tmp_path / "photoz.csv"
    write_table(path, {name: values[order] for name, values in table.items()}, simulated=True)
    predicted, some = correct_estimates(
        Estimates.read(path),
        splits,
        recipe=recipe_of(splits["train"], "calibrated"),
    )
    assert set(some["test"].id) == set(splits["test"].id)
    before, after = (predicted[step]["test"] for step in ("uncorrected", "calibrated"))
    for edge in (some["test"].z < 0.08, some["test"].z > 0.2):
        wrong = [np.abs(residuals(p.z_phot, some["test"].z)[edge].mean()) for p in (before, after)]
        assert wrong[1] < 0.3 * wrong[0]
    assert (after.z_lo < after.z_phot).all()
    assert (after.z_phot < after.z_hi).all()


def test_balanced_densities_are_those_of_another_prior():
    """Gaussian times Gaussian: dividing a prior out leaves the likelihood."""
    grid = np.linspace(0, 0.5, 501)
    rng = np.random.default_rng(0)
    train = rng.normal(0.2, 0.03, 400_000)
    cells = Cells(np.array([18.0]), np.linspace(0.0, 0.42, 300))
    recipe = Recipe(None, cells, CorrectionConfig(kept=1e-9), 0)
    counts = np.histogram(to_target(train), np.concatenate([[-9], cells.target_edges, [9]]))[0]
    weights = 1 / np.maximum(np.stack([counts, counts]), 1)
    likelihood = np.exp(-0.5 * ((grid - 0.23) / 0.02) ** 2)
    posterior = Density.of(
        grid, likelihood * np.exp(-0.5 * ((grid - 0.2) / 0.03) ** 2) * np.ones((1, 1))
    )
    balanced = balanced_density(posterior, np.array([1]), weights, recipe)
    assert posterior.median()[0] < 0.225
    assert balanced.median()[0] == pytest.approx(0.23, abs=0.002)


def test_steps_that_need_features_or_densities_are_refused(splits):
    estimates = Estimates(splits["test"].id, drawn_in(splits["test"]), None)
    with pytest.raises(ConfigError, match="fit a head to features"):
        correct_estimates(estimates, splits, recipe=recipe_of(splits["train"], "channels"))
    with pytest.raises(ConfigError, match="needs densities"):
        correct_estimates(estimates, splits, recipe=recipe_of(splits["train"], "balanced"))
    with pytest.raises(DataError, match="0 galaxies of the validation split"):
        correct_estimates(estimates, splits, recipe=recipe_of(splits["train"], "calibrated"))


def test_other_tables_are_refused(tmp_path):
    write_table(tmp_path / "a.csv", {"id": np.arange(3), "z_phot": np.ones(3)}, simulated=False)
    with pytest.raises(DataError, match="no column z_hi, z_lo"):
        Estimates.read(tmp_path / "a.csv")
