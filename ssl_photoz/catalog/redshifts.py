"""Redshifts of a catalogue: numbers, and what stands for none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.core.types import Array, Bools, Doubles

NO_REDSHIFT = -1.0  # catalogues write -1, -9, -99, -999 for none
BEYOND = 20.0  # no galaxy is known there; catalogues write 99, 999 for none
NINES = (9.99, 9.999, 9.9999, 9.99999, 9.999999)


class Redshifts(NamedTuple):
    """Redshifts, and how many cannot be used.

    Attributes:
        z: NaN where unknown, (N,).
        words: Number of texts that are no number, and the first of them.
        sentinels: Number of values that stand for none, and the first of them.
    """

    z: Doubles
    words: tuple[int, str]
    sentinels: tuple[int, float]

    def as_text(self) -> str:
        """Say how many are known, and why others are not."""
        known = int(np.isfinite(self.z).sum())
        said = [f"{known} of {len(self.z)} known"]
        if self.words[0]:
            said.append(f"{self.words[0]} no number, such as {self.words[1]!r}")
        if self.sentinels[0]:
            said.append(f"{self.sentinels[0]} stand for none, such as {self.sentinels[1]:g}")
        return ", ".join(said)


def read_redshifts(values: Array) -> Redshifts:
    """Redshifts of a column, judged one by one.

    Args:
        values: Numbers or text, (N,).
    """
    z, words = numbers_of(values)
    none = stand_for_none(z)
    first = float(z[none][0]) if none.any() else np.nan
    return Redshifts(
        np.where(none | ~np.isfinite(z), np.nan, z),
        (len(words), words[0] if words else ""),
        (int(none.sum()), first),
    )


def stand_for_none(z: Array) -> Bools:
    """Where a redshift is what catalogues write for none: at most -1, 9.99, 9.9999, 99, 999 ..."""
    z = np.asarray(z, np.float64)
    nines = np.isin(z.astype(np.float32), np.array(NINES, np.float32))
    none: Bools = (z <= NO_REDSHIFT) | (z > BEYOND) | nines
    return none


def numbers_of(values: Array) -> tuple[Doubles, list[str]]:
    """Numbers of a column, NaN where there is none, and the texts that are no number."""
    if values.dtype.kind in "biuf":
        return values.astype(np.float64), []
    numbers, words = np.full(len(values), np.nan), []
    for row, value in enumerate(values.tolist()):
        try:
            numbers[row] = np.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            words.append(str(value))
    return numbers, words
