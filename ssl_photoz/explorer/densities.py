"""Redshift densities of single galaxies, out of a table that may be larger than memory."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.photoz.density_table import GRID
from ssl_photoz.similarity.catalogue import Catalogue

SUMMARY = ("z_phot", "z_lo", "z_hi", "odds", "p_below_003", "p_below_005")
GROUPS_KEPT = 32
KEYS = ("id", "ra", "dec")  # an id can stand for several cutouts


class Densities:
    """The table that ``pdf`` wrote, beside the rows of a catalogue.

    Attributes:
        grid: Redshifts at which densities are given, shape (G,).
        position: Place of each catalogue row in the table, -1 where it has none, shape (N,).
        summary: Columns of the table, spread over catalogue rows, NaN elsewhere, (N,) each.
    """

    def __init__(
        self, path: Path, grid: Array, position: Ints, summary: dict[str, Array], starts: Ints
    ) -> None:
        self.grid = grid
        self.position = position
        self.summary = summary
        self._path = path
        self._starts = starts
        self._group = lru_cache(GROUPS_KEPT)(self._read_group)

    @classmethod
    def open(cls, path: Path, catalogue: Catalogue) -> Densities:
        """Read all but the densities themselves.

        Args:
            path: ``pdfs.parquet``.
            catalogue: Whose rows will be asked for.

        Raises:
            ArtefactError: If it is no table of densities.
        """
        try:
            file = pq.ParquetFile(path)
            grid = np.array(json.loads(file.schema_arrow.metadata[GRID]), np.float64)
            names = [name for name in SUMMARY if name in file.schema_arrow.names]
            table = file.read([*KEYS, *names])
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ArtefactError(
                f"{path} is not a readable table of densities ({type(error).__name__}); run pdf "
                f"again"
            ) from None
        keys = zip(*(table.column(name).to_pylist() for name in KEYS), strict=True)
        place = {key: number for number, key in enumerate(keys)}
        asked = zip(*(getattr(catalogue, name).tolist() for name in KEYS), strict=True)
        position = np.array([place.get(key, -1) for key in asked], np.int64)
        known = position >= 0
        summary = {name: np.full(len(catalogue), np.nan, np.float32) for name in names}
        for name, values in summary.items():
            values[known] = table.column(name).to_numpy()[position[known]]
        return cls(path, grid, position, summary, np.cumsum([0, *groups]))

    def of(self, row: int) -> dict[str, Any] | None:
        """Return a galaxy's density and what is read off it, or None if it has none.

        Args:
            row: In the catalogue.

        Returns:
            ``pdf``, shape (G,), per unit redshift, and the columns of `SUMMARY` as numbers.
        """
        place = int(self.position[row])
        if place < 0:
            return None
        group = int(np.searchsorted(self._starts, place, side="right")) - 1
        density = self._group(group)[place - self._starts[group]]
        return {"pdf": density, **{name: float(v[row]) for name, v in self.summary.items()}}

    def _read_group(self, group: int) -> Floats:
        column = pq.ParquetFile(self._path).read_row_group(group, columns=["pdf"]).column("pdf")
        values: Floats = column.combine_chunks().flatten().to_numpy().reshape(-1, len(self.grid))
        return values
