"""Several networks that each leave out a part of the training galaxies, and answer together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array, Ints
from ssl_photoz.training.supervised.fitting import BatchesFrom, Fitted, fit_and_predict
from ssl_photoz.training.supervised.heads import head_for


def fit_committee(
    batches_of: Callable[[Ints], BatchesFrom],
    rows: Ints,
    *,
    z: Array,
    members: int,
    head: Mapping[str, Any],
    network: Mapping[str, Any],
    folder: Path,
    seed: int,
    **given: Any,  # noqa: ANN401 - handed on
) -> Fitted:
    """Train members, one after another, and average what they answer.

    Each leaves out another fold of the training galaxies and has a seed of its own. All are asked
    the same, and choose their epochs on the same validation galaxies.

    Args:
        batches_of: Gives the source of batches of some training rows.
        rows: All of them, shape (N,).
        z: Their redshifts, shape (N,).
        members: How many; one is trained on all galaxies.
        head: Keywords of `head_for`.
        network: Keywords of `make_network`; each of several members has a copy.
        folder: Of the only member; several have ``member-0`` ... in it.
        seed: Of folds and members.
        **given: Else what `fit_and_predict` takes.

    Returns:
        The mean answers. ``training`` counts weights, galaxies and seconds of all ``members``.
    """
    asked = head_for(z, **head)
    if members == 1:
        given |= {"network": network, "labels": len(rows), "folder": folder, "seed": seed}
        return fit_and_predict(batches_of(rows), head=asked, **given)
    fold = np.random.default_rng(seed).permutation(len(rows)) % members
    fitted = [
        fit_and_predict(
            batches_of(rows[fold != number]),
            head=asked,
            network=deepcopy(dict(network)),
            labels=int(np.sum(fold != number)),
            folder=folder / f"member-{number}",
            seed=seed * members + number,
            **given,
        )
        for number in range(members)
    ]
    raw = {split: np.mean([one.raw[split] for one in fitted], axis=0) for split in fitted[0].raw}
    answers = {split: asked.ln_one_plus_z(some) for split, some in raw.items()}
    return fitted[0]._replace(
        answers=answers, raw=raw, training=_together([one.training for one in fitted])
    )


def _together(trainings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total = {name: sum(one[name] for one in trainings) for name in ("parameters", "seconds")}
    best = int(median(one["best_epoch"] for one in trainings))
    return {**total, "best_epoch": best, "device": trainings[0]["device"], "members": trainings}
