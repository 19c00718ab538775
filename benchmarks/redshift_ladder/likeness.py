"""Do look-alikes share what makes galaxies alike?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.neighbors import NearestNeighbors

from benchmarks.redshift_ladder.photometry import rows_of
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.base import PrincipalAxes
from ssl_photoz.photoz.labels import Labelled

NEIGHBOURS = 8
DIM = 64


def likeness(
    embeddings: Embeddings, splits: Mapping[str, Labelled], properties: Sequence[str]
) -> dict[str, float]:
    """Say how much of each property a galaxy shares with its 8 nearest in the embedding.

    Test galaxies look among those of the training sky, by cosine on 64 principal components, as
    the similarity index does. The score is R² of the neighbours' mean: 1 if they have the
    property in common, 0 if they might be any galaxies.

    Args:
        embeddings: Holds the columns.
        splits: Features of ``train`` and ``test``.
        properties: Columns, or differences of two such as ``mag_g - mag_r``.
    """
    axes = PrincipalAxes.fit(splits["train"].features, DIM)
    known, asked = (axes.apply(splits[split].features) for split in ("train", "test"))
    rows = (
        NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine")
        .fit(known)
        .kneighbors(asked, return_distance=False)
    )
    at = {split: rows_of(embeddings, some) for split, some in splits.items()}
    found = {}
    for name in properties:
        values = _values(embeddings, name)
        truth, theirs = values[at["test"]], values[at["train"]][rows].mean(axis=1)
        found[name] = 1 - float(np.mean((truth - theirs) ** 2) / np.var(truth))
    return found


def _values(embeddings: Embeddings, name: str) -> Doubles:
    parts: list[Array] = [
        np.asarray(embeddings.column(part), np.float64) for part in name.split(" - ")
    ]
    values = parts[0] if len(parts) == 1 else parts[0] - parts[1]
    return np.log(values) if "radius" in name else values
