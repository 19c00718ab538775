"""Each step lowers the residual that it is made for, on galaxies whose bias is known."""

import numpy as np
import pytest

from ssl_photoz.photoz.base import to_redshift
from ssl_photoz.photoz.bias.outcome import describe
from ssl_photoz.photoz.bias.steps import Recipe, correct_features
from ssl_photoz.photoz.settings import STEPS, CorrectionConfig

pytestmark = pytest.mark.usefixtures("quick")
SEEDS = range(3)


def run(survey, steps, *, seed=0, point="mean", target=None, sizes=(1800, 500, 1800)):
    train, val, test = (survey(n, seed=10 * seed + i) for i, n in enumerate(sizes, 1))
    config = CorrectionConfig(steps=steps, bins=40, channels=3, kept=0.3, point=point)
    recipe = Recipe.of(train, config, seed=seed)
    test = test if target is None else target(test)
    answers = correct_features(train, val, test, recipe=recipe, train_calibrates=True)
    return test, answers


@pytest.fixture(scope="module")
def sizes():
    """Measured once for every seed: step to what `describe` says of the test galaxies."""
    return {}


@pytest.fixture
def described(sizes, survey):
    for seed in SEEDS:
        if seed not in sizes:
            test, answers = run(survey, STEPS, seed=seed)
            estimates = {step: to_redshift(a) for step, a in answers["test"].items()}
            sizes[seed] = (describe(estimates, test.z), estimates, test)
    return sizes


def test_uncorrected_estimates_are_drawn_to_the_crowd(described):
    for said, _, _ in described.values():
        bias = [b["bias"] for b in said["uncorrected"]["z_spec"]]
        assert bias[0] > 0.01
        assert bias[-1] < -0.01


@pytest.mark.parametrize(
    ("step", "before", "kind"),
    [
        ("balanced", "channels", "size_z_spec"),
        ("extended", "balanced", "size_z_spec"),
        ("calibrated", "extended", "size_z_phot"),
    ],
)
def test_a_step_lowers_the_residual_it_is_made_for(described, step, before, kind):
    pairs = [(said[step][kind], said[before][kind]) for said, _, _ in described.values()]
    assert all(after < 0.8 * once for after, once in pairs), pairs


def test_the_two_kinds_of_residual_cannot_both_be_none(described):
    """What calibration gives in z_phot it takes in z_spec: the paper's reason for a step apart."""
    for said, _, _ in described.values():
        assert said["calibrated"]["size_z_spec"] > said["extended"]["size_z_spec"]
        assert said["extended"]["size_z_phot"] > said["calibrated"]["size_z_phot"]


def test_extended_estimates_reach_further(described):
    for _, estimates, _ in described.values():
        ends = {step: (z.min(), z.max()) for step, z in estimates.items()}
        assert ends["extended"][0] < ends["balanced"][0]
        assert ends["extended"][1] > ends["balanced"][1]


def test_each_step_can_be_left_out(survey, hasty):
    for steps in (("balanced",), ("extended",), ("calibrated",), ("channels", "calibrated")):
        _, answers = run(survey, steps, sizes=(150, 60, 50))
        assert list(answers["test"]) == ["uncorrected", *steps]
        assert all(np.isfinite(a).all() for a in answers["test"].values())


def test_redshifts_of_the_target_are_not_looked_at(survey, hasty):
    def spoil(test):
        return type(test)(**{**vars(test), "z": np.full(len(test), np.nan)})

    (_, one), (_, other) = (
        run(survey, STEPS, sizes=(150, 60, 60), target=target) for target in (None, spoil)
    )
    for step, answer in one["test"].items():
        np.testing.assert_array_equal(answer, other["test"][step])


def test_the_mode_is_a_bin_and_soft_labels_uncrowd_it(survey):
    test, answers = run(survey, ("channels", "balanced", "extended"), point="mode")
    said = describe({step: to_redshift(a) for step, a in answers["test"].items()}, test.z)
    assert len(np.unique(answers["test"]["balanced"])) <= 40
    assert said["extended"]["total_variation"] < said["balanced"]["total_variation"]
