"""Tables of redshift densities, of probes and of networks with bins: Parquet, exported to qp."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tqdm import tqdm

from ssl_photoz.catalog.writable import to_arrow
from ssl_photoz.core import extras
from ssl_photoz.core.artefact import atomic_path, read_card
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Bools, Doubles
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.artefact import load_fitted, save_fitted
from ssl_photoz.photoz.calibration import Calibration
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.diagnostics import diagnose
from ssl_photoz.photoz.experiment import Calibrated
from ssl_photoz.photoz.knn import NeighbourDensity
from ssl_photoz.photoz.label_coverage import LabelCoverage
from ssl_photoz.photoz.label_sources import Labels
from ssl_photoz.photoz.labels import Labelled, in_step
from ssl_photoz.photoz.networks import Mixture
from ssl_photoz.photoz.scores import NEARBY
from ssl_photoz.photoz.settings import Features

Rows = Literal["test", "unseen"]
GRID = b"ssl_photoz.grid"
ROWS_AT_ONCE = 8_192


def wanted_rows(embeddings: Embeddings, rows: Rows, labels: Labels | None = None) -> Bools:
    """Mask of rows to give a density: labelled test galaxies, or those unlabelled too.

    Galaxies that a probe was fitted to or calibrated on are never among them.

    Args:
        embeddings: The store.
        rows: Which rows.
        labels: Labels of several sources; the store's own redshifts if None.
    """
    labelled = usable_labels(np.asarray(embeddings.column("z"), dtype=np.float64))
    if labels is not None:
        split = embeddings.column("split").astype(str)
        test = labels.spectroscopic & (split == "test")
        none = ~usable_labels(labels.z) & ~(labelled & (split != "test"))
        return np.asarray(test if rows == "test" else test | none)
    test = labelled & (embeddings.column("split").astype(str) == "test")
    return np.asarray(test if rows == "test" else test | ~labelled)


def per_test_galaxy(embeddings: Embeddings, name: str, labels: Labels | None = None) -> Array:
    """Column of the labelled test galaxies, in the order of `labels.read_labelled`; (N,).

    A column with a value per band is averaged over bands.
    """
    values = np.asarray(embeddings.column(name), dtype=np.float64)
    values = values[wanted_rows(embeddings, "test", labels)]
    return values if values.ndim == 1 else values.mean(axis=1)


def density_parts(
    fitted: Calibrated,
    embeddings: Embeddings,
    mask: Bools,
    *,
    features: Features,
    coverage: LabelCoverage | None = None,
) -> Iterator[tuple[dict[str, Array], Density]]:
    """Yield ``id``, ``ra``, ``dec``, ``z_spec`` and the densities of chosen rows, in order.

    Args:
        fitted: Calibrated probe of these features.
        embeddings: The store.
        mask: Rows to give a density, shape (N,).
        features: Which vectors the probe reads.
        coverage: Whether labels surround a galaxy, for further columns.
    """
    names = {"id": "id", "ra": "ra", "dec": "dec", "z_spec": "z"}
    columns = {name: embeddings.column(column) for name, column in names.items()}
    columns["z_spec"] = np.where(usable_labels(columns["z_spec"]), columns["z_spec"], np.nan)
    parts = in_step(embeddings, features, np.arange(len(mask)), size=ROWS_AT_ONCE)
    with tqdm(total=int(mask.sum()), desc="densities", unit="galaxy", leave=False) as bar:
        for vectors, rows in parts:
            keep = mask[rows]
            if keep.any():
                some = {name: values[rows[keep]] for name, values in columns.items()}
                if coverage is not None:
                    some |= coverage.columns(vectors[keep])
                yield some, fitted.density(vectors[keep], ids=some["id"])
                bar.update(int(keep.sum()))


def summary(density: Density) -> dict[str, Array]:
    """Columns that are read off a density, shape (N,) each.

    ``z_phot`` (median), ``z_lo`` and ``z_hi`` (central 68 %), ``odds``, ``good`` (odds >= 0.95),
    ``p_below_003`` and ``p_below_005`` (probability that z < 0.03, 0.05).
    """
    low, high = density.interval()
    below = {f"p_below_{round(100 * z):03d}": density.cdf_at(z) for z in NEARBY}
    return {
        "z_phot": density.median(),
        "z_lo": low,
        "z_hi": high,
        "odds": density.odds(),
        "good": density.good(),
        **below,
    }


def write_densities(
    path: Path, parts: Iterator[tuple[Mapping[str, Array], Density]], *, simulated: bool
) -> int:
    """Write galaxies and their densities to a Parquet file, atomically.

    The file's metadata holds the grid (``ssl_photoz.grid``, JSON); the column ``pdf`` is a
    fixed-size list of float32, probability per unit redshift.

    Args:
        path: File to write.
        parts: Columns, (n,) each, and densities of the same n galaxies; at least one part.
        simulated: Becomes a column, so that no copy of the table can lose it.

    Returns:
        Rows written.
    """
    rows, writer = 0, None
    with atomic_path(path) as scratch:
        try:
            for columns, density in parts:
                table = density_rows(columns, density, simulated=simulated)
                if writer is None:
                    writer = pq.ParquetWriter(scratch, table.schema, compression="zstd")
                writer.write_table(table)
                rows += len(density)
        finally:
            if writer is not None:
                writer.close()
    return rows


def read_densities(path: Path) -> tuple[dict[str, Array], Density]:
    """Columns of a table, and its densities.

    Raises:
        ArtefactError: If it is no table that `write_densities` wrote.
    """
    try:
        table = pq.read_table(path)
        grid = np.array(json.loads(table.schema.metadata[GRID]))
        values = table.column("pdf").combine_chunks().flatten().to_numpy().reshape(-1, len(grid))
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{path} is not a readable table of densities ({type(error).__name__}); run "
            f"probe density=true again"
        ) from None
    names = (name for name in table.column_names if name != "pdf")
    columns = {name: table.column(name).to_numpy() for name in names}
    return columns, Density.of(grid, values)


def density_rows(columns: Mapping[str, Array], density: Density, *, simulated: bool) -> pa.Table:
    """Rows of a table of densities, see `write_densities`, with what `summary` says of each.

    Args:
        columns: Other columns of the same n galaxies, shape (n,).
        density: Their densities.
        simulated: Value of the column ``simulated``.
    """
    named = {**columns, **summary(density)}
    plain = {name: to_arrow(name, values) for name, values in named.items()}
    pdf = pa.array(density.values.astype(np.float32).ravel())
    table = pa.table(
        {
            **plain,
            "simulated": np.full(len(density), simulated),
            "pdf": pa.FixedSizeListArray.from_arrays(pdf, len(density.grid)),
        }
    )
    return table.replace_schema_metadata({GRID: json.dumps(density.grid.tolist()).encode()})


def export_qp(folder: Path, *, wanted: bool) -> str:
    """Write ``qp.hdf5`` beside the ``pdfs.parquet`` of a folder, if that is wanted and possible.

    Returns:
        What became of it, for the card.
    """
    if not wanted:
        return "not asked for"
    if absent := extras.missing("qp"):
        return f"skipped: {absent}"
    columns, density = read_densities(folder / "pdfs.parquet")
    write_qp(folder / "qp.hdf5", density, id=columns["id"], z_phot=columns["z_phot"])
    return "qp.hdf5"


def write_qp(path: Path, density: Density, *, id: Array, z_phot: Array) -> None:
    """Write an ensemble that interpolates linearly between points, as `Density` does.

    Args:
        path: Ends in .hdf5.
        density: Densities of N galaxies.
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


