"""Densities of a network that tells redshift bins apart: calibrated, judged and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.redshift.calibration import Calibration
from ssl_photoz.redshift.density import Density
from ssl_photoz.redshift.density_table import write_densities
from ssl_photoz.redshift.diagnostics import diagnose
from ssl_photoz.redshift.labels import Labelled
from ssl_photoz.types import Array, Doubles

STEP = 1e-6


def density_of_bins(edges: Doubles, probability: Array) -> Density:
    """Return densities that are even within bins and step between them.

    Args:
        edges: Redshifts, increasing, shape (K+1,).
        probability: Of each bin, shape (N, K).
    """
    width = np.diff(edges)
    grid = np.stack([edges[:-1] + STEP * width, edges[1:] - STEP * width], axis=1).ravel()
    values = np.repeat(np.asarray(probability, dtype=np.float64) / width, 2, axis=1)
    grid[[0, -1]] = edges[[0, -1]]
    return Density.of(grid, values)


def save_densities(
    folder: Path,
    densities: Mapping[str, Density],
    galaxies: Mapping[str, Labelled],
    *,
    simulated: bool,
) -> dict[str, Any]:
    """Calibrate densities on validation; judge and write those of the test galaxies.

    Args:
        folder: Where ``pdfs.parquet`` goes, see `write_densities`.
        densities: ``val`` and ``test``.
        galaxies: Likewise.
        simulated: Becomes a column of the table.

    Returns:
        What `diagnose` says of ``test``, and before calibration of ``test_uncalibrated``.
    """
    val, before, test = densities["val"], densities["test"], galaxies["test"]
    calibration = Calibration.fit(val.cdf_at(galaxies["val"].z), val.median())
    density = calibration.apply(before)
    columns = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z}
    write_densities(folder / "pdfs.parquet", iter([(columns, density)]), simulated=simulated)
    return {"test": diagnose(density, test.z), "test_uncalibrated": diagnose(before, test.z)}
