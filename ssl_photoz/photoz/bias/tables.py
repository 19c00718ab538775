"""Corrections of a table that any estimator made: predictions in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ssl_photoz.catalog.identity import identity_of, pair_galaxies
from ssl_photoz.catalog.ids import exact_ids
from ssl_photoz.catalog.redshifts import numbers_of
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.base import Prediction, to_redshift, to_target
from ssl_photoz.photoz.bias.cells import balance_weights, most_per_cell
from ssl_photoz.photoz.bias.steps import BEFORE, Recipe, calibrate, magnitudes_of
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import GRID, read_densities
from ssl_photoz.photoz.labels import FEWEST_LABELS, Labelled
from ssl_photoz.photoz.settings import Expected

NAMES = ("z_phot", "z_lo", "z_hi")
Predicted = dict[str, dict[str, Prediction]]


@dataclass(frozen=True)
class Estimates:
    """Estimates of some galaxies, as a table had them.

    Attributes:
        id: Shape (N,).
        prediction: ``z_phot``, ``z_lo`` and ``z_hi``.
        density: Densities of the same galaxies, if the table had any.
        place: Right ascension and declination, degrees, NaN where unknown; (N,) each. None: all
            unknown.
    """

    id: Array
    prediction: Prediction
    density: Density | None
    place: tuple[Array, Array] | None = None

    @classmethod
    def read(cls, path: Path) -> Estimates:
        """Read a table of `predict` or of `probe density=true`, or one with the same columns.

        Raises:
            DataError: If a column is missing, or the file cannot be read.
        """
        density = None
        if path.suffix == ".parquet" and path.is_file() and GRID in _metadata(path):
            columns, density = read_densities(path)
        else:
            columns = read_table(path)
        if lacking := {"id", *NAMES} - set(columns):
            raise DataError(
                f"{path} has no column {', '.join(sorted(lacking))}; expected the table of "
                f"predict rows=all, or of probe density=true"
            )
        prediction = Prediction(*(_real(columns[name]) for name in NAMES))
        _, ra, dec = identity_of(columns)
        place = numbers_of(ra)[0], numbers_of(dec)[0]
        return cls(exact_ids(path, "id", columns["id"]), prediction, density, place)

    def of(self, some: Labelled) -> tuple[Labelled, Estimates]:
        """Galaxies that are in both, and their estimates, in one order."""
        _, *nowhere = identity_of({"id": self.id})
        ra, dec = self.place or nowhere
        theirs, mine = pair_galaxies((some.id, some.ra, some.dec), (self.id, ra, dec))
        taken = Prediction(*(getattr(self.prediction, name)[mine] for name in NAMES))
        density = None if self.density is None else self.density.take(mine)
        return some.take(theirs), Estimates(self.id[mine], taken, density, (ra[mine], dec[mine]))


def require_steps(steps: Sequence[str]) -> None:
    """Refuse steps that a table cannot take.

    Raises:
        ConfigError: If one fits a head to features.
    """
    if refused := [s for s in steps if s not in ("balanced", "calibrated")]:
        raise ConfigError(
            f"steps={refused} fit a head to features; with predictions= expected any of balanced "
            f"and calibrated"
        )


def correct_estimates(
    estimates: Estimates,
    splits: Mapping[str, Labelled],
    *,
    recipe: Recipe,
) -> tuple[Predicted, dict[str, Labelled]]:
    """Apply steps 2 and 4 to a table.

    Step 2, without the estimator: densities are taken for those of an estimator taught by the
    training galaxies, and multiplied by the part of these that a balanced subset keeps [1].

    Args:
        estimates: Estimates of galaxies of any split.
        splits: ``train``, ``val`` and ``test``: labels and magnitudes.
        recipe: Steps to take (``balanced``, which needs densities; ``calibrated``, which needs
            estimates of validation galaxies), the cells, and how even they are made.

    Returns:
        Step to split to predictions, and the galaxies of each split that are in the table.

    Raises:
        ConfigError: If a step cannot be done to this table.
        DataError: If it holds too few galaxies of the test split, or, to calibrate, of validation.

    References:
        [1] Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21, eq. 2.4.
    """
    steps = recipe.config.steps
    require_steps(steps)
    matched = {split: estimates.of(splits[split]) for split in ("val", "test")}
    some = {split: galaxies for split, (galaxies, _) in matched.items()}
    _require(len(some["test"]), "test")
    last = {split: theirs.prediction for split, (_, theirs) in matched.items()}
    predicted: Predicted = {BEFORE: last}
    if "balanced" in steps:
        weights = _column_weights(recipe, splits["train"])
        last = predicted["balanced"] = {
            split: _rebalanced(theirs.density, galaxies, recipe, weights)
            for split, (galaxies, theirs) in matched.items()
        }
    if "calibrated" in steps:
        _require(len(some["val"]), "validation")
        predicted["calibrated"] = _calibrated(last, some, expected=recipe.config.expected)
    if not len(some["val"]):
        del some["val"]
        predicted = {step: {"test": said["test"]} for step, said in predicted.items()}
    return predicted, some


def balanced_density(density: Density, row: Array, weights: Array, recipe: Recipe) -> Density:
    """Densities as if training galaxies had been nearly balanced.

    Args:
        density: Densities of N galaxies.
        row: Their rows of magnitude, shape (N,).
        weights: Part of the training galaxies that each cell keeps, shape (R, Z).
        recipe: Recipe that holds the cells.
    """
    column = np.digitize(to_target(density.grid), recipe.cells.target_edges)
    return Density.of(density.grid, density.values * weights[row][:, column])


def _column_weights(recipe: Recipe, train: Labelled) -> Doubles:
    cells = recipe.cells
    counts = cells.count(cells.of(magnitudes_of(train), to_target(train.z)))
    every = np.arange(counts.size)
    return balance_weights(every, counts, most_per_cell(counts, recipe.config.kept)).reshape(
        counts.shape
    )


def _rebalanced(
    density: Density | None, some: Labelled, recipe: Recipe, weights: Array
) -> Prediction:
    if density is None:
        raise ConfigError(
            "balanced needs densities, a table of probe density=true; leave it out of steps="
        )
    density = balanced_density(density, recipe.cells.row(magnitudes_of(some)), weights, recipe)
    return Prediction(density.median(), *density.interval())


def _calibrated(
    last: Mapping[str, Prediction], some: Mapping[str, Labelled], *, expected: Expected
) -> dict[str, Prediction]:
    val, test = some["val"], some["test"]
    calibration = calibrate(
        to_target(last["val"].z_phot),
        to_target(val.z),
        magnitudes_of(val),
        to_target(last["test"].z_phot),
        magnitudes_of(test),
        expected=expected,
    )
    moved = {}
    for split, galaxies in some.items():
        before = to_target(last[split].z_phot)
        shift = calibration.apply(before, magnitudes_of(galaxies)) - before
        ends = (to_redshift(to_target(getattr(last[split], name)) + shift) for name in NAMES)
        moved[split] = replace(last[split], **dict(zip(NAMES, ends, strict=True)))
    return moved


def _require(count: int, split: str) -> None:
    if count < FEWEST_LABELS:
        raise DataError(
            f"the table holds {count} galaxies of the {split} split, expected at least "
            f"{FEWEST_LABELS}; a table of predict rows=all holds all, one of probe density=true no "
            f"labelled ones but those of the test split"
        )


def _real(values: Array) -> Array:
    return values if values.dtype.kind == "f" else numbers_of(values)[0]


def _metadata(path: Path) -> Mapping[bytes, bytes]:
    try:
        return pq.read_schema(path).metadata or {}
    except Exception:  # not Parquet: read_table says so
        return {}
