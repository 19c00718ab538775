"""Stored cutouts seen through a user's eyes: some of the bands, another zero point, other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.legacy_surveys import ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.formats.stored import Stored, Wrapped
from ssl_photoz.cutouts.schema import PER_BAND


class Adjusted(Wrapped):
    """Stored cutouts, adjusted as a dataset YAML says; see `Stored`.

    With a zero point, pixels become nanomaggies/px: they are multiplied by
    ``10 ** ((22.5 - zero_point_mag) / 2.5)``; ``noise`` with them, ``psfdepth``, an inverse
    variance, by the inverse square.

    Args:
        stored: What is adjusted.
        bands: The bands to keep, in this order; all by default.
        zero_point_mag: AB magnitude of one unit of flux, for all bands or by band; by default
            pixels stay as they are.
        rename: New names of columns, by their canonical names.

    Raises:
        DataError: If a band, a column or a zero point is not there, or 8-bit pixels are to become
            flux.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        bands: Sequence[str] | None = None,
        zero_point_mag: float | Mapping[str, float] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(stored)
        source = stored.source
        self._chosen = _choose(stored, bands)
        kept = tuple(source.bands[place] for place in self._chosen)
        self._factors = None
        if zero_point_mag is not None:
            self._factors = _factors(stored, kept, zero_point_mag)
        self._names = _renamed(stored, rename or {})
        self.columns = tuple(self._names)
        self.attributes = dict(stored.attributes)
        for name in [name for name in self.attributes if name.lower() in ("bands", "calibrated")]:
            del self.attributes[name]
        calibrated = source.calibrated or zero_point_mag is not None
        self.source = replace(source, bands=kept, calibrated=calibrated)

    def column(self, name: str) -> Array:
        """Read a column, that of the chosen bands where it has one entry for each."""
        original = self._names[name]
        values = self._stored.column(original)
        if original not in PER_BAND:
            return values
        values = values[:, list(self._chosen)]
        if self._factors is not None and original in ("noise", "psfdepth"):
            power = 1 if original == "noise" else -2
            values = np.asarray(values * self._factors**power, values.dtype)
        return values

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read the chosen bands of rows into an array."""
        all_bands = self._stored.source.bands
        if self._chosen == tuple(range(len(all_bands))):
            self._stored.read(rows, pixels, crop)
        else:
            whole = np.empty((len(rows), len(all_bands), *pixels.shape[2:]), pixels.dtype)
            self._stored.read(rows, whole, crop)
            pixels[:] = whole[:, list(self._chosen)]
        if self._factors is not None:
            pixels *= self._factors[:, None, None].astype(pixels.dtype)


def _choose(stored: Stored, bands: Sequence[str] | None) -> tuple[int, ...]:
    there = stored.source.bands
    missing = [band for band in bands or () if band not in there]
    if missing or (bands is not None and len(set(bands)) != len(bands)) or bands == ():
        raise DataError(
            f"{stored.source.path} has bands {','.join(there)}, asked for {','.join(bands or ())}"
        )
    return tuple(there.index(band) for band in bands or there)


def _factors(
    stored: Stored, bands: Sequence[str], zero_point_mag: float | Mapping[str, float]
) -> Array:
    path = stored.source.path
    if stored.source.dtype == "uint8":
        raise DataError(f"{path} has 8-bit display values, which no zero point makes flux")
    by_band = zero_point_mag if isinstance(zero_point_mag, Mapping) else None
    if by_band is not None and not set(bands) <= set(by_band):
        raise DataError(
            f"{path}: zero_point_mag has {','.join(by_band)}, expected {','.join(bands)}"
        )
    mags = [zero_point_mag if by_band is None else by_band[band] for band in bands]
    factors: Array = 10 ** ((ZEROPOINT_MAG - np.asarray(mags, np.float64)) / 2.5)
    return factors


def _renamed(stored: Stored, rename: Mapping[str, str]) -> dict[str, str]:
    """Map new names to those underneath."""
    absent = [name for name in rename if name not in stored.columns]
    names = {rename.get(name, name): name for name in stored.columns}
    if absent or len(names) != len(stored.columns):
        raise DataError(
            f"{stored.source.path} has columns {', '.join(stored.columns)}; cannot rename "
            f"{', '.join(f'{old} to {new}' for old, new in rename.items())}"
        )
    return names
