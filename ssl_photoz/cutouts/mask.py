"""Masks: lists of bad cutouts; written by ``inspect``, kept beside the data, never in it.

A mask is a folder: ``mask.parquet`` with a row per cutout checked (``row``, ``id``, a truth value
per check, ``keep``, ``reason``), and a card that names the data by its fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.core.types import Array, Bools, PathLike
from ssl_photoz.cutouts.reader import Cutouts

TABLE = "mask.parquet"
KIND = "mask"
MASKED = "masked: "


def write_mask(
    folder: Path, ids: Array, flags: Mapping[str, Bools], rejecting: Sequence[str]
) -> dict[str, int]:
    """Write the table of a mask.

    Args:
        folder: The mask's folder.
        ids: Identifiers of all rows of the cutout file, shape (N,).
        flags: Flags of each check, shape (N,); the first check that rejects a row is its reason.
        rejecting: The checks that reject what they flag; the others only flag.

    Returns:
        How many rows are rejected, by reason.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name in flags if name in rejecting]
    reason = np.select([flags[name] for name in names], names, default="") if names else None
    reason = np.full(len(ids), "") if reason is None else reason
    columns = {"row": np.arange(len(ids)), "id": ids, **flags, "keep": reason == ""}
    arrays = {name: pa.array(values) for name, values in columns.items()}
    with artefact.atomic_path(folder / TABLE) as scratch:
        pq.write_table(pa.table({**arrays, "reason": pa.array(reason)}), scratch)
    return {name: int((reason == name).sum()) for name in names}


class MaskCard(artefact.Card):
    """What the card of a mask says."""

    @property
    def flagged(self) -> dict[str, int]:
        """Rows that each check flags."""
        return dict(self["flagged"])

    @property
    def rejected(self) -> dict[str, int]:
        """Rows that each check rejects, each row under the first that does."""
        return dict(self["rejected"])

    @property
    def rows_checked(self) -> int:
        """Rows of the cutout file."""
        return int(self["rows_checked"])

    @property
    def rows_rejected(self) -> int:
        """Rows that some check rejects."""
        return int(self["rows_rejected"])

    @property
    def left_out(self) -> dict[str, str]:
        """Checks that make no sense for the file, and why."""
        return dict(self["left_out"])


def cutout_parents(data: PathLike | Cutouts, mask: PathLike | None) -> dict[str, str]:
    """Fingerprint of a cutout file and, if there is a mask, of that.

    Raises:
        ArtefactError: If the mask is unfinished or damaged.
        MismatchError: If the mask was made for other data, or is of some of a file's rows only.
    """
    if isinstance(data, Cutouts):
        if mask is not None:
            require_whole(data)
        data = data.source.path
    data, mask = Path(data), None if mask is None else Path(mask)
    parents = {"cutouts": artefact.fingerprint(data)}
    if mask is None:
        return parents
    made_for = artefact.read_card(mask, KIND).parents.get("cutouts")
    if made_for != parents["cutouts"]:
        raise MismatchError(
            f"the mask {mask} was made for other data (fingerprint {str(made_for)[:12]}) than "
            f"{data} ({parents['cutouts'][:12]}); run: ssl-photoz inspect data={data} mask=..."
        )
    return {**parents, "mask": artefact.sha256_of(mask / TABLE)}


def require_whole(cutouts: Cutouts) -> None:
    """Refuse some of a file's rows where a mask counts all.

    Raises:
        MismatchError: If so.
    """
    if cutouts.is_subset:
        raise MismatchError(
            f"a mask counts the rows of the whole file {cutouts.source.path}, these cutouts are "
            f"some of them; mask the whole file, or use the subset without a mask"
        )


def masked_rows(mask: PathLike | None) -> dict[int, str]:
    """Rows that a mask rejects, and why; none for no mask.

    Raises:
        ArtefactError: If the table cannot be read.
    """
    if mask is None:
        return {}
    mask = Path(mask)
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(mask / TABLE, columns=["row", "keep", "reason"])
        found = table.filter(pc.invert(table["keep"]))
        rows, reasons = found["row"].to_pylist(), found["reason"].to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(
            f"{mask / TABLE} cannot be read ({type(error).__name__}); make the mask again"
        ) from None
    return {row: f"{MASKED}{reason}" for row, reason in zip(rows, reasons, strict=True)}
