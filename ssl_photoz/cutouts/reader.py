"""Read cutout files lazily: only the asked rows, and only their central pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from ssl_photoz.cutouts.layout import Layout, find_layout
from ssl_photoz.cutouts.schema import Source, describe, find_columns, open_hdf5
from ssl_photoz.errors import DataError
from ssl_photoz.types import Array, Floats, Ints

__all__ = ["Cutouts", "Source"]

FWHM_PER_SIGMA = 2.3548


class Cutouts:
    """The cutouts of one file, with their catalogue columns.

    Pixels are read when asked for; the file is opened again in every process that reads, so
    an instance can be pickled and survives a fork.

    Attributes:
        source: What the file is.
        columns: Names of its columns; ``id``, ``ra``, ``dec`` and ``z`` are always there.
        ids_are_rows: Whether ``id`` is the row number, for want of ``TARGETID``.
    """

    def __init__(self, source: Source, datasets: dict[str, str]) -> None:
        self.source = source
        self._datasets = datasets
        self._cache: dict[str, Array] = {}
        self._file: tuple[int, h5py.File, Layout | None] | None = None
        self.ids_are_rows = "id" not in datasets
        derived = ["noise"] if "noise" not in datasets and self._has_depth else []
        first = ["id", "ra", "dec", "z"]
        self.columns = (*first, *[name for name in datasets if name not in first], *derived)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        bands: Sequence[str] | None = None,
        pixscale_arcsec: float | None = None,
    ) -> Cutouts:
        """Open a cutout file and check its layout.

        Args:
            path: HDF5 file as ``docs/architecture.md`` describes.
            bands: Band names, for a file that does not state them. By default ``g,r,z`` for
                three bands, ``g,r,i,z`` for four and ``u,g,r,i,z`` for five.
            pixscale_arcsec: Pixel scale, arcsec/px, for a file that does not state it. By
                default 0.262 (Legacy Surveys) for flux in some of g, r, i, z; else NaN.

        Raises:
            DataError: If the file cannot be used; the message says why.
        """
        path = Path(path)
        with open_hdf5(path) as file:
            try:
                source = describe(file, path, bands=bands, pixscale_arcsec=pixscale_arcsec)
                datasets = find_columns(file, path, source.rows, len(source.bands))
            except (OSError, RuntimeError, KeyError) as error:
                raise _damaged(path, error) from None
        return cls(source, datasets)

    def __len__(self) -> int:
        return self.source.rows

    def column(self, name: str) -> Array:
        """Return a column, shape (N,) or (N, M), in the byte order of this machine.

        Without ``TARGETID`` the column ``id`` is the row number; without ``Z`` the column ``z``
        is NaN. ``noise`` is derived from ``PSFDEPTH`` and ``PSFSIZE`` where only they are there.

        Raises:
            DataError: If there is no such column, or it cannot be read.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.source.path} has no column {name!r}; it has {', '.join(self.columns)}"
            )
        if name not in self._cache:
            self._cache[name] = self._make_column(name)
        return self._cache[name]

    def column_or_nan(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return a column as float32, or NaN of the given shape where the file lacks it.

        Raises:
            DataError: If the column is there but has another shape.
        """
        if name not in self.columns:
            return np.full(shape, np.nan, np.float32)
        values = self.column(name)
        if values.shape != shape:
            raise DataError(
                f"{self.source.path}: column {name!r} has shape {values.shape}, expected {shape}"
            )
        return values.astype(np.float32)

    def read(self, rows: Ints | Sequence[int], *, size_px: int | None = None) -> Array:
        """Read cutouts in the order asked for; rows may repeat.

        Args:
            rows: Row numbers, shape (B,).
            size_px: Side of the central crop; the whole cutout by default.

        Returns:
            Pixels, shape (B, C, size_px, size_px), of the stored type.

        Raises:
            DataError: If a row is not in the file, the crop is larger than the cutout, or the
                pixels cannot be read.
        """
        rows = np.asarray(rows, np.int64)
        side = self.source.size_px if size_px is None else size_px
        if not 0 < side <= self.source.size_px:
            raise DataError(
                f"{self.source.path}: asked for {side} px, cutouts have {self.source.size_px} px"
            )
        if rows.size and not (0 <= rows.min() and rows.max() < len(self)):
            raise DataError(
                f"{self.source.path} has rows 0 to {len(self) - 1}, asked for rows "
                f"{rows.min()} to {rows.max()}"
            )
        low = (self.source.size_px - side) // 2
        crop = slice(low, low + side)
        pixels = np.empty((len(rows), len(self.source.bands), side, side), self.source.dtype)
        try:
            file, layout = self._open_file()
            if layout is not None:
                layout.read(rows, pixels, crop)
            else:
                _read_runs(file["images"], rows, pixels, crop)
        except (OSError, KeyError) as error:
            raise _damaged(self.source.path, error) from None
        return pixels

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._file is not None and self._file[0] == os.getpid():
            self._file[1].close()
        self._file = None

    def __enter__(self) -> Cutouts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_cache": {}}

    @property
    def _has_depth(self) -> bool:
        return {"psfdepth", "psfsize"} <= set(self._datasets)

    def _open_file(self) -> tuple[h5py.File, Layout | None]:
        if self._file is None or self._file[0] != os.getpid():
            file = open_hdf5(self.source.path)
            self._file = (os.getpid(), file, find_layout(file, file["images"]))
        return self._file[1:]

    def _make_column(self, name: str) -> Array:
        if name in self._datasets:
            return self._read_column(self._datasets[name])
        if name == "id":
            return np.arange(len(self), dtype=np.int64)
        if name == "z":
            return np.full(len(self), np.nan, np.float32)
        return noise_from_depth(
            self.column("psfdepth"),
            self.column("psfsize"),
            pixscale_arcsec=self.source.pixscale_arcsec,
        )

    def _read_column(self, dataset_name: str) -> Array:
        try:
            dataset = self._open_file()[0][dataset_name]
            if dataset.dtype.kind in "SO":
                return np.asarray(dataset.asstr(errors="replace")[:], dtype=str)
            return np.asarray(dataset[:], dtype=dataset.dtype.newbyteorder("="))
        except (OSError, KeyError, TypeError) as error:
            raise _damaged(self.source.path, error) from None


def _read_runs(images: h5py.Dataset, rows: Ints, pixels: Array, crop: slice) -> None:
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):
        if stop > start:
            pixels[start:stop] = images[rows[start] : rows[stop - 1] + 1, :, crop, crop]


def noise_from_depth(psfdepth: Array, psfsize: Array, *, pixscale_arcsec: float) -> Floats:
    """Per-pixel noise from the depth of a point source.

    A Gaussian PSF of width s pixels spreads a point source over 4 pi s² pixels of noise, so
    ``1 / noise² = psfdepth * 4 pi s²`` [1].

    Args:
        psfdepth: Inverse variance of a point source's flux, 1/nanomaggies², shape (N, C).
        psfsize: FWHM of the PSF, arcsec, shape (N, C).
        pixscale_arcsec: Pixel scale, arcsec/px.

    Returns:
        Standard deviation, nanomaggies/px, shape (N, C); NaN where depth or size is not positive.

    References:
        [1] Stein et al. 2022, ApJ 932, 107, and its code (ssl-legacysurvey).
    """
    sigma_px = np.asarray(psfsize, np.float64) / FWHM_PER_SIGMA / pixscale_arcsec
    inverse_variance = np.asarray(psfdepth, np.float64) * 4 * np.pi * sigma_px**2
    usable = np.isfinite(inverse_variance) & (inverse_variance > 0)
    return np.where(usable, 1 / np.sqrt(np.where(usable, inverse_variance, 1)), np.nan).astype("f4")


def _damaged(path: Path, error: Exception) -> DataError:
    detail = " ".join(str(error).split())
    return DataError(f"{path} cannot be read: damaged or truncated ({detail}); copy it again")
