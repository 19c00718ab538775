"""Redshift distributions n(z) of selections: summed densities, or labels by cells; bootstrapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.catalog.where import rows_where
from ssl_photoz.core import extras
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Doubles, Ints, PathLike
from ssl_photoz.photoz import density_table
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.folders import DensityFolder
from ssl_photoz.photoz.label_coverage import LabelCoverage

BINS = 60
DRAWS = 200


@dataclass(frozen=True)
class RedshiftDistribution:
    """How the redshifts of some galaxies are distributed.

    Attributes:
        edges: Bin edges, increasing, shape (B+1,).
        values: Probability per unit redshift in each bin, shape (B,); it integrates to 1.
        draws: Values of every bootstrap sample, shape (S, B).
        means: Mean redshift of every bootstrap sample, shape (S,).
        mean: Mean redshift.
        n: Number of galaxies.
        covered: Part of them that the distribution stands for: those in cells with labels, or all.
        simulated: Whether they are simulated.
    """

    edges: Doubles
    values: Doubles
    draws: Doubles
    means: Doubles
    mean: float
    n: int
    covered: float = 1.0
    simulated: bool = False

    @property
    def error(self) -> Doubles:
        """Standard deviation of each bin over bootstrap samples, shape (B,)."""
        return np.asarray(self.draws.std(axis=0))

    @property
    def mean_error(self) -> float:
        """Standard deviation of the mean redshift over bootstrap samples."""
        return float(self.means.std())

    @classmethod
    def summed(
        cls, density: Density, *, edges: Array | None = None, draws: int = DRAWS, seed: int = 0
    ) -> Self:
        """Mean of the densities of some galaxies; galaxies are drawn again for errors.

        Args:
            density: Densities of the galaxies, at least one.
            edges: Bin edges, shape (B+1,); 60 even bins over the grid by default.
            draws: Bootstrap samples.
            seed: Seed of these.

        Raises:
            DataError: If there is no galaxy.
        """
        if not len(density):
            raise DataError("a redshift distribution of no galaxy; expected at least one")
        edges = _edges(density.grid[-1], edges)
        inside = np.diff([density.cdf_at(float(z)) for z in edges], axis=0).T
        centre = np.trapezoid(density.values * density.grid, density.grid, axis=1)
        n = len(density)
        found = [(c @ inside / n, c @ centre / n) for c in _resampled(n, draws, seed)]
        return cls(
            edges=edges,
            values=inside.mean(axis=0) / np.diff(edges),
            draws=np.array([one for one, _ in found]) / np.diff(edges),
            means=np.array([mean for _, mean in found]),
            mean=float(centre.mean()),
            n=n,
        )

    @classmethod
    def by_cells(
        cls,
        cells: Array,
        label_cells: Array,
        label_z: Array,
        *,
        edges: Array | None = None,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Self:
        """Redshifts of labels, each counting galaxies of its cell over its labels [1].

        Galaxies of cells without labels are left out; `covered` says what part remains. Galaxies
        and labels are both drawn again for errors.

        Args:
            cells: Cells of the galaxies, shape (N,).
            label_cells: Cells of the labels, shape (L,).
            label_z: Redshifts of the labels, shape (L,).
            edges: Bin edges, shape (B+1,); 60 even bins beyond the labels by default.
            draws: Bootstrap samples.
            seed: Seed of these.

        Raises:
            DataError: If no galaxy is in a cell with labels.

        References:
            [1] Masters et al. 2015, ApJ 813, 53; Buchs et al. 2019, MNRAS 489, 820.
        """
        cells, label_cells = np.asarray(cells, np.int64), np.asarray(label_cells, np.int64)
        z = np.asarray(label_z, np.float64)
        most = int(max(cells.max(initial=0), label_cells.max(initial=0))) + 1
        labels = np.bincount(label_cells, minlength=most)
        inside = labels[cells] > 0
        if not inside.any():
            raise DataError(
                f"none of {len(cells)} galaxies is in a cell with labels; expected some: use the "
                f"summed densities, or more labels"
            )
        edges = _edges(1.05 * float(z.max()), edges)
        place = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)

        def histogram(galaxies: Ints, known: Ints) -> tuple[Doubles, float]:
            of_cell = np.bincount(label_cells, weights=known, minlength=most)
            per_label = np.bincount(cells, weights=galaxies, minlength=most)
            per_label = np.divide(per_label, of_cell, out=np.zeros(most), where=of_cell > 0)
            weight = per_label[label_cells] * known
            total = weight.sum()
            values = np.bincount(place, weights=weight, minlength=len(edges) - 1)
            return values / total / np.diff(edges), float(weight @ z / total)

        one = np.ones(len(cells), np.int64), np.ones(len(z), np.int64)
        values, mean = histogram(*one)
        pairs = zip(
            _resampled(len(cells), draws, seed), _resampled(len(z), draws, seed + 1), strict=True
        )
        found = [histogram(*pair) for pair in pairs]
        return cls(
            edges=edges,
            values=values,
            draws=np.array([one[0] for one in found]),
            means=np.array([one[1] for one in found]),
            mean=mean,
            n=len(cells),
            covered=float(inside.mean()),
        )

    def save(self, path: PathLike) -> Path:
        """Write a table (``z_low``, ``z_high``, ``n_z``, ``error``), or an ensemble of qp.

        Args:
            path: Ends in .parquet, .fits, .csv or .vot; in .hdf5 for qp, which holds the
                distribution and then every bootstrap sample.

        Raises:
            ConfigError: If the suffix is another, or qp is not installed.
        """
        path = Path(path)
        if path.suffix == ".hdf5":
            extras.require("qp", f"writing {path}")
            density_table.write_qp_histograms(
                path, self.edges, np.concatenate([self.values[None], self.draws])
            )
            return path
        columns = {"z_low": self.edges[:-1], "z_high": self.edges[1:]}
        columns |= {"n_z": self.values, "error": self.error}
        write_table(path, columns, simulated=self.simulated)
        return path


def redshift_distribution(
    densities: PathLike | DensityFolder,
    where: str | Array | None = None,
    *,
    method: Literal["summed", "cells"] = "summed",
    edges: Array | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> RedshiftDistribution:
    """Redshift distribution of a selection of the galaxies of a folder of densities.

        n_of_z = ssl_photoz.redshift_distribution("runs/demo/pdf", "0.1 < z_phot < 0.2")

    Args:
        densities: Folder of ``probe density=true``.
        where: Conditions on the columns of its table; or a mask or row numbers; all by default.
        method: Sum of the calibrated densities; or redshifts of the labels that share a cell of
            the self-organising map, each counting galaxies of its cell over its labels.
        edges: Bin edges, shape (B+1,); 60 even bins by default.
        draws: Bootstrap samples, for errors.
        seed: Seed of these.

    Raises:
        ConfigError: If the conditions cannot be meant.
        DataError: If they select no galaxy, or none in a cell with labels.
        ArtefactError: If a folder of an earlier version is asked for cells.
    """
    folder = DensityFolder.open(densities)
    columns, density = folder.densities()

    def column(name: str) -> Array:
        if name not in columns:
            raise ConfigError(f"where: no column {name!r}; expected one of {', '.join(columns)}")
        return columns[name]

    if isinstance(where, str):
        rows = rows_where(where, column)
    else:
        rows = np.arange(len(density)) if where is None else np.asarray(where)
    density = density.take(rows)
    if not len(density):
        raise DataError(f"where={where!r} selects none of {len(columns['id'])} galaxies")
    given: dict[str, Any] = {"edges": edges, "draws": draws, "seed": seed}
    if method == "summed":
        found = RedshiftDistribution.summed(density, **given)
    else:
        coverage = LabelCoverage.load(folder.folder)
        if coverage is None or "cell" not in columns:
            raise DataError(f"{folder.folder} has no cells of labels; run probe density=true again")
        found = RedshiftDistribution.by_cells(
            columns["cell"][rows], coverage.label_cells, coverage.label_z, **given
        )
    return RedshiftDistribution(**{**vars(found), "simulated": folder.card.simulated})


def _edges(most: float, edges: Array | None) -> Doubles:
    if edges is None:
        return np.linspace(0, most, BINS + 1)
    given = np.asarray(edges, np.float64)
    if given.ndim != 1 or len(given) < 2 or not (np.diff(given) > 0).all():
        raise ConfigError(f"edges {given.shape}: expected at least two redshifts, increasing")
    return given


def _resampled(count: int, draws: int, seed: int) -> Iterator[Ints]:
    """Yield how often each of so many is drawn, a sample at a time, shape (count,)."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(0, count, count), minlength=count)
