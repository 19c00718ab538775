"""Select the redshift challenge's sample from a DESI-like catalogue.

    ssl-photoz select catalogue=zall.fits dwarfs=desi_dwarfs.fits out=sample.parquet

Writes the selected rows with ``group`` and ``passes_df_cuts``, and beside them
``sample.cuts.csv``: how many rows each cut removed from each population.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import ConfigError, DataError

REPEATS = ("keep", "first")


@dataclass(frozen=True)
class Settings:
    """Whom to select.

    Attributes:
        catalogue: DESI-like table: redshifts joined with photometry; columns in any case.
        out: The sample to write: .parquet, .fits, .csv or .vot.
        dwarfs: Catalogue of dwarfs that is population 1; null: none, population 1 stays empty.
        per_group: Galaxies to draw of each population; null: all. The challenge drew 83333.
        seed: Of the draw.
        repeats: Spectra of one TARGETID in several surveys or programs: keep, as the challenge
            does, or first: one row each.
        without: Cuts to leave out for want of their columns.
        columns: Names of id, ra, dec and z, where the guess would be wrong.
    """

    catalogue: Path
    out: Path
    dwarfs: Path | None = None
    per_group: int | None = None
    seed: int = 42
    repeats: str = "keep"
    without: tuple[str, ...] = ()
    columns: Roles = field(default_factory=Roles)

    def __post_init__(self) -> None:
        if self.repeats not in REPEATS:
            raise ConfigError(f"repeats is {self.repeats!r}, expected {' or '.join(REPEATS)}")
        if self.per_group is not None and self.per_group < 1:
            raise ConfigError(f"per_group is {self.per_group}, expected at least 1")


def main(settings: Settings) -> None:
    """Run ``ssl-photoz select``."""
    from ssl_photoz.catalog.catalogue import read_catalogue
    from ssl_photoz.catalog.tables import require_suffix, write_table
    from ssl_photoz.fetching.challenge.populations import choose
    from ssl_photoz.fetching.challenge.sample import (
        draw,
        one_per_galaxy,
        repeats,
        steps_as_text,
        write_steps,
    )
    from ssl_photoz.fetching.challenge.spectra import in_list, spectrum_keys

    require_suffix(settings.out)
    catalogue = read_catalogue(settings.catalogue, settings.columns)
    print(catalogue.as_text())
    if settings.dwarfs is None:
        print("no dwarfs=: population 1 stays empty, its galaxies are not taken out of the others")
        rows = None
    else:
        rows, said = in_list(catalogue, read_catalogue(settings.dwarfs))
        print(said)
    keys = spectrum_keys(catalogue)
    sample = choose(catalogue, keys, rows, without=settings.without)
    if settings.repeats == "first":
        sample = one_per_galaxy(sample, catalogue.ids)
    if settings.per_group is not None:
        sample = draw(sample, keys, per_group=settings.per_group, seed=settings.seed)
    print(steps_as_text(sample))
    selected = sample.group != ""
    if not selected.any():
        raise DataError(f"no row of {settings.catalogue} is selected; the table above says why")
    made = {"group": sample.group, "passes_df_cuts": sample.passes_df_cuts}
    renamed = {
        f"catalogue_{name}" if name.lower() in made else name: values
        for name, values in catalogue.columns.items()
    }
    chosen = {name: values[selected] for name, values in {**renamed, **made}.items()}
    write_table(settings.out, chosen, simulated=catalogue.simulated)
    write_steps(settings.out.with_suffix(".cuts.csv"), sample)
    again = int(repeats(catalogue.ids[selected]).sum())
    print(
        f"{len(catalogue)} rows in, {int(selected.sum())} selected, {int((~selected).sum())} "
        f"removed as counted above; {again} selected rows repeat a TARGETID\n{settings.out}"
    )
