"""Cross-validation over sky folds: every labelled galaxy is a test galaxy once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.redshift_ladder.fitting import Splits, fit_probes, suited, thinned
from benchmarks.redshift_ladder.photometry import photometry
from benchmarks.redshift_ladder.plan import Job, Size, count
from benchmarks.redshift_ladder.read_outs import read_outs, take
from ssl_photoz.core.errors import ContaminatedError, DataError
from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.split import SplitConfig, uniform_hash
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.labels import Labelled, read_labelled

MOST_DRAWS = 1000  # of one seed: no draw of another has its number


def deal(galaxies: Labelled, split: SplitConfig, folds: int) -> Ints:
    """Deal the cells of the sky split to the halves of folds.

    Cells are dealt in the order of a hash of their number and the split's seed. Galaxies of one id
    go together, by the lowest-numbered of their cells, as in the split itself.

    Args:
        galaxies: Labelled galaxies.
        split: Resolution of the cells, and the seed.
        folds: Number of folds, K.

    Returns:
        The half of each galaxy, 0 to 2 K - 1, shape (N,); fold k is made of 2 k and 2 k + 1.

    Raises:
        DataError: If there are fewer cells than halves.
    """
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    place = np.asarray(galaxies.ra, float) * units.deg, np.asarray(galaxies.dec, float) * units.deg
    cells = np.asarray(lonlat_to_healpix(*place, split.nside, order="nested"), np.int64)
    _, member = np.unique(galaxies.id, return_inverse=True)
    lowest = np.full(len(cells), np.iinfo(np.int64).max)
    np.minimum.at(lowest, member, cells)
    known, of_galaxy = np.unique(lowest[member], return_inverse=True)
    if len(known) < 2 * folds:
        raise DataError(
            f"labelled galaxies lie in {len(known)} cells of nside {split.nside}, expected at "
            f"least {2 * folds} for {folds} folds; set folds lower, or split.nside higher"
        )
    half = np.empty(len(known), np.int64)
    half[np.argsort(uniform_hash(known, split.seed), kind="stable")] = np.arange(len(known)) % (
        2 * folds
    )
    return half[of_galaxy]


def sides(galaxies: Labelled, half: Ints, fold: int, folds: int) -> Splits:
    """Return a fold as ``test``, half of the next one as ``val``, and the rest as ``train``."""
    test, val = half // 2 == fold, half == 2 * ((fold + 1) % folds)
    return {
        "train": galaxies.take(~test & ~val),
        "val": galaxies.take(val),
        "test": galaxies.take(test),
    }


def cross_validate(job: Job, size: Size) -> tuple[list[pa.Table], dict[str, Any]]:
    """Fit every probe to every fold's training side, with one draw of labels.

    Returns:
        Predictions of validation and test galaxies, with the number of the fold, and facts.

    Raises:
        ContaminatedError: If the encoder has read a label.
    """
    assert job.after is not None
    assert job.labels is not None
    embeddings = Embeddings.open(job.after / "embeddings")
    if embeddings.card.labels_seen:
        raise ContaminatedError(
            f"the encoder of {embeddings.folder} has learnt from labels: it is no candidate for "
            f"cross-validation, where every labelled galaxy is a test galaxy once"
        )
    splits = read_labelled(embeddings)
    half = deal(_together(splits), SplitConfig.of(embeddings.card.split), job.folds)
    seed = job.seed * MOST_DRAWS + job.draw
    # As many as on the one split, or all of a fold's.
    labels = 1.0 if job.labels == 1 else count(job.labels, len(splits["train"]))
    tables = []
    for name, galaxies in _features(job, size, embeddings, splits).items():
        probes = ("mean",) if name == "mean" else suited(size.fold_probes, name)
        for fold in range(job.folds):
            some = thinned(sides(galaxies, half, fold, job.folds), labels, seed)
            for table in fit_probes(some, probes, name, job.labels, seed):
                tables.append(table.append_column("fold", pa.array([fold] * len(table))))
    return tables, {"galaxies": len(half)}


def _features(job: Job, size: Size, embeddings: Embeddings, splits: Splits) -> dict[str, Labelled]:
    """Return the labelled galaxies, in one order, with what each read-out knows of them."""
    assert job.after is not None
    if job.configuration != "references":
        galaxies = _together(splits)
        columns = read_outs(embeddings, job.after / "encoder", job.readouts)
        return {name: take(galaxies, some) for name, some in columns.items()}
    aperture = _together(read_labelled(embeddings, features="aperture"))
    found = {"aperture": aperture, "mean": take(aperture, slice(1))}
    if catalogue := size.inputs[job.input].get("catalogue"):
        known = photometry(embeddings, {"": aperture}, catalogue, seed=job.seed)
        found["catalogue"] = known[""]
    return found


def _together(splits: Splits) -> Labelled:
    def whole(name: str) -> Any:  # noqa: ANN401 - an array
        return np.concatenate([getattr(some, name) for some in splits.values()])

    return Labelled(**{name: whole(name) for name in ("features", "z", "id", "ra", "dec")})
