"""Redshift densities from embeddings of galaxy images, for RAIL.

The input is a table with a column ``embedding``, (N, D), as ``ssl-photoz embed`` and ``join`` write
it, or any vectors that were measured in the same way for all galaxies. The model that RAIL keeps is
the path of a probe folder and its checksum: the probe itself lies in the folder, in safetensors.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import qp
from ceci.config import StageParameter as Param
from rail.core.common_params import SharedParams
from rail.core.data import TableLike
from rail.estimation.estimator import CatEstimator
from rail.estimation.informer import CatInformer

EMBEDDING = Param(str, "embedding", msg="name of the column of vectors, (N, D)")
Model = dict[str, str]


def vectors_of(data: TableLike, column: str) -> np.ndarray:
    """Vectors of a table as float32, (N, D): of an array, or of a list a row, as Parquet has.

    Raises:
        KeyError: If there is no such column.
        ValueError: If it does not hold vectors of one length.
    """
    if column not in data:
        raise KeyError(f"the table has no column {column!r}, it has {', '.join(map(str, data))}")
    values = np.asarray(data[column])
    if values.dtype == object:
        values = np.stack([np.asarray(one, np.float32) for one in values])
    if values.ndim != 2:
        raise ValueError(f"column {column!r} has shape {values.shape}, expected vectors, (N, D)")
    return values.astype(np.float32)


class SslPhotozInformer(CatInformer):
    """Fit a density probe to embeddings with spectroscopic redshifts.

    Galaxies without a usable redshift are left out. A tenth of the others, drawn at random, chooses
    the probe's settings.
    """

    name = "SslPhotozInformer"
    entrypoint_function = "inform"
    interactive_function = "ssl_photoz_informer"
    config_options = CatInformer.config_options.copy()
    config_options.update(
        redshift_col=SharedParams.copy_param("redshift_col"),
        embedding_col=EMBEDDING,
        probe=Param(str, "mixture", msg="mixture (a density network) or neighbours"),
        probe_folder=Param(str, "ssl_photoz_probe", msg="folder that the fitted probe is kept in"),
        seed=Param(int, 0, msg="seed of the fit"),
    )

    def run(self) -> None:
        """Fit the probe, keep it in its folder, and hand on where that is."""
        import ssl_photoz as sp

        table = self.get_data("input")
        if self.config.hdf5_groupname:
            table = table[self.config.hdf5_groupname]
        table = self._convert_table_format(table)
        features = vectors_of(table, self.config.embedding_col)
        z = np.asarray(table[self.config.redshift_col], np.float64)
        photoz = sp.PhotoZ(self.config.probe, seed=self.config.seed).fit(features, z)
        folder = photoz.save(Path(self.config.probe_folder).resolve())
        self.model: Model = {"probe_folder": str(folder), "sha256": checksum(folder)}
        self.add_data("model", self.model)

    def validate(self) -> None:
        """Look for the columns before the fit."""
        wanted = [self.config.redshift_col, self.config.embedding_col]
        self._check_column_names(self.get_handle("input", allow_missing=True), wanted)


class SslPhotozEstimator(CatEstimator):
    """Redshift densities of embeddings, by the probe that an informer has fitted.

    A density is given at ``nzbins`` points from ``zmin`` to ``zmax``, between which it is linear;
    ``p_outside`` of the ancillary table is the probability that lies beyond them.
    """

    name = "SslPhotozEstimator"
    entrypoint_function = "estimate"
    interactive_function = "ssl_photoz_estimator"
    config_options = CatEstimator.config_options.copy()
    config_options.update(
        zmin=SharedParams.copy_param("zmin"),
        zmax=SharedParams.copy_param("zmax"),
        nzbins=SharedParams.copy_param("nzbins"),
        embedding_col=EMBEDDING,
    )

    def open_model(self, **kwargs: Any) -> None:  # noqa: ANN401 (as in RAIL)
        """Load the probe that a model names, if it is the one that the model was made of.

        Raises:
            ValueError: If the folder holds another probe than then.
        """
        import ssl_photoz as sp

        super().open_model(**kwargs)
        if self.model is None:
            return
        folder = Path(self.model["probe_folder"])
        if (found := checksum(folder)) != self.model["sha256"]:
            raise ValueError(
                f"{folder} holds a probe with checksum {found[:12]}, the model was made of "
                f"{self.model['sha256'][:12]}; run the informer again"
            )
        self.photoz = sp.PhotoZ.load(folder)

    def _process_chunk(self, start: int, end: int, data: TableLike, first: bool) -> None:
        # A data frame keeps its row numbers, by which qp would look for the ids of a later chunk.
        table = self._convert_table_format(data)
        density = self.photoz.density(vectors_of(table, self.config.embedding_col))
        grid = np.linspace(self.config.zmin, self.config.zmax, self.config.nzbins)
        values = np.stack([density.pdf_at(z) for z in grid], axis=1)
        inside = density.cdf_at(grid[-1]) - density.cdf_at(grid[0])
        ensemble = qp.Ensemble(qp.interp, data={"xvals": grid, "yvals": values})
        ensemble.set_ancil({"p_outside": np.clip(1 - inside, 0, 1)})
        self._do_chunk_output(ensemble, start, end, first, data=table)


def checksum(folder: Path) -> str:
    """The sha256 of the card and the weights of a probe folder.

    Raises:
        FileNotFoundError: If there is no finished probe.
    """
    files = [folder / "card.json", *sorted(folder.glob("*.safetensors"))]
    seen = hashlib.sha256()
    for path in files:
        seen.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()
