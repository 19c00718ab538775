"""Fit probes and densities to the training split, score them on the others, compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.artefact import PROBES, read_predictions, read_probe_card
from ssl_photoz.photoz.base import Probe
from ssl_photoz.photoz.calibration import Calibration
from ssl_photoz.photoz.density import Density, DensityProbe, grid_for
from ssl_photoz.photoz.diagnostics import diagnose
from ssl_photoz.photoz.knn import NeighbourDensity
from ssl_photoz.photoz.label_coverage import LabelCoverage, drawn_labels, outside
from ssl_photoz.photoz.labels import ENOUGH_TO_CALIBRATE, FOLDS, Labelled, read_rows
from ssl_photoz.photoz.networks import Mixture
from ssl_photoz.photoz.scores import by_coverage, compare, score, shared_galaxies
from ssl_photoz.photoz.settings import Features, LabelConfig, Method

MOST_SAMPLED = 100_000  # galaxies of the embeddings whose distribution stands for all
ESTIMATE_ERROR = 0.02  # of z / (1 + z), what an estimate is off by about


class Outcome(NamedTuple):
    """What came of an experiment.

    Attributes:
        probes: Name to fitted probe.
        scores: Name to split (``val``, ``test``) to all that `scores.score` says.
        predictions: Columns of the test-split table.
    """

    probes: dict[str, Probe]
    scores: dict[str, dict[str, Any]]
    predictions: dict[str, Array]


def cover(
    embeddings: Embeddings,
    splits: Mapping[str, Labelled],
    config: LabelConfig,
    *,
    features: Features,
    seed: int,
) -> tuple[LabelCoverage, Labelled]:
    """How labels cover all galaxies of the embeddings, and the training labels that are used.

    Args:
        embeddings: The store.
        splits: Labelled galaxies; ``train`` covers, ``val`` says how well is well enough.
        config: How training labels are drawn, and whether their errors count.
        features: Vectors of the galaxies.
        seed: Seed of every random choice.

    Raises:
        DataError: If the map has more cells than labels, or errors are to count and there are none.
    """
    train, rng = splits["train"], np.random.default_rng(seed)
    if config.smooth and train.z_error is None:
        raise DataError(
            "smooth=true, but the labels have no errors; expected sources= with the errors of "
            "each source of labels"
        )
    rows = np.sort(rng.permutation(len(embeddings))[:MOST_SAMPLED])
    coverage = LabelCoverage.fit(
        (train.features, train.z),
        splits["val"].features,
        read_rows(embeddings, features, rows),
        side=config.side,
        seed=seed,
    )
    error = np.zeros(len(train)) if train.z_error is None else train.z_error
    trust = np.ones(len(train)) if train.trust is None else train.trust
    used, weight = drawn_labels(coverage, config, trust=trust, z_error=error, seed=seed)
    drawn = replace(train.take(used), weight=weight)
    return coverage, drawn if config.smooth else replace(drawn, z_error=None)


def weight_of(train: Labelled) -> Doubles | None:
    """Weights of labels for probes that answer with a number, (N,); None if all are the same.

    A label of error e counts 1 / (1 + (e / 0.02)^2) as much as an exact one, in z / (1 + z): its
    variance beside that of an estimate.
    """
    if train.z_error is None:
        return train.weight
    exact = 1 / (1 + (train.z_error / (1 + train.z) / ESTIMATE_ERROR) ** 2)
    return np.asarray(exact if train.weight is None else exact * train.weight)


def fit_and_score(
    splits: Mapping[str, Labelled],
    names: Sequence[str],
    *,
    seed: int,
    coverage: LabelCoverage | None = None,
) -> Outcome:
    """Fit each probe to ``train``, with choices made on ``val``; score on ``val`` and ``test``.

    Args:
        splits: ``train``, ``val`` and ``test``.
        names: Keys of `PROBES`.
        seed: Seed of every random choice.
        coverage: How labels cover the galaxies: test galaxies are scored inside and outside of
            them too, and the table has its columns.
    """
    train, val, test = (splits[split] for split in ("train", "val", "test"))
    outcome = Outcome({}, {}, test.columns())
    weight = weight_of(train)
    covered = {} if coverage is None else coverage.columns(test.features)
    outcome.predictions.update(covered)
    for name in names:
        probe = PROBES[name](seed=seed)
        probe.fit(
            train.features,
            train.z,
            validation=(val.features, val.z),
            ids=train.id,
            sample_weight=weight,
        )
        tested = probe.estimate(test.features, ids=test.id)
        outcome.probes[name] = probe
        outcome.scores[name] = {
            "test": score(tested, test),
            "val": score(probe.estimate(val.features, ids=val.id), val),
        }
        if covered:
            apart = by_coverage(tested.z_phot, test.z, outside(covered))
            outcome.scores[name]["test"]["label_coverage"] = apart
        outcome.predictions.update(tested.columns(name))
    return outcome


def compare_with(predictions: Mapping[str, Array], folders: Sequence[Path]) -> list[Any]:
    """Compare every probe with the mean, and with its namesake in other probe folders.

    A folder without a namesake that holds a single estimate, such as a network trained end to
    end, is compared with every probe.

    Raises:
        ArtefactError: If a folder is no finished probe.
        MismatchError: If a folder has several probes, none of the same name.
    """
    prefix = "z_phot_"
    names = [c.removeprefix(prefix) for c in predictions if c.startswith(prefix)]
    names.remove("mean")
    said = compare(predictions, predictions, dict.fromkeys(names, "mean"), "predicting the mean")
    for folder in folders:
        theirs = read_predictions(folder)
        shared = pair_up(names, theirs, folder)
        label = read_probe_card(folder).label
        said += compare(predictions, theirs, shared, label)
    return said


def require_comparable(
    names: Sequence[str], folders: Sequence[Path], test: Labelled | None = None
) -> None:
    """Check, before it costs a fit, that estimates can be compared with those of other folders.

    Args:
        names: Names of the estimators.
        folders: Other probe folders.
        test: The test galaxies, where they are known.

    Raises:
        ArtefactError: If a folder is no finished probe.
        MismatchError: If a folder has several probes, none of these names.
        DataError: If fewer than 10 of the test galaxies are in its table.
    """
    for folder in folders:
        theirs = read_predictions(folder)
        pair_up(names, theirs, folder)
        if test is not None:
            mine = {"id": test.id, "ra": test.ra, "dec": test.dec}
            shared_galaxies(mine, theirs, read_probe_card(folder).label)


def pair_up(names: Sequence[str], theirs: Mapping[str, Array], folder: Path) -> dict[str, str]:
    """Which estimate of another folder's table each probe is compared with.

    Raises:
        MismatchError: If the folder has several probes, none of the same name.
    """
    prefix = "z_phot_"
    others = [c.removeprefix(prefix) for c in theirs if c.startswith(prefix)]
    others = [name for name in others if name != "mean"]
    shared = {name: name for name in names if name in others}
    if not shared and len(others) == 1:
        shared = dict.fromkeys(names, others[0])
    if not shared:
        raise MismatchError(
            f"{folder} holds none of the probes {', '.join(names)} to compare with; fit the "
            f"same probes there, or leave it out of versus="
        )
    return shared


@dataclass(frozen=True)
class Calibrated:
    """A fitted probe, and what bends its densities so that truths fall evenly in them.

    Attributes:
        probe: What gives the densities.
        calibration: What bends them.
        calibrators: Which galaxies that was fitted to.
        n: Number of them.
    """

    probe: DensityProbe
    calibration: Calibration
    calibrators: str
    n: int

    def density(self, features: Floats, *, ids: Array | None = None) -> Density:
        """Calibrated density of each galaxy."""
        return self.calibration.apply(self.probe.density(features, ids=ids))


def fit_calibrated(
    train: Labelled, val: Labelled, *, method: Method, train_calibrates: bool = True, seed: int = 0
) -> Calibrated:
    """Fit a probe to ``train``, choose settings on ``val``, calibrate on galaxies left out.

    Validation both chooses and calibrates. What is chosen there is two or three numbers, too few to
    flatter the calibration. But n galaxies leave an error in it of about 0.87 / sqrt(n) in KS
    distance, so with fewer than 5,000 of them the training galaxies calibrate too, each by a
    density fitted without it: leaving out one (knn) or a fifth (mlp, five more fits).

    Args:
        train: Galaxies to fit to.
        val: Galaxies to choose settings on: the space of knn, the last epoch of mlp.
        method: Neighbours, or a mixture density network.
        train_calibrates: Whether the training galaxies may calibrate. Not if the encoder has
            learnt from their redshifts.
        seed: Seed of every random choice.
    """
    grid = grid_for(np.concatenate([train.z, val.z]))
    probe = _fit(train, val, method=method, grid=grid, seed=seed)
    placed = [_place(probe, val)]
    calibrators = "validation"
    if train_calibrates and len(val) < ENOUGH_TO_CALIBRATE:
        calibrators = "validation and left-out training galaxies"
        if isinstance(probe, NeighbourDensity):
            placed.append(_place(probe, train))
        else:
            placed += _cross_fitted(train, val, method=method, grid=grid, seed=seed)
    pit, z_phot = (np.concatenate(parts) for parts in zip(*placed, strict=True))
    return Calibrated(probe, Calibration.fit(pit, z_phot), calibrators, len(pit))


def score_calibrated(
    fitted: Calibrated, test: Labelled, *, by: Mapping[str, Array]
) -> tuple[Density, dict[str, Any]]:
    """Calibrated densities of the test galaxies and how good they are.

    Args:
        fitted: Probe fitted to other galaxies.
        test: Galaxies to score on.
        by: More quantities to bin residuals by, shape (N,) each.

    Returns:
        The densities, and `diagnose` of them (``test``) and of those before calibration
        (``test_uncalibrated``, for comparison: nothing is chosen by it).
    """
    before = fitted.probe.density(test.features, ids=test.id)
    density = fitted.calibration.apply(before)
    return density, {
        "test": diagnose(density, test.z, by=by),
        "test_uncalibrated": diagnose(before, test.z),
    }


def _fit(
    train: Labelled, val: Labelled, *, method: Method, grid: Doubles, seed: int
) -> DensityProbe:
    kind = Mixture if method == "mlp" else NeighbourDensity
    probe: DensityProbe = kind(grid=grid, seed=seed)
    return probe.fit(
        train.features,
        train.z,
        validation=(val.features, val.z),
        ids=train.id,
        sample_weight=train.weight,
        z_error=train.z_error,
    )


def _cross_fitted(
    train: Labelled, val: Labelled, *, method: Method, grid: Doubles, seed: int
) -> list[tuple[Doubles, Doubles]]:
    """Place each fifth of the training galaxies in densities fitted to the other four."""
    fold = np.random.default_rng(seed).permutation(len(train)) % FOLDS
    placed = []
    for number in tqdm(range(FOLDS), desc="folds", leave=False):
        probe = _fit(train.take(fold != number), val, method=method, grid=grid, seed=seed)
        placed.append(_place(probe, train.take(fold == number)))
    return placed


def _place(probe: DensityProbe, some: Labelled) -> tuple[Doubles, Doubles]:
    """Where true redshifts fall in the densities, and the medians of these; (N,) each."""
    density = probe.density(some.features, ids=some.id)
    return density.cdf_at(some.z), density.median()
