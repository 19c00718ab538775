"""Which galaxies to look at next, so that their labels help most."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Doubles, Floats, Ints
from ssl_photoz.dwarfs.candidates import sky_columns
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index

POOL = 20


def propose_looks(index: Index, rows: Ints, score: Doubles, *, n: int) -> Ints:
    """Propose galaxies that are likely dwarfs, and least like each other.

    The 20 n likeliest make a pool; from it n are taken one by one, first the likeliest, then
    always the one least like any taken before, so that no two labels teach the same
    (farthest-first traversal [1]). Asking about those the search is least sure of taught less:
    ``benchmarks/dwarfs``.

    Args:
        index: Whose unit vectors say what is alike.
        rows: Catalogue rows to choose from, shape (m,).
        score: Theirs, by the ranking method, shape (m,); NaN is never proposed.
        n: Galaxies wanted; fewer come back only if there are no more.

    Returns:
        Catalogue rows in the order they were taken.

    Raises:
        ConfigError: If n is less than 1.

    References:
        [1] Gonzalez 1985, Theoretical Computer Science 38, 293.
    """
    if n < 1:
        raise ConfigError(f"n is {n}, expected at least 1 galaxy to look at")
    likely = np.argsort(-score, kind="stable")
    pool = likely[np.isfinite(score[likely])][: POOL * n]
    places = farthest_first(index.vectors(rows[pool]), n)
    return np.asarray(rows[pool[places]], np.int64)


def farthest_first(units: Floats, n: int) -> Ints:
    """Return places of up to n vectors: the first, then always the one farthest from those taken.

    Args:
        units: Unit vectors, shape (m, P).
        n: How many; farthest means the lowest highest cosine.
    """
    likeness = np.full(len(units), -np.inf, np.float32)
    taken: list[int] = []
    for _ in range(min(n, len(units))):
        place = int(np.argmin(likeness)) if taken else 0
        taken.append(place)
        likeness = np.maximum(likeness, units @ units[place])
        likeness[taken] = np.inf
    return np.array(taken, np.int64)


def write_looks(
    out: Path, catalogue: Catalogue, rows: Ints, columns: dict[str, Doubles], *, simulated: bool
) -> None:
    """Write a CSV to fill in: a verdict per line, read back by `verdicts.read_verdicts`.

    Args:
        out: Ends in .csv.
        catalogue: Who the rows are.
        rows: Catalogue rows, in the order to look at them, shape (n,).
        columns: More of those rows, such as ``p_dwarf``, each (n,).
        simulated: Becomes a column.

    Raises:
        ConfigError: If out does not end in .csv.
    """
    if out.suffix != ".csv":
        raise ConfigError(f"out is {out}, expected a .csv: it is filled in and read back")
    some = catalogue.take(rows)
    blank = np.full(len(rows), "", dtype=str)
    sky = sky_columns(some.ra, some.dec)
    place = {"id": some.id, "ra": some.ra, "dec": some.dec}
    table = {**place, "verdict": blank, "when": blank, **columns, **sky}
    write_table(out, table, simulated=simulated)