def write_qp_histograms(path: Path, edges: Doubles, values: Array) -> None:
    """Write an ensemble of histograms.

    Args:
        path: Ends in .hdf5.
        edges: Bin edges, shape (B+1,).
        values: Probability per unit redshift in each bin, shape (N, B).
    """
    import qp

    ensemble = qp.Ensemble(qp.hist, data={"bins": edges, "pdfs": values})
    with atomic_path(path) as scratch:
        ensemble.write_to(str(scratch))


STEP = 1e-6
CALIBRATION = "densities.safetensors"
PROBE = "density_probe.safetensors"
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
    parts = iter([(test.columns(), density)])
    write_densities(folder / "pdfs.parquet", parts, simulated=simulated)
    save_calibration(folder, calibration)
    return {"test": diagnose(density, test.z), "test_uncalibrated": diagnose(before, test.z)}


def save_calibration(folder: Path, calibration: Calibration) -> None:
    """Write a calibration into a folder."""
    with atomic_path(folder / CALIBRATION) as scratch:
        arrays = {name: np.ascontiguousarray(array) for name, array in asdict(calibration).items()}
        scratch.write_bytes(save(arrays))


def save_calibrated(folder: Path, fitted: Calibrated) -> None:
    """Write a calibrated probe into a folder, to give densities to other galaxies later."""
    save_fitted(folder / PROBE, fitted.probe)
    save_calibration(folder, fitted.calibration)


def load_calibrated(folder: Path) -> Calibrated:
    """Read what `save_calibrated` wrote.

    Raises:
        ArtefactError: If the folder is unfinished, damaged, or of a version that kept no probe.
    """
    card = read_card(folder, "densities")
    if not (folder / PROBE).is_file():
        raise ArtefactError(
            f"{folder} has no {PROBE}: its version kept the densities and not what gave them; run "
            f"probe density=true again, into another folder"
        )
    kind: type[Any] = {"knn": NeighbourDensity, "mlp": Mixture}[card["method"]]
    said = card.get("calibrators", {})
    return Calibrated(
        load_fitted(folder / PROBE, kind),
        load_calibration(folder),
        str(said.get("which", "")),
        int(said.get("n", 0)),
    )


def load_calibration(folder: Path) -> Calibration:
    """Read the calibration that `save_calibration` wrote.

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
