"""All chosen steps, one after another: estimates of galaxies whose redshift nobody knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.base import to_target
from ssl_photoz.photoz.bias.calibration import (
    CellCalibration,
    Expected,
    expected_distribution,
    resampling_weights,
)
from ssl_photoz.photoz.bias.cells import Cells
from ssl_photoz.photoz.bias.steps import COLUMNS, FITTED, Recipe, Step
from ssl_photoz.photoz.labels import Labelled

ENOUGH = 5_000
FOLDS = 5
ROWS, ESTIMATES = 4, 12


def correct(
    train: Labelled,
    val: Labelled,
    target: Labelled,
    steps: Sequence[Step],
    *,
    recipe: Recipe,
    expected: Expected,
    train_calibrates: bool,
) -> dict[str, dict[str, Doubles]]:
    """Fit, correct, answer.

    Args:
        train: To fit to.
        val: To choose by, and to calibrate on.
        target: To answer for; its redshifts are not looked at.
        steps: Which of the four, in any order.
        recipe: How heads are fitted.
        expected: See `calibration.expected_distribution`.
        train_calibrates: Whether training galaxies, estimated without themselves, calibrate too
            where validation galaxies are fewer than 5,000. Not if the encoder knows their labels.

    Returns:
        ``val`` and ``test`` (the target) to name (``uncorrected``, then one for each step, those
        before it included) to estimates of ln(1+z), shape (N,).
    """
    heads = recipe.fit(train, val, steps)
    answers = {
        side: {name: recipe.answer(head, some.features) for name, head in heads.items()}
        for side, some in (("val", val), ("test", target))
    }
    if "calibrated" in steps:
        last = list(heads)[-1]
        held_out, phot = val, answers["val"][last]
        if train_calibrates and len(val) < ENOUGH:
            phot = np.concatenate([phot, cross_fitted(train, val, steps, recipe=recipe)])
            held_out = _joined(val, train)
        calibration = calibrate(
            phot,
            to_target(held_out.z),
            known(held_out),
            answers["test"][last],
            known(target),
            expected=expected,
        )
        for side, some in (("val", val), ("test", target)):
            answers[side]["calibrated"] = calibration.apply(answers[side][last], known(some))
    return answers


def calibrate(
    phot: Array,
    spec: Array,
    magnitude: Array,
    target_phot: Array,
    target_magnitude: Array,
    *,
    expected: Expected,
) -> CellCalibration:
    """Measure step 4 on held-out galaxies, weighted to what is expected of the target.

    Args:
        phot: Estimates of ln(1+z) of galaxies they were not fitted to, shape (N,).
        spec: Their true ln(1+z).
        magnitude: Their magnitudes.
        target_phot: Estimates of the target's galaxies, shape (M,).
        target_magnitude: Their magnitudes.
        expected: See `calibration.expected_distribution`.
    """
    cells = Cells.over(magnitude, spec, rows=ROWS, columns=COLUMNS)
    wanted = expected_distribution(
        cells, spec, magnitude, target_phot, target_magnitude, how=expected
    )
    weight = resampling_weights(cells, spec, magnitude, wanted)
    return CellCalibration.fit(phot, spec, magnitude, weight, rows=ROWS, columns=ESTIMATES)


def cross_fitted(
    train: Labelled, val: Labelled, steps: Sequence[Step], *, recipe: Recipe
) -> Doubles:
    """Estimate each fifth of the training galaxies by heads fitted to the other four, (N,)."""
    fold = np.random.default_rng(recipe.seed).permutation(len(train)) % FOLDS
    answer = np.empty(len(train))
    fitted = [step for step in steps if step in FITTED]
    for number in tqdm(range(FOLDS), desc="folds", leave=False):
        out = fold == number
        heads = recipe.fit(train.take(~out), val, fitted, before=False)
        answer[out] = recipe.answer(list(heads.values())[-1], train.features[out])
    return answer


def known(some: Labelled) -> Array:
    """Return the magnitudes of galaxies that were read with one."""
    assert some.magnitude is not None
    return some.magnitude


def _joined(one: Labelled, other: Labelled) -> Labelled:
    fields: Mapping[str, Array] = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("features", "z", "id", "ra", "dec", "magnitude")
    }
    return Labelled(**fields)
