"""A classifier of nearby galaxies beside photometric cuts and frozen embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.catalog.identity import Identity, find_galaxies, identity_of
from ssl_photoz.catalog.lowz_cuts import select_by_columns
from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.nearby.heads import average_precision, fit_logistic
from ssl_photoz.nearby.scores import measure_methods, write_metrics
from ssl_photoz.nearby.settings import SKY
from ssl_photoz.photoz.end_to_end import seen_before
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.similarity.reduction import take_vectors
from ssl_photoz.training.supervised.settings import NearbyConfig

FROZEN = "frozen"


def validation_precision(score: Doubles, truth: Bools) -> dict[str, float]:
    """``score``, the lower the better, and the average precision that it stands for.

    Args:
        score: Score of each galaxy, higher the more likely it is nearby, shape (N,).
        truth: Whether each galaxy is, shape (N,).
    """
    precision = average_precision(truth.astype(np.float32), score)
    found = 0.0 if precision is None else precision
    return {"score": -found, "average_precision": found}


def tell_nearby(z: Mapping[str, Array], *, z_max: float) -> dict[str, Bools]:
    """Whether the galaxies of each split are nearby; both kinds must be there to score on.

    Args:
        z: Split to redshifts, shape (N,).
        z_max: Redshift below which a galaxy is nearby.

    Raises:
        DataError: If all, or none, of a split are.
    """
    truth = {split: some < z_max for split, some in z.items()}
    for split, some in truth.items():
        if some.all() or not some.any():
            raise DataError(
                f"{int(some.sum())} of {len(some)} galaxies of the {split} split have "
                f"z < {z_max:g}: expected some, not all; give more labelled cutouts"
            )
    return truth


def nearby_score(
    galaxies: Mapping[str, Labelled], config: NearbyConfig
) -> Callable[[Doubles], dict[str, float]]:
    """Validation score of a network that answers the probability of being nearby.

    Args:
        galaxies: ``train``, ``val`` and ``test``.
        config: What is nearby, and the embeddings to compare with.

    Returns:
        Score of the predicted ln(1+z) of ``val``, which falls where the probability rises.

    Raises:
        DataError: If all, or none, of a split are nearby.
        ContaminatedError: If the embeddings have learnt from redshifts to score on.
    """
    truth = tell_nearby({k: some.z for k, some in galaxies.items()}, z_max=config.z_max)
    if config.embeddings is not None:
        seen_before(artefact.read_card(config.embeddings, "embeddings"), galaxies)
    return lambda answer: validation_precision(-answer, truth["val"])


def require_baselines(galaxies: Mapping[str, Labelled], config: NearbyConfig) -> None:
    """Check, before it costs a training, that its baseline can be made.

    Raises:
        MismatchError: If one of the galaxies has no embedding.
    """
    if config.embeddings is not None:
        store = Embeddings.open(config.embeddings)
        for some in galaxies.values():
            _rows(store, (some.id, some.ra, some.dec))


def frozen_head(
    embeddings: Embeddings, galaxies: Mapping[str, Identity], truth: Mapping[str, Bools]
) -> Doubles:
    """Scores of test galaxies by a logistic regression on embeddings, chosen on validation.

    Args:
        embeddings: Embeddings of the same cutouts.
        galaxies: ``train``, ``val`` and ``test`` to ids and positions, each (N,).
        truth: ``train``, ``val`` and ``test`` to whether each is nearby, shape (N,).

    Raises:
        MismatchError: If one of the galaxies has no embedding.
    """
    vectors = {split: _vectors(embeddings, some) for split, some in galaxies.items()}
    labels = {split: some.astype(np.float32)[:, None] for split, some in truth.items()}
    head = fit_logistic(
        vectors["train"], labels["train"], val_vectors=vectors["val"], val_labels=labels["val"]
    )
    return np.asarray(head.score(vectors["test"])[:, 0])


def save_classifier(
    folder: Path,
    name: str,
    score: Doubles,
    galaxies: Mapping[str, Labelled],
    column: Callable[[str], Array],
    *,
    config: NearbyConfig,
    facts: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Score a classifier beside its baselines; write ``scores.parquet``, metrics and a figure.

    Args:
        folder: Folder to write to.
        name: Name of the classifier.
        score: Its scores of the test galaxies, shape (n,).
        galaxies: ``train``, ``val`` and ``test``.
        column: Column of the test galaxies by its name, shape (n,).
        config: What is nearby, and the baselines.
        facts: Facts for the metrics: ``label``, ``simulated`` and others.
        seed: Seed of the bootstraps.

    Returns:
        The metrics, as in ``metrics.json``.
    """
    truth = tell_nearby({k: some.z for k, some in galaxies.items()}, z_max=config.z_max)
    methods: dict[str, Doubles] = {name: score}
    if config.embeddings is not None:
        who = {k: (some.id, some.ra, some.dec) for k, some in galaxies.items()}
        methods[FROZEN] = frozen_head(Embeddings.open(config.embeddings), who, truth)
    test = galaxies["test"]
    metrics = save_comparison(
        folder,
        truth["test"],
        methods,
        facts=facts,
        selected=select_by_columns(config.cuts, column),
        base_rate=config.base_rate,
        seed=seed,
    )
    table = {**test.columns(), **methods}
    write_table(folder / "scores.parquet", table, simulated=bool(facts["simulated"]))
    return metrics


