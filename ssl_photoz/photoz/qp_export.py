"""Densities as `qp` ensembles, the form that photometric-redshift pipelines exchange."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import read_densities

MISSING = "qp is not installed: pip install 'ssl-photoz[qp]'"


def export(folder: Path, *, wanted: bool) -> str:
    """Write ``qp.hdf5`` beside the ``pdfs.parquet`` of a folder, if that is wanted and possible.

    Returns:
        What became of it, for the card.
    """
    if not wanted:
        return "not asked for"
    if find_spec("qp") is None:
        return f"skipped: {MISSING}"
    columns, density = read_densities(folder / "pdfs.parquet")
    write_qp(folder / "qp.hdf5", density, id=columns["id"], z_phot=columns["z_phot"])
    return "qp.hdf5"


def write_qp(path: Path, density: Density, *, id: Array, z_phot: Array) -> None:
    """Write an ensemble that interpolates linearly between points, as `Density` does.

    Args:
        path: Ends in .hdf5.
        density: Of N galaxies.
        id: Identifiers, shape (N,); text becomes bytes.
        z_phot: Point estimates, shape (N,); ``z_phot`` of the ancillary table.

    References:
        Malz et al. 2018, AJ 156, 35.
    """
    import qp

    numbers = id.dtype.kind in "iu"
    ancillary = {"id": id if numbers else id.astype(str).astype("S"), "z_phot": z_phot}
    ensemble = qp.Ensemble(
        qp.interp, data={"xvals": density.grid, "yvals": density.values}, ancil=ancillary
    )
    with atomic_path(path) as scratch:
        ensemble.write_to(str(scratch))
