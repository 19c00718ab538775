"""The three populations of the redshift challenge, taken from a DESI-like catalogue.

Every removed row is counted under the cut that removed it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.catalog.lowz_cuts import select_lowz
from ssl_photoz.catalog.redshifts import numbers_of
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools
from ssl_photoz.fetching.challenge.cuts import (
    CONFIDENT,
    GALAXY,
    QUALITY,
    SPECTRUM,
    TWENTIETH,
    Columns,
    Cut,
)
from ssl_photoz.fetching.challenge.photometry import measure
from ssl_photoz.fetching.challenge.sample import (
    BACKGROUND,
    COLOURS,
    DWARFS,
    EVERY,
    GROUPS,
    Sample,
    Step,
    count,
    repeats,
)

WORDS = ("spectype",)
DF_COLUMNS = (
    *("flux_g", "flux_r", "flux_ivar_g", "flux_ivar_r", "mw_transmission_g", "mw_transmission_r"),
    *("shape_r", "shape_r_ivar"),
)


def lowz(columns: Columns) -> Bools:
    """Apply the cuts for z < 0.03, errors and all, (N,)."""
    seen = measure(columns)
    return select_lowz(
        seen.r_mag,
        seen.gr_mag,
        seen.radius_arcsec,
        mu_error=seen.mu_error,
        gr_error=seen.gr_error_mag,
    ).selected


LOWZ = {"darragh_ford": Cut("the z < 0.03 cuts of Darragh-Ford et al.", DF_COLUMNS, lowz)}
CUTS = {
    DWARFS: {**SPECTRUM, **CONFIDENT},
    COLOURS: {**SPECTRUM, **GALAXY, **CONFIDENT, **QUALITY, **LOWZ},
    BACKGROUND: {**SPECTRUM, **GALAXY, **TWENTIETH, **QUALITY},
}
NAMES = tuple(dict.fromkeys(name for cuts in CUTS.values() for name in cuts))


def choose(
    catalogue: Catalogue, keys: Array, listed: Bools | None, *, without: Collection[str] = ()
) -> Sample:
    """Sort the rows of a catalogue into the challenge's populations.

    Args:
        catalogue: Catalogue with the columns of the cuts, in any case.
        keys: What identifies the spectrum of each row, (N,); one that repeats counts once.
        listed: Which rows are in the catalogue of dwarfs, (N,); None: there is none, so that
            population 1 stays empty and its galaxies are not taken out of the others.
        without: Names of cuts to leave out, each counted as not applied.

    Raises:
        ConfigError: If there is no such cut.
        DataError: If a cut has not the columns that it needs.
    """
    unknown = sorted(set(without) - set(NAMES))
    if unknown:
        raise ConfigError(f"without= names {', '.join(unknown)}; cuts are {', '.join(NAMES)}")
    columns = _columns(catalogue, without)
    once = ~repeats(keys)
    everyone = np.ones(len(keys), bool)
    steps = [count(EVERY, "repeats", "the first row of its spectrum", everyone, once)]
    dwarf = np.zeros(len(keys), bool) if listed is None else listed
    group = np.full(len(keys), "", dtype=f"U{max(map(len, GROUPS))}")
    for name in GROUPS:
        here = dwarf if name == DWARFS else ~dwarf & (group == "")
        said = {DWARFS: "in the list of dwarfs", COLOURS: "not in the list of dwarfs"}
        says = said.get(name, "neither in the list of dwarfs nor in population 2")
        steps.append(count(name, "population", says, once, here))
        applied, kept = _apply(name, columns, once & here, without)
        steps += applied
        group[kept] = name
    passes = lowz(columns) if set(DF_COLUMNS) <= set(columns) else np.zeros(len(keys), bool)
    return Sample(group, passes, tuple(steps))


def _apply(
    group: str, columns: Columns, kept: Bools, without: Collection[str]
) -> tuple[list[Step], Bools]:
    steps = []
    for name, cut in CUTS[group].items():
        passes = np.ones(len(kept), bool)
        if name not in without:
            with np.errstate(invalid="ignore"):
                passes = np.asarray(cut.keeps(columns), bool)
        says = f"NOT APPLIED: {cut.says}" if name in without else cut.says
        steps.append(count(group, name, says, kept, passes))
        kept = kept & passes
    return steps, kept


def _numbers(name: str, values: Array) -> Array:
    """A column as numbers; a text among them is one that is unknown, and said."""
    if values.dtype.kind in "biuf":
        return values
    numbers, words = numbers_of(values)
    if words:
        print(f"  {name}: {len(words)} of {len(values)} are no number, such as {words[0]!r}")
    return numbers


def _columns(catalogue: Catalogue, without: Collection[str]) -> dict[str, Array]:
    """Columns of the cuts by their lower-case names."""
    found = {"targetid": catalogue.ids} if catalogue.ids.dtype.kind == "i" else {}
    if catalogue.roles.z is not None:
        found["z"] = catalogue.z
    lacking: dict[str, list[str]] = {}
    for name, cut in {name: cut for group in GROUPS for name, cut in CUTS[group].items()}.items():
        for column in cut.columns:
            values = catalogue.find(column)
            if column not in found and values is not None:
                found[column] = values if column in WORDS else _numbers(column, values)
            if column not in found and name not in without:
                lacking.setdefault(name, []).append(column)
    if lacking:
        listed = "; ".join(f"{name}: {', '.join(columns)}" for name, columns in lacking.items())
        raise DataError(
            f"{catalogue.path} has not the columns of some cuts ({listed}); add what is missing, "
            f"or leave these cuts out, which the count will show: "
            f"without=[{','.join([*without, *lacking])}]"
        )
    return found