def save_comparison(
    folder: Path,
    truth: Bools,
    scores: Mapping[str, Doubles],
    *,
    facts: Mapping[str, Any],
    selected: Bools | None = None,
    base_rate: float = SKY,
    seed: int = 0,
) -> dict[str, Any]:
    """Write ``metrics.json`` and ``purity_completeness.png``.

    Args:
        folder: Folder to write to.
        truth: Whether each test galaxy is nearby, shape (n,).
        scores: Method to scores, shape (n,), the method of interest first.
        facts: Facts for the metrics: ``label``, ``simulated`` and others.
        selected: Whether photometric cuts select each galaxy, shape (n,).
        base_rate: Fraction of nearby galaxies on the sky.
        seed: Seed of the bootstraps.

    Returns:
        The facts; ``methods``: see `measure_methods`.
    """
    methods = measure_methods(truth, scores, selected=selected, base_rate=base_rate, seed=seed)
    metrics = {**facts, "methods": methods}
    return write_metrics(folder, metrics, truth, scores, selected=selected, base_rate=base_rate)


def describe_comparison(metrics: Mapping[str, Any]) -> str:
    """The metrics as lines of text."""
    lines = [f"{metrics['label']}{'  SIMULATED' if metrics['simulated'] else ''}"]
    lines.append(f"{'':<14}{'AP':>7}{'P@90C':>8}{'C@20P':>8}{'sky P@90C':>11}")
    for name, said in metrics["methods"].items():
        if name == "cuts":
            known = ("completeness", "purity", "sky_purity")
            shown = ", ".join(f"{one} {said[one]:.3f}" for one in known if said[one] is not None)
            lines.append(f"{'cuts':<14}{shown or 'keep nothing'}")
        elif said["average_precision"] is None:
            lines.append(f"{name:<14}nothing to find")
        else:
            lines.append(
                f"{name:<14}{said['average_precision']:>7.3f}"
                f"{said['purity_at_90_completeness']:>8.3f}"
                f"{said['completeness_at_20_purity']:>8.3f}"
                f"{said['sky_purity_at_90_completeness']:>11.4f}"
            )
    return "\n".join(lines)


def _rows(embeddings: Embeddings, galaxies: Identity) -> Ints:
    known = identity_of({name: embeddings.column(name) for name in ("id", "ra", "dec")})
    rows = find_galaxies(known, galaxies)
    if (missing := rows < 0).any():
        raise MismatchError(
            f"{int(missing.sum())} of {len(rows)} galaxies have no row in {embeddings.folder} "
            f"(first: id {galaxies[0][missing][0]}); give embeddings of the same cutout file"
        )
    return rows


def _vectors(embeddings: Embeddings, galaxies: Identity) -> Floats:
    rows = _rows(embeddings, galaxies)
    unique, back = np.unique(rows, return_inverse=True)
    return np.asarray(take_vectors(embeddings, unique)[back], dtype=np.float32)
