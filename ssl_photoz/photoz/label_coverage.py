"""Where labelled galaxies are, and where not: cells, distances, and the weights that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, Ints
from ssl_photoz.photoz.base import PrincipalAxes
from ssl_photoz.photoz.knn import distances_to
from ssl_photoz.photoz.settings import LabelConfig
from ssl_photoz.photoz.som import SelfOrganisingMap

FILE = "label_coverage.safetensors"
AXES = 12
NEIGHBOURS = 10
LABELS_PER_CELL = 10
MOST_SIDE = 40
MOST_GALAXIES = 20_000  # of the whole sample that are kept beside the labels
OUTSIDE = 0.05
ROUNDS = 40


@dataclass(frozen=True)
class LabelCoverage:
    """How the labelled galaxies of a fit lie among all galaxies that are to get redshifts.

    Features are brought to the first principal axes of the whole sample. There a self-organising
    map makes cells, and two distances of a galaxy are taken: to its tenth nearest label, and the
    same in units of the distance to its tenth nearest galaxy of any kind. Each is ranked among
    those of the validation galaxies, which are labelled as the training galaxies are but were not
    fitted to; the smaller rank, ranked once more, is the *label coverage*: of galaxies that
    are like the labelled ones, a part p has a label coverage below p (a conformal p-value [1]).

    Attributes:
        axes: Principal axes of the whole sample.
        som: Map of the whole sample.
        label_places: Labelled galaxies on the axes, shape (L, P).
        label_cells: Their cells, shape (L,).
        label_z: Their redshifts, shape (L,).
        sample_places: Galaxies of the whole sample on the axes, some of them where they are very
            many, shape (S, P).
        galaxies_in_cell: Number of galaxies of the whole sample in each cell, shape (C,).
        far: Distances of the validation galaxies to their tenth label, increasing, shape (V,).
        sparse: Those in units of the distance to the tenth galaxy, increasing, shape (V,).
        least: Smaller of the two ranks of the validation galaxies, increasing, shape (V,).

    References:
        [1] Bates et al. 2023, Annals of Statistics 51, 149.
    """

    axes: PrincipalAxes
    som: SelfOrganisingMap
    label_places: Floats
    label_cells: Ints
    label_z: Doubles
    sample_places: Floats
    galaxies_in_cell: Ints
    far: Doubles
    sparse: Doubles
    least: Doubles

    @classmethod
    def fit(
        cls,
        labelled: tuple[Array, Array],
        validation: Array,
        sample: Array,
        *,
        side: int | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit to features.

        Args:
            labelled: Features (L, D) and redshifts (L,) of the galaxies that are fitted to.
            validation: Features of labelled galaxies that are not, shape (V, D).
            sample: Features of all galaxies that are to get redshifts, labelled or not, (N, D).
            side: Cells along a side of the map; by default as many as leave ten labels to a cell.
            seed: Seed of the choice among very many galaxies.

        Raises:
            DataError: If there are more cells than labels, or a feature is NaN or infinite.
        """
        X, z = labelled
        if side is not None and side**2 > min(len(z), len(sample)):
            raise DataError(
                f"{len(z)} labels and {len(sample)} galaxies for a map of {side} x {side} cells; "
                f"expected at least one for each: give side={int(min(len(z), len(sample)) ** 0.5)} "
                f"or less"
            )
        if side is None:
            count = min(len(z), len(sample))
            side = int(np.clip((count / LABELS_PER_CELL) ** 0.5, 1, MOST_SIDE))
        rows = np.sort(np.random.default_rng(seed).permutation(len(sample))[:MOST_GALAXIES])
        axes = PrincipalAxes.fit(np.asarray(sample[rows], np.float32), AXES)
        som = SelfOrganisingMap(side, side).fit(axes.apply(np.asarray(sample[rows], np.float32)))
        places = axes.apply(np.asarray(X, np.float32))
        every = axes.apply(np.asarray(sample, np.float32))
        made = cls(
            axes=axes,
            som=som,
            label_places=places,
            label_cells=som.predict(places),
            label_z=np.asarray(z, np.float64),
            sample_places=every[rows],
            galaxies_in_cell=np.bincount(som.predict(every), minlength=side**2),
            far=np.empty(0),
            sparse=np.empty(0),
            least=np.empty(0),
        )
        far, sparse = made._distances(axes.apply(np.asarray(validation, np.float32)))
        return made._ranked_by(far, sparse)

    @property
    def labels_in_cell(self) -> Ints:
        """Number of labels in each cell, shape (C,)."""
        return np.bincount(self.label_cells, minlength=len(self.galaxies_in_cell))

    @property
    def galaxies_per_label(self) -> Doubles:
        """Galaxies of the whole sample per label in each cell, where one more is added, (C,)."""
        return np.asarray(self.galaxies_in_cell / (self.labels_in_cell + 1))

    def columns(self, X: Array) -> dict[str, Array]:
        """Columns of a table that say whether labels surround a galaxy, shape (M,) each.

        ``label_coverage`` (0 to 1; of galaxies like the labelled, one in twenty is below 0.05),
        ``cell``, ``labels_in_cell`` and ``galaxies_per_label`` (the greater, the more a further
        label there would help).

        Args:
            X: Features, shape (M, D).

        Raises:
            ShapeError: If D is not that of the fit.
            DataError: If a feature is NaN or infinite.
        """
        places = self.axes.apply(np.asarray(X, np.float32))
        cells = self.som.predict(places)
        least = np.minimum(*self._ranks(*self._distances(places)))
        return {
            "label_coverage": _share_at_most(self.least, least),
            "cell": cells.astype(np.int32),
            "labels_in_cell": self.labels_in_cell[cells].astype(np.int32),
            "galaxies_per_label": self.galaxies_per_label[cells],
        }

    def facts(self) -> dict[str, float]:
        """Numbers for metrics and cards: cells, and what part of the sample has no label beside."""
        bare = self.labels_in_cell == 0
        inside = int(self.galaxies_in_cell[bare].sum())
        return {
            "cells": len(bare),
            "cells_without_labels": int((bare & (self.galaxies_in_cell > 0)).sum()),
            "galaxies_without_labels": inside / int(self.galaxies_in_cell.sum()),
        }

    def weights(self, *, most: float) -> Doubles:
        """Weights that bring labels to the distribution of the whole sample over cells.

        Galaxies of the cell over its labels, in units of the mean over labels, at most ``most``.

        Args:
            most: Greatest weight.

        Returns:
            Shape (L,), of mean 1.
        """
        weight = (self.galaxies_in_cell / np.maximum(self.labels_in_cell, 1))[self.label_cells]
        return _capped(weight, most)

    def representative(self, order: Array, *, most: float, seed: int = 0) -> tuple[Ints, Doubles]:
        """Labels of which each cell has its share, better ones first, and their weights.

        The share of a cell is that of its galaxies in the sample, of as many labels as there are.
        Where it has more labels the best are taken, at random among equals; where it has fewer all
        are, and weigh as many times as much as they are too few, at most ``most`` times.

        Args:
            order: Rank of each label, the smaller the better, shape (L,).
            most: Greatest weight.
            seed: Seed of the choice among equals.

        Returns:
            Rows of the labels that are taken, increasing, shape (K,), and weights (K,) of mean 1.
        """
        count = self.labels_in_cell
        covered = count > 0
        share = len(self.label_cells) / max(int(self.galaxies_in_cell[covered].sum()), 1)
        wanted = share * self.galaxies_in_cell
        kept = np.minimum(count, np.maximum(np.ceil(wanted), 1)).astype(np.int64)
        chance = np.random.default_rng(seed).permutation(len(self.label_cells))
        sort = np.lexsort((chance, np.asarray(order), self.label_cells))
        cells = self.label_cells[sort]
        first = np.searchsorted(cells, cells)
        taken = np.sort(sort[np.arange(len(sort)) - first < kept[cells]])
        weight = (wanted / np.maximum(kept, 1))[self.label_cells[taken]]
        return taken, _capped(weight, most)

    def save(self, folder: Path) -> None:
        """Write it into a folder, as plain arrays."""
        arrays = {
            **self.axes.arrays(),
            "codebook": self.som.codebook_,
            "shape": np.array([self.som.rows, self.som.columns]),
            **{name: getattr(self, name) for name in ARRAYS},
        }
        with atomic_path(folder / FILE) as scratch:
            scratch.write_bytes(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read it from a folder; None where it has none, as those of earlier versions.

        Raises:
            ArtefactError: If it is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            arrays = load_file(path)
            som = SelfOrganisingMap(*arrays["shape"].tolist())
            som.codebook_ = arrays["codebook"]
            som.n_features_in_ = som.codebook_.shape[1]
            axes = PrincipalAxes.from_arrays(arrays)
            return cls(axes, som, **{name: arrays[name] for name in ARRAYS})
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ArtefactError(
                f"cannot read {path} ({type(error).__name__}); run probe again"
            ) from None

    def _distances(self, places: Floats) -> tuple[Doubles, Doubles]:
        """Distance to the tenth label, and in units of that to the tenth galaxy, (M,) each."""
        tenth = []
        for known in (self.label_places, self.sample_places):
            k = min(NEIGHBOURS, len(known) - 1)
            tenth.append(distances_to(known, places, k)[:, -1].astype(np.float64))
        return tenth[0], tenth[0] / np.maximum(tenth[1], 1e-9)

    def _ranks(self, far: Doubles, sparse: Doubles) -> tuple[Doubles, Doubles]:
        return _share_at_least(self.far, far), _share_at_least(self.sparse, sparse)

    def _ranked_by(self, far: Doubles, sparse: Doubles) -> Self:
        """The same, calibrated on the distances of validation galaxies."""
        known = {name: getattr(self, name) for name in ("axes", "som", *ARRAYS)}
        made = type(self)(**{**known, "far": np.sort(far), "sparse": np.sort(sparse)})
        # Each among the others: a validation galaxy is no evidence of itself.
        ranks = made._ranks(far, sparse)
        least = np.sort(np.minimum(*(rank - 1 / (len(far) + 1) for rank in ranks)))
        return type(self)(**{**known, "far": made.far, "sparse": made.sparse, "least": least})


ARRAYS = (
    *("label_places", "label_cells", "label_z", "sample_places", "galaxies_in_cell"),
    *("far", "sparse", "least"),
)


def outside(columns: Mapping[str, Array]) -> Bools:
    """Which galaxies of a table lie outside of the labels: label coverage below 0.05."""
    return np.asarray(columns["label_coverage"] < OUTSIDE)


def drawn_labels(
    coverage: LabelCoverage, config: LabelConfig, *, trust: Array, z_error: Array, seed: int
) -> tuple[Ints, Doubles | None]:
    """Training labels that are used, and their weights; None if all count the same.

    Args:
        coverage: Coverage by these labels.
        config: How they are drawn.
        trust: Trust in each, shape (L,).
        z_error: Their errors, shape (L,).
        seed: Seed of the choice among equals.
    """
    every = np.arange(len(coverage.label_z))
    if config.draw == "all":
        return every, None
    if config.draw == "weighted":
        return every, coverage.weights(most=config.most_weight)
    relative = np.asarray(z_error) / (1 + coverage.label_z)
    quality = np.stack([-np.asarray(trust), relative.round(4)])
    _, rank = np.unique(quality, axis=1, return_inverse=True)
    return coverage.representative(rank.ravel(), most=config.most_weight, seed=seed)


def _capped(weight: Doubles, most: float) -> Doubles:
    """Weights of mean 1 of which none is above the greatest."""
    weight = np.asarray(weight, np.float64) / weight.mean()
    for _ in range(ROUNDS):  # what is cut off is given to the others
        weight = np.minimum(weight, most)
        weight = weight / weight.mean()
        if weight.max() <= most * 1.001:
            break
    return weight


def _share_at_least(known: Doubles, asked: Doubles) -> Doubles:
    """Part of known values, increasing, that are at least as great, one added; (M,)."""
    above = len(known) - np.searchsorted(known, asked, side="left")
    return np.asarray((above + 1) / (len(known) + 1))


def _share_at_most(known: Doubles, asked: Doubles) -> Doubles:
    """Part of known values, increasing, that are at most as great, one added; (M,)."""
    return np.asarray((np.searchsorted(known, asked, side="right") + 1) / (len(known) + 1))
