"""Which rows are of one spectrum, which of one galaxy, and which are in a list of dwarfs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools
from ssl_photoz.fetching.challenge.cuts import Cut

# Of the catalogue of dwarfs: what the challenge leaves out of it.
DWARF_CUTS = (
    Cut("DWARF_MASKBIT = 0", ("dwarf_maskbit",), lambda c: c["dwarf_maskbit"] == 0),
    Cut("no ZWARN", ("zwarn",), lambda c: ~c["zwarn"].astype(bool)),
    Cut("SAMPLE is not ELG", ("sample",), lambda c: _stripped(c["sample"]) != "ELG"),
)


class Listed(NamedTuple):
    """Which galaxies are in a list of dwarfs.

    Attributes:
        rows: True for each row of the catalogue that is in the list, (N,).
        says: Sentence on how the list was read, and how the rows were matched.
    """

    rows: Bools
    says: str


def spectrum_keys(catalogue: Catalogue) -> Array:
    """What identifies the spectrum of each row: TARGETID, survey and program, (N,) text.

    Where there is no survey or no program, the id alone.
    """
    return _keys(catalogue, _both(catalogue))


def in_list(catalogue: Catalogue, dwarfs: Catalogue) -> Listed:
    """Find the rows that are in a catalogue of dwarfs.

    They are matched by TARGETID, survey and program, or by TARGETID alone if one of the two has no
    survey or no program. Rows of the list with a set DWARF_MASKBIT or ZWARN, or of the SAMPLE
    ELG, are left out, where it has these columns.

    Raises:
        DataError: If the ids of the two are of different kinds.
    """
    if catalogue.ids.dtype.kind != dwarfs.ids.dtype.kind:
        raise DataError(
            f"ids of {catalogue.path} are {catalogue.ids.dtype}, those of {dwarfs.path} "
            f"{dwarfs.ids.dtype}; name the TARGETID of both"
        )
    kept, said = np.ones(len(dwarfs), bool), []
    for cut in DWARF_CUTS:
        values = dwarfs.find(cut.columns[0])
        if values is None:
            said.append(f"no {cut.columns[0].upper()}")
            continue
        passes = cut.keeps({cut.columns[0]: values})
        said.append(f"{int((kept & ~passes).sum())} fail {cut.says}")
        kept &= passes
    both = _both(catalogue) and _both(dwarfs)
    rows = np.isin(_keys(catalogue, both), _keys(dwarfs, both)[kept])
    matched = "TARGETID, survey and program" if both else "TARGETID alone"
    return Listed(
        rows,
        f"{dwarfs.path}: {len(dwarfs)} rows, {int(kept.sum())} kept ({'; '.join(said)}); "
        f"{int(rows.sum())} rows of the catalogue are in it, by {matched}",
    )


def _both(catalogue: Catalogue) -> bool:
    return catalogue.find("survey") is not None and catalogue.find("program") is not None


def _keys(catalogue: Catalogue, with_program: bool) -> Array:
    ids = catalogue.ids.astype(str)
    survey, program = catalogue.find("survey"), catalogue.find("program")
    if not with_program or survey is None or program is None:
        return ids
    parts = zip(ids.tolist(), _stripped(survey), _stripped(program), strict=True)
    return np.array(["_".join(part) for part in parts])


def _stripped(values: Array) -> Array:
    return np.array([str(value).strip() for value in values.tolist()])
