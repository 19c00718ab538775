"""Densities of a network that tells redshift bins apart: calibrated, judged and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.calibration import Calibration
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import write_densities
from ssl_photoz.photoz.diagnostics import diagnose
from ssl_photoz.photoz.labels import Labelled

STEP = 1e-6
CALIBRATION = "densities.safetensors"
AT_ONCE = 8_192


def density_of_bins(edges: Doubles, probability: Array) -> Density:
    """Densities that are even within bins and step between them.

    Args:
        edges: Redshifts of the bin edges, increasing, shape (K+1,).
        probability: Probability of each bin, shape (N, K).
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
        folder: Folder of ``pdfs.parquet``, see `write_densities`, and of the calibration.
        densities: Densities of ``val`` and ``test``.
        galaxies: The galaxies of ``val`` and ``test``.
        simulated: Whether the galaxies are simulated, for a column of the table.

    Returns:
        What `diagnose` says of ``test``, and before calibration of ``test_uncalibrated``.
    """
    val, before, test = densities["val"], densities["test"], galaxies["test"]
    calibration = Calibration.fit(val.cdf_at(galaxies["val"].z), val.median())
    density = calibration.apply(before)
    columns = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z}
    write_densities(folder / "pdfs.parquet", iter([(columns, density)]), simulated=simulated)
    with atomic_path(folder / CALIBRATION) as scratch:
        arrays = {name: np.ascontiguousarray(array) for name, array in asdict(calibration).items()}
        scratch.write_bytes(save(arrays))
    return {"test": diagnose(density, test.z), "test_uncalibrated": diagnose(before, test.z)}


def load_calibration(folder: Path) -> Calibration:
    """Read the calibration that `save_densities` fitted.

    Raises:
        ArtefactError: If it is missing or damaged.
    """
    try:
        return Calibration(**load_file(folder / CALIBRATION))
    except (OSError, TypeError, SafetensorError) as error:
        raise ArtefactError(f"{folder / CALIBRATION} cannot be read ({error})") from None


def calibrated_parts(
    calibration: Calibration, edges: Doubles, probability: Array, columns: Mapping[str, Array]
) -> Iterator[tuple[dict[str, Array], Density]]:
    """Yield galaxies' columns and calibrated densities, a part at a time.

    Args:
        calibration: Calibration of the network that gave the probabilities.
        edges: Redshifts of the bin edges, increasing, shape (K+1,).
        probability: Probability of each bin, shape (N, K).
        columns: ``id``, ``ra``, ``dec``, ``z_spec`` ... of the galaxies, shape (N,).
    """
    for start in range(0, len(probability), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        density = calibration.apply(density_of_bins(edges, probability[some]))
        yield {name: column[some] for name, column in columns.items()}, density
