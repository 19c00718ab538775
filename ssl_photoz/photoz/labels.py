"""From an embeddings folder to labelled galaxies, split by sky."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array, Bools, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings

Features = Literal["embedding", "aperture", "both"]
SPLITS = ("train", "val", "test")
FEWEST_LABELS = 10
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Labelled:
    """Galaxies with a spectroscopic redshift.

    Attributes:
        features: Shape (N, D).
        z: Spectroscopic redshifts, shape (N,).
        id: Identifiers, shape (N,).
        ra: Degrees, shape (N,).
        dec: Degrees, shape (N,).
        magnitude: To bin by, shape (N,); None if no column was asked for.
    """

    features: Floats
    z: Array
    id: Array
    ra: Array
    dec: Array
    magnitude: Array | None = None

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: Array) -> Labelled:
        """Some of the galaxies: row numbers or a mask."""
        return Labelled(
            features=self.features[rows],
            z=self.z[rows],
            id=self.id[rows],
            ra=self.ra[rows],
            dec=self.dec[rows],
            magnitude=None if self.magnitude is None else self.magnitude[rows],
        )


def usable(z: Array) -> Bools:
    """Say which redshifts can be a label: finite and greater than zero."""
    return np.asarray(np.isfinite(z) & (np.nan_to_num(z) > 0))


def read_labelled(
    embeddings: Embeddings, *, features: Features = "embedding", magnitude: str | None = None
) -> dict[str, Labelled]:
    """Labelled galaxies of each split.

    Args:
        embeddings: The store.
        features: Which vectors a probe reads.
        magnitude: Name of a column to bin results by.

    Raises:
        DataError: If a split has fewer than 10 usable redshifts.
        ArtefactError: If a column is missing.
    """
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    keep = usable(z)
    some = Labelled(
        features=np.concatenate(
            [batch[part] for batch, part in in_step(embeddings, features, keep)]
        ),
        z=z[keep],
        id=embeddings.column("id")[keep],
        ra=embeddings.column("ra")[keep],
        dec=embeddings.column("dec")[keep],
        magnitude=None if magnitude is None else embeddings.column(magnitude)[keep],
    )
    side = embeddings.column("split").astype(str)[keep]
    splits = {split: some.take(side == split) for split in SPLITS}
    for split, galaxies in splits.items():
        if len(galaxies) < FEWEST_LABELS:
            raise DataError(
                f"{embeddings.folder} has {len(galaxies)} usable redshifts (finite, > 0) in its "
                f"{split} split, expected at least {FEWEST_LABELS}; embed more labelled galaxies, "
                f"or pretrain with other split fractions"
            )
    return splits


def census(embeddings: Embeddings, counts: Mapping[str, int]) -> str:
    """Say how many redshifts are used, and how many rows have none or one that is no label."""
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    missing = int(np.isnan(z).sum())
    refused = int((~usable(z)).sum()) - missing
    used = ", ".join(f"{count} {split}" for split, count in counts.items())
    return (
        f"{len(z)} galaxies: redshifts used {used}; without redshift {missing}; refused {refused} "
        f"(infinite or not > 0)"
    )


def in_step(
    embeddings: Embeddings, features: Features, per_row: Array, *, size: int = ROWS_AT_ONCE
) -> Iterator[tuple[Floats, Array]]:
    """Yield features (n, D) with the same n rows of an array, in order, a part at a time.

    Raises:
        ArtefactError: If the embeddings hold no such vectors.
    """
    names = ("embedding", "aperture") if features == "both" else (features,)
    for name in names:
        if name not in embeddings.columns:
            raise ArtefactError(
                f"{embeddings.folder} has no {name!r} vectors; it has "
                f"{', '.join(embeddings.columns)}: set features= to what is there, or embed again"
            )
    first = 0
    for parts in zip(*(embeddings.batches(size, name) for name in names), strict=True):
        batch = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        yield batch, per_row[first : first + len(batch)]
        first += len(batch)


def fewer(galaxies: Labelled, labels: int | None, *, seed: int) -> Labelled:
    """Random subset of this many galaxies; all of them if None.

    Raises:
        DataError: If there are not so many.
    """
    if labels is None:
        return galaxies
    return galaxies.take(choose(len(galaxies), labels, seed=seed))


def choose(count: int, labels: int | None, *, seed: int) -> Ints:
    """Choose which of the labelled training galaxies are used, as places 0 to count - 1.

    Raises:
        DataError: If there are not so many.
    """
    wanted = count if labels is None else labels
    if not FEWEST_LABELS <= wanted <= count:
        raise DataError(
            f"labels={wanted}, expected {FEWEST_LABELS} to {count}, the labelled galaxies "
            f"of the training split"
        )
    return np.sort(np.random.default_rng(seed).choice(count, wanted, replace=False))
