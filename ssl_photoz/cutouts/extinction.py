"""Flux corrected for the dust of the Milky Way, by each galaxy's own E(B-V)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.extinction import r_band_of, transmission, usable_ebv
from ssl_photoz.core.types import Array, Floats, Ints
from ssl_photoz.cutouts.formats.stored import Stored, Wrapped
from ssl_photoz.cutouts.reader import Cutouts


class Dereddened(Wrapped):
    """Stored cutouts of flux as it would be without the Milky Way's dust; see `Stored`.

    Pixels and ``noise`` are divided by ``10**(-0.4 * r_band * ebv)``, ``psfdepth``, an inverse
    variance, is multiplied by its square. Pixels in half precision become float32, lest they be
    rounded twice. Where E(B-V) is not known, the median of those that are stands in, in the column
    ``ebv`` too.

    Args:
        stored: The cutouts as they are seen.
        otherwise_mag: E(B-V) of all, mag, if the source knows none.

    Attributes:
        typical_ebv_mag: E(B-V) that stands in where it is not known, mag.

    Raises:
        DataError: If they cannot be corrected; see `obstacle`.
    """

    def __init__(self, stored: Stored, *, otherwise_mag: float | None = None) -> None:
        super().__init__(stored)
        source = stored.source
        if reason := obstacle(stored, otherwise_mag=otherwise_mag):
            raise DataError(f"{source.path} cannot be corrected for extinction: {reason}")
        ebv_mag = _stated_ebv(stored)
        known = usable_ebv(ebv_mag)
        typical = np.median(ebv_mag[known]) if known.any() else otherwise_mag
        self.typical_ebv_mag = float(np.float32(typical))
        self._ebv_mag = np.where(known, ebv_mag, self.typical_ebv_mag).astype(np.float32)
        # As float32, of what the column says: whoever undoes it finds the same.
        self._passed = transmission(self._ebv_mag, source.bands)
        dtype = "float32" if source.dtype == "float16" else source.dtype
        self.source = replace(
            source,
            dtype=dtype,
            extinction_corrected=True,
            notes=(*source.notes, self._note(int((~known).sum()))),
        )
        if "ebv" not in self.columns:
            self.columns = (*self.columns, "ebv")

    def column(self, name: str) -> Array:
        """Column of all rows, as it is for the corrected flux."""
        if name == "ebv":
            return self._ebv_mag
        values = super().column(name)
        power = {"noise": -1, "psfdepth": 2}.get(name)
        return values if power is None else np.asarray(values * self._passed**power, values.dtype)

    def read(self, rows: Ints, pixels: Array, crop: slice) -> None:
        """Read rows into an array, and correct them."""
        import torch

        seen = pixels
        if pixels.dtype != self._stored.source.dtype:
            seen = np.empty(pixels.shape, self._stored.source.dtype)
        super().read(rows, seen, crop)
        factors = torch.from_numpy((1 / self._passed[rows]).astype(pixels.dtype))
        corrected = torch.from_numpy(pixels)
        torch.mul(torch.from_numpy(seen), factors[:, :, None, None], out=corrected)

    def _note(self, unknown: int) -> str:
        said = f"{self._ebv_mag.min():.3f} to {self._ebv_mag.max():.3f} mag"
        if not unknown:
            return f"corrected for Galactic extinction, E(B-V) {said}"
        return (
            f"corrected for Galactic extinction, E(B-V) {said}; {unknown} of "
            f"{len(self._ebv_mag)} rows do not state theirs and get {self.typical_ebv_mag:.3f}"
        )


def obstacle(stored: Stored, *, otherwise_mag: float | None = None) -> str:
    """Reason why stored cutouts cannot be corrected for extinction; empty if they can.

    Args:
        stored: The cutouts.
        otherwise_mag: E(B-V) to take if the source knows none.
    """
    source = stored.source
    if not source.calibrated or source.dtype == "uint8":
        return "its pixels are display values"
    try:
        r_band_of(source.bands)
    except ConfigError as error:
        return str(error)
    if otherwise_mag is None and not usable_ebv(_stated_ebv(stored)).any():
        return "no galaxy states E(B-V) (column ebv); `convert dust=auto` adds it from a dust map"
    return ""


def corrected(cutouts: Cutouts, *, wanted: bool, otherwise_mag: float | None = None) -> Cutouts:
    """Cutouts corrected for extinction, where that is wanted and can be.

    Args:
        cutouts: Cutouts as they are seen; those that are corrected already are given back.
        wanted: Whether to correct them.
        otherwise_mag: E(B-V) of all, mag, if they state none.
    """
    if not wanted or cutouts.source.extinction_corrected:
        return cutouts
    if obstacle(cutouts.stored, otherwise_mag=otherwise_mag):
        return cutouts
    return cutouts.dereddened(otherwise_mag=otherwise_mag)


def corrected_alike(one: Cutouts, other: Cutouts, *, wanted: bool) -> tuple[Cutouts, Cutouts]:
    """Two sets of cutouts corrected for extinction, if both can be; says what it does."""
    both = corrected(one, wanted=wanted), corrected(other, wanted=wanted)
    if len({some.source.extinction_corrected for some in both}) > 1:
        both = one, other
        print("only one of two surveys states E(B-V): neither is corrected for extinction")
    for some in both:
        if note := correction_note(some, wanted=wanted):
            print(f"{some.source.path}: {note}")
    return both


def correction_note(cutouts: Cutouts, *, wanted: bool) -> str:
    """What has been done about extinction, in a line; empty if nothing was to be.

    Args:
        cutouts: Cutouts as `corrected` gave them.
        wanted: Whether they were to be corrected.
    """
    if cutouts.source.extinction_corrected:
        return cutouts.source.notes[-1]
    if not (wanted and cutouts.source.calibrated):
        return ""
    reason = obstacle(cutouts.stored) or "its partner cannot be"
    return f"not corrected for Galactic extinction: {reason}"


def typical_ebv(cutouts: Cutouts) -> float | None:
    """Median E(B-V), mag, of cutouts that are corrected for extinction; None of others."""
    return cutouts.stored.typical_ebv_mag if isinstance(cutouts.stored, Dereddened) else None


def _stated_ebv(stored: Stored) -> Floats:
    """E(B-V) of all rows; NaN where none is stated as a number, (N,)."""
    rows = stored.source.rows
    values = stored.column("ebv") if "ebv" in stored.columns else np.empty(0)
    if values.dtype.kind not in "iuf" or values.shape != (rows,):
        return np.full(rows, np.nan, np.float32)
    return values.astype(np.float32)
