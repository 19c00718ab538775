"""From an embeddings folder to labelled galaxies, split by sky, whose labels nobody has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.identity import means_none
from ssl_photoz.core.errors import ArtefactError, ContaminatedError, DataError
from ssl_photoz.core.types import Array, Doubles, Floats, Ints, PathLike
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.label_sources import Labels
from ssl_photoz.photoz.settings import Features, SampleConfig

SPLITS = ("train", "val", "test")
FEWEST_LABELS = 10
ENOUGH_TO_CALIBRATE = 5_000  # with fewer, training galaxies calibrate too
FOLDS = 5
MARK = "CONTAMINATED: "
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
        magnitude: Magnitudes to bin by, shape (N,); None if no column was asked for.
        z_error: Errors of the redshifts, shape (N,); None where no source states them.
        trust: Trust in the labels, shape (N,); None where all are alike.
        weight: How much each counts in a fit, shape (N,); None if all the same.
    """

    features: Floats
    z: Array
    id: Array
    ra: Array
    dec: Array
    magnitude: Array | None = None
    z_error: Doubles | None = None
    trust: Doubles | None = None
    weight: Doubles | None = None

    def __len__(self) -> int:
        return len(self.z)

    def columns(self) -> dict[str, Array]:
        """``id``, ``ra``, ``dec``, ``z_spec`` and, where known, ``magnitude``, of a table."""
        known = {"id": self.id, "ra": self.ra, "dec": self.dec, "z_spec": self.z}
        return known if self.magnitude is None else {**known, "magnitude": self.magnitude}

    def take(self, rows: Array) -> Labelled:
        """Some of the galaxies: row numbers or a mask."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        some: dict[str, Any] = {k: None if a is None else a[rows] for k, a in columns.items()}
        return replace(self, **some)


def open_embeddings(embeddings: PathLike | Embeddings) -> Embeddings:
    """Embeddings of a folder; those that are open already are handed back."""
    if isinstance(embeddings, Embeddings):
        return embeddings
    return Embeddings.open(Path(embeddings))


def read_sample(
    embeddings: Embeddings, sample: SampleConfig, labels: Labels | None = None
) -> tuple[dict[str, Labelled], dict[str, Any]]:
    """Read the galaxies that are asked for, print how many, say what must be known of them.

    Args:
        embeddings: The store.
        sample: Which galaxies, and what of them.
        labels: Labels of several sources; the store's own redshifts if None.

    Returns:
        The labelled galaxies of each split, and facts for metrics and cards: those of
        `label_facts`, ``features``, ``labels`` (counts by split), ``simulated``, ``calibrated``.

    Raises:
        DataError: If a split has fewer than 10 usable redshifts.
        ArtefactError: If a column is missing.
    """
    splits = read_labelled(
        embeddings, features=sample.features, magnitude=sample.magnitude, labels=labels
    )
    splits["train"] = fewer(splits["train"], sample.labels, seed=sample.seed)
    counts = {split: len(galaxies) for split, galaxies in splits.items()}
    print(describe_labels(embeddings, counts) if labels is None else labels.summary())
    return splits, {
        **label_facts(embeddings, splits["train"].id, sample.label),
        "features": sample.features,
        "labels": counts,
        "simulated": embeddings.card.simulated,
        "calibrated": embeddings.card.calibrated,
    }


def read_labelled(
    embeddings: Embeddings,
    *,
    features: Features = "embedding",
    magnitude: str | None = None,
    labels: Labels | None = None,
) -> dict[str, Labelled]:
    """Labelled galaxies of each split, with one column to bin results by.

    Of several sources, all train; what chooses, calibrates and scores is spectroscopic.

    Raises:
        DataError: If a split has fewer than 10 usable redshifts.
        ArtefactError: If a column is missing.
    """
    z = np.asarray(embeddings.column("z") if labels is None else labels.z, dtype=np.float64)
    keep, side = usable_labels(z), embeddings.column("split").astype(str)
    if labels is not None:
        keep &= (side == "train") | labels.spectroscopic
    side = side[keep]
    for split in SPLITS:
        if (known := int((side == split).sum())) < FEWEST_LABELS:
            raise DataError(
                f"{embeddings.folder} has {known} usable redshifts (finite, > 0) in its "
                f"{split} split, expected at least {FEWEST_LABELS}; embed more labelled galaxies, "
                f"or pretrain with other split fractions"
            )
    binned = None if magnitude is None else embeddings.column(magnitude)[keep]
    some = Labelled(
        features=np.concatenate(
            [batch[part] for batch, part in in_step(embeddings, features, keep)]
        ),
        z=z[keep],
        id=embeddings.column("id")[keep],
        ra=embeddings.column("ra")[keep],
        dec=embeddings.column("dec")[keep],
        magnitude=binned,
        z_error=None if labels is None else labels.z_error[keep],
        trust=None if labels is None else labels.trust[keep],
    )
    return {split: some.take(side == split) for split in SPLITS}


def read_rows(embeddings: Embeddings, features: Features, rows: Ints) -> Floats:
    """Features of some rows, increasing, shape (n, D); read a part at a time."""
    wanted = np.zeros(len(embeddings), dtype=bool)
    wanted[rows] = True
    return np.concatenate([batch[some] for batch, some in in_step(embeddings, features, wanted)])


def describe_labels(embeddings: Embeddings, counts: Mapping[str, int]) -> str:
    """How many redshifts are used, and how many rows have none or one that is no label."""
    z = np.asarray(embeddings.column("z"), dtype=np.float64)
    missing = int(np.isnan(z).sum())
    refused = int((~usable_labels(z)).sum()) - missing
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
        if name not in (known := (*embeddings.columns, *embeddings.parts)):
            raise ArtefactError(
                f"{embeddings.folder} has no {name!r} vectors; it has {', '.join(known)}: set "
                f"features= to what is there, or embed again"
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


def refuse_contaminated(embeddings: Embeddings, *, allow: bool) -> None:
    """Refuse embeddings whose encoder learnt from validation or test redshifts.

    Args:
        embeddings: Their card lists the ids in ``labels_seen``; without it there is nothing to do.
        allow: Let them pass.

    Raises:
        ContaminatedError: If there are such galaxies, and they are not allowed.
    """
    held_out = _contaminated(embeddings)
    if len(held_out) and not allow:
        raise ContaminatedError(
            f"the encoder of {embeddings.folder} learnt from the redshifts of {len(held_out)} "
            f"galaxies of the validation and test splits (first: id {held_out[0]}), so a score "
            f"there says nothing; use an encoder that has not, or set contaminated=allow to have "
            f"every score marked {MARK.strip(': ')}"
        )


def label_facts(embeddings: Embeddings, train_ids: Array, label: str) -> dict[str, str | int]:
    """What the encoder has seen of labels, for metrics and cards.

    Args:
        embeddings: The store.
        train_ids: Ids of the galaxies that the probe is fitted to, (N,).
        label: What the features are called.

    Returns:
        ``label``, marked if contaminated. If the encoder saw labels, also how many
        (``labels_seen``), how many of them the probe is not fitted to (``labels_seen_beyond``), and
        how many are of the validation and test splits (``contaminated``).
    """
    if "labels_seen" not in embeddings.card:
        return {"label": label}
    seen = _as_text(embeddings.card["labels_seen"])
    contaminated = len(_contaminated(embeddings))
    return {
        "label": f"{MARK}{label}" if contaminated else label,
        "labels_seen": len(seen),
        "labels_seen_beyond": int((~np.isin(seen, _as_text(train_ids))).sum()),
        "contaminated": contaminated,
    }


def _contaminated(embeddings: Embeddings) -> Array:
    """Ids of validation and test galaxies whose label the encoder has seen."""
    seen = embeddings.card.get("labels_seen", [])
    if not seen:
        return np.empty(0, str)
    ids = _as_text(embeddings.column("id"))
    held_out = embeddings.column("split").astype(str) != "train"
    found: Array = ids[held_out & np.isin(ids, _as_text(seen)) & ~means_none(ids)]
    return found


def _as_text(ids: object) -> Array:
    return np.array([str(one) for one in np.asarray(ids, dtype=object).tolist()], dtype=str)
