"""One list, measured in parts of the sample: by magnitude, by population."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Ints
from ssl_photoz.dwarfs.purity import COMPLETENESS, PurityCurve
from ssl_photoz.embeddings.store import Embeddings

MAGNITUDE_BINS = 5


def read_strata(
    embeddings: Embeddings, rows: Ints, magnitude: str | None, population: str | None
) -> dict[str, Array]:
    """Return the part of the sample that each of some rows belongs to, by ways to part it.

    Args:
        embeddings: The store.
        rows: Row numbers, shape (n,).
        magnitude: Column to bin, if any.
        population: Column of codes or names, if any.

    Raises:
        ArtefactError: If there is no such column.
        DataError: If no magnitude is finite.
    """
    strata = {}
    if magnitude is not None:
        strata[magnitude] = magnitude_strata(embeddings.column(magnitude)[rows])
    if population is not None:
        strata[population] = embeddings.column(population)[rows]
    return strata


def magnitude_strata(magnitude: Array, *, bins: int = MAGNITUDE_BINS) -> Array:
    """Name each galaxy's magnitude bin, bins equally full, shape (n,); NaN has empty text.

    Raises:
        DataError: If no magnitude is finite.
    """
    finite = np.isfinite(magnitude)
    if not finite.any():
        raise DataError(
            f"none of {len(magnitude)} magnitudes is finite; set magnitude= to another column"
        )
    inner = np.unique(np.quantile(magnitude[finite], np.arange(1, bins) / bins))
    place = np.searchsorted(inner, np.where(finite, magnitude, 0), side="right")
    edges = [magnitude[finite].min(), *inner, magnitude[finite].max()]
    names = np.array([f"{edges[i]:.2f} to {edges[i + 1]:.2f}" for i in range(len(inner) + 1)])
    return np.where(finite, names[place], "")


def measure_strata(truth: Bools, score: Doubles, parts: Array) -> list[dict[str, Any]]:
    """Measure the list that is 90 % complete over all, in each part of the sample.

    Args:
        truth: Whether each galaxy is wanted, shape (n,).
        score: Higher means more likely, shape (n,).
        parts: The part each galaxy belongs to, shape (n,); NaN and empty text are left out.

    Returns:
        One mapping per part, in order: ``part``, ``n``, ``n_dwarfs``, and there ``purity`` and
        ``completeness`` of the list, None where it has no galaxy, or none is wanted.
    """
    if not truth.any():
        return []
    curve = PurityCurve.measure(truth, score)
    listed = score >= curve.score[curve.place_of(COMPLETENESS)]
    named = np.array(["" if one != one else str(one) for one in parts.tolist()])
    return [_of_part(name, named == name, truth, listed) for name in sorted(set(named) - {""})]


def _of_part(name: str, inside: Bools, truth: Bools, listed: Bools) -> dict[str, Any]:
    wanted, found = int((inside & truth).sum()), int((inside & listed).sum())
    both = int((inside & truth & listed).sum())
    return {
        "part": name,
        "n": int(inside.sum()),
        "n_dwarfs": wanted,
        "purity": both / found if found else None,
        "completeness": both / wanted if wanted else None,
    }
