"""The redshift challenge's sample from a DESI-like catalogue."""

from __future__ import annotations

from pathlib import Path

from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import PathLike

REPEATS = ("keep", "first")


def select(
    catalogue: PathLike,
    out: PathLike,
    dwarfs: PathLike | None = None,
    *,
    per_group: int | None = None,
    seed: int = 42,
    repeats: str = "keep",
    without: tuple[str, ...] = (),
    columns: Roles = Roles(),
) -> Path:
    """Select the redshift challenge's sample from a DESI-like catalogue.

        ssl-photoz select catalogue=zall.fits dwarfs=desi_dwarfs.fits out=sample.parquet

    Writes the selected rows with ``group`` and ``passes_df_cuts``, and beside them
    ``sample.cuts.csv``: how many rows each cut removed from each population. docs/fetch.md says
    what each cut is.

    Args:
        catalogue: DESI-like table: redshifts joined with photometry; columns in any case.
        out: The sample to write: .parquet, .fits, .csv or .vot.
        dwarfs: Catalogue of dwarfs that is population 1; null: none, population 1 stays empty.
        per_group: Galaxies to draw of each population; null: all. The challenge drew 83333.
        seed: Seed of the draw.
        repeats: Spectra of one TARGETID in several surveys or programs: keep, as the challenge
            does, or first: one row each.
        without: Cuts to leave out for want of their columns.
        columns: Names of id, ra, dec and z, where the guess would be wrong.

    Returns:
        The path of the sample.

    Raises:
        ConfigError: If a setting is none, or a suffix no table's.
        DataError: If a catalogue cannot be used, the format of out cannot hold its columns, or no
            row is selected.
    """
    from ssl_photoz.catalog.catalogue import read_catalogue
    from ssl_photoz.catalog.tables import require_suffix, require_writable, write_table
    from ssl_photoz.fetching.challenge.populations import choose
    from ssl_photoz.fetching.challenge.sample import (
        draw,
        one_per_galaxy,
        steps_as_text,
        write_steps,
    )
    from ssl_photoz.fetching.challenge.sample import repeats as repeated
    from ssl_photoz.fetching.challenge.spectra import in_list, spectrum_keys

    if repeats not in REPEATS:
        raise ConfigError(f"repeats is {repeats!r}, expected {' or '.join(REPEATS)}")
    if per_group is not None and per_group < 1:
        raise ConfigError(f"per_group is {per_group}, expected at least 1")
    out = Path(out)
    require_suffix(out)
    table = read_catalogue(Path(catalogue), columns)
    require_writable(out, table.columns)
    print(table.as_text())
    if dwarfs is None:
        print("no dwarfs=: population 1 stays empty, its galaxies are not taken out of the others")
        rows = None
    else:
        rows, said = in_list(table, read_catalogue(Path(dwarfs)))
        print(said)
    keys = spectrum_keys(table)
    sample = choose(table, keys, rows, without=without)
    if repeats == "first":
        sample = one_per_galaxy(sample, table.ids)
    if per_group is not None:
        sample = draw(sample, keys, per_group=per_group, seed=seed)
    print(steps_as_text(sample))
    selected = sample.group != ""
    if not selected.any():
        raise DataError(f"no row of {catalogue} is selected; the table above says why")
    made = {"group": sample.group, "passes_df_cuts": sample.passes_df_cuts}
    renamed = {
        f"catalogue_{name}" if name.lower() in made else name: values
        for name, values in table.columns.items()
    }
    chosen = {name: values[selected] for name, values in {**renamed, **made}.items()}
    write_table(out, chosen, simulated=table.simulated)
    write_steps(out.with_suffix(".cuts.csv"), sample)
    again = int(repeated(table.ids[selected]).sum())
    print(
        f"{len(table)} rows in, {int(selected.sum())} selected, {int((~selected).sum())} "
        f"removed as counted above; {again} selected rows repeat a TARGETID\n{out}"
    )
    return out
