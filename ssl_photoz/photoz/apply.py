"""Apply a fitted probe to a whole embeddings folder, a part at a time."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Array, Bools
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.base import Prediction, Probe
from ssl_photoz.photoz.labels import in_step
from ssl_photoz.photoz.settings import Features

Rows = Literal["unlabelled", "all"]


def wanted_rows(embeddings: Embeddings, rows: Rows) -> Bools:
    """Mask of rows to predict.

    Raises:
        DataError: If there is none.
    """
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    mask = np.ones(len(z), dtype=bool) if rows == "all" else ~usable_labels(z)
    if not mask.any():
        raise DataError(
            f"all {len(z)} galaxies of {embeddings.folder} have a redshift; nothing is left for "
            f"rows=unlabelled: give rows=all"
        )
    return mask


def predict_rows(
    probe: Probe, embeddings: Embeddings, mask: Bools, *, features: Features
) -> dict[str, Array]:
    """Columns of a prediction table, one row per chosen row, in their order.

    Args:
        probe: Fitted to these features.
        embeddings: The store.
        mask: Rows to predict, shape (N,).
        features: Which vectors the probe reads.

    Returns:
        ``id``, ``ra``, ``dec``, ``z_phot``, ``z_lo``, ``z_hi`` and, where the probe has them,
        ``neighbours`` (n, K): ids of the labelled galaxies used.
    """
    ids = embeddings.column("id")
    parts: list[Prediction] = []
    with tqdm(total=int(mask.sum()), desc="predict", unit="galaxy", leave=False) as bar:
        for batch, rows in in_step(embeddings, features, np.arange(len(mask))):
            keep = mask[rows]
            if keep.any():
                parts.append(probe.estimate(batch[keep], ids=ids[rows[keep]]))
                bar.update(int(keep.sum()))
    columns: dict[str, Any] = {
        "id": ids[mask],
        "ra": embeddings.column("ra")[mask],
        "dec": embeddings.column("dec")[mask],
    }
    for name in ("z_phot", "z_lo", "z_hi", "neighbours"):
        values = [getattr(part, name) for part in parts]
        if values[0] is not None:
            columns[name] = np.concatenate(values)
    return columns
