"""Which rows no search returns: shreds, duplicates, stars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.types import Bools
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.uploads import read_list


def rows_to_hide(
    embeddings: Embeddings, *, columns: Sequence[str] = (), listed: Path | None = None
) -> Bools | None:
    """Say which rows to hide, shape (N,); None if nothing was asked for.

    Args:
        embeddings: The indexed store.
        columns: Columns of it: rows where one is true (not zero, not NaN) are hidden.
        listed: A table with a column ``id``, or ``ra`` and ``dec``; galaxies in it that the store
            does not have are passed over.

    Raises:
        ArtefactError: If there is no such column.
        DataError: If a column is not of numbers or truth values, if none of the list is in the
            store, or if every row would be hidden.
    """
    if not columns and listed is None:
        return None
    hidden = np.zeros(len(embeddings), bool)
    for name in columns:
        values = embeddings.column(name)
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise DataError(
                f"column {name} holds {values.dtype} of shape {values.shape}, expected one truth "
                f"value or number per row; hide= takes such columns"
            )
        hidden |= (values == values) & (values != 0)
    if listed is not None:
        hidden[read_list(listed, Catalogue.read(embeddings), missing="skip").rows] = True
    if hidden.all():
        raise DataError(f"hide= would hide every one of {len(hidden)} galaxies; hide fewer")
    return hidden
