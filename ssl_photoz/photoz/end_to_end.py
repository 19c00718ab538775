"""Score a network that was trained on redshifts end to end, as probes are scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.errors import ContaminatedError, DataError
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.photoz.artefact import read_predictions, save_probe
from ssl_photoz.photoz.base import Prediction, to_redshift, to_target, tuning_score
from ssl_photoz.photoz.binned import density_of_bins, save_densities
from ssl_photoz.photoz.experiment import compare_with, pair_up
from ssl_photoz.photoz.figures import save_figures
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.labels import FEWEST_LABELS, Labelled, choose
from ssl_photoz.photoz.metrics import residuals, sigma_nmad
from ssl_photoz.photoz.regressors import Mean
from ssl_photoz.photoz.scores import for_json, score


def validation_score(answer: Doubles, z: Array) -> dict[str, float]:
    """Return ``score``, by which probes choose their settings, and sigma_NMAD.

    Args:
        answer: Predicted ln(1+z), shape (N,).
        z: Spectroscopic redshifts, shape (N,).
    """
    dz = residuals(to_redshift(answer), z)
    return {"score": tuning_score(answer, to_target(z)), "sigma_nmad": sigma_nmad(dz)}


def labelled_galaxies(
    rows: Mapping[str, Ints],
    column: Callable[[str], Array],
    *,
    labels: int | None,
    seed: int,
    clip_sigma: float | None = None,
) -> tuple[dict[str, Ints], dict[str, Labelled]]:
    """Thin out the training galaxies as a probe does, and gather what is known of all.

    Args:
        rows: Split to the rows with a usable redshift, in the order of the file, shape (M,).
        column: Gives the column of a name, shape (N,).
        labels: Training galaxies to keep, chosen as in `labels.fewer`; None: all.
        seed: Of the choice.
        clip_sigma: Leave out, of every split, galaxies that are further than so many standard
            deviations from the mean redshift of the training galaxies.

    Returns:
        Split to rows, and split to galaxies without features.

    Raises:
        DataError: If a split has fewer than 10 galaxies, or ``train`` fewer than ``labels``.
    """
    if clip_sigma is not None:
        z = np.asarray(column("z"), dtype=np.float64)
        mean, sigma = z[rows["train"]].mean(), z[rows["train"]].std()
        rows = {
            split: some[np.abs(z[some] - mean) <= clip_sigma * sigma]
            for split, some in rows.items()
        }
    for split, some in rows.items():
        if len(some) < FEWEST_LABELS:
            raise DataError(
                f"{len(some)} usable redshifts (finite, > 0) in the {split} split, expected at "
                f"least {FEWEST_LABELS}; give more labelled cutouts, or other split fractions"
            )
    train = rows["train"]
    kept = {**rows, "train": train[choose(len(train), labels, seed=seed)]}
    return kept, {split: without_features(some, column) for split, some in kept.items()}


def without_features(rows: Ints, column: Callable[[str], Array]) -> Labelled:
    """Gather what is known of labelled rows, shape (M,), from columns of shape (N,)."""
    return Labelled(
        features=np.empty((len(rows), 0), np.float32),
        z=np.asarray(column("z")[rows], dtype=np.float64),
        **{name: column(name)[rows] for name in ("id", "ra", "dec")},
    )


def score_network(
    name: str, answers: Mapping[str, Doubles], galaxies: Mapping[str, Labelled]
) -> tuple[dict[str, Any], dict[str, Array], Mean, Interval]:
    """Score a network, and the mean, on ``val`` and ``test``.

    Args:
        name: What to call the network.
        answers: ``val`` and ``test`` to predicted ln(1+z), shape (N,); the intervals are
            calibrated on ``val``.
        galaxies: ``train``, ``val`` and ``test``.

    Returns:
        Scores (name to split to what `score` says), the columns of the test-split table, the
        network's first, the mean as a probe, and the network's intervals.
    """
    train, val, test = (galaxies[split] for split in ("train", "val", "test"))
    mean = Mean().fit(train.features, train.z, validation=(val.features, val.z))
    interval = Interval.fit(answers["val"], to_target(val.z))
    scores: dict[str, Any] = {name: {}, "mean": {}}
    columns: dict[str, Array] = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z}
    for split in ("val", "test"):
        answer, some = answers[split], galaxies[split]
        estimates = {
            name: Prediction(to_redshift(answer), *interval.around(answer)),
            "mean": mean.estimate(some.features),
        }
        for who, estimate in estimates.items():
            scores[who][split] = score(estimate, some)
            if split == "test":
                told = {f"{n}_{who}": getattr(estimate, n) for n in ("z_phot", "z_lo", "z_hi")}
                columns |= told
    return scores, columns, mean, interval


def save_network(
    folder: Path,
    name: str,
    answers: Mapping[str, Doubles],
    galaxies: Mapping[str, Labelled],
    *,
    training: Mapping[str, Any],
    versus: Sequence[Path],
    config: object,
    parents: Mapping[str, str],
    plan: Mapping[str, Any],
    raw: Mapping[str, Doubles],
    edges: Doubles | None,
    **facts: object,
) -> dict[str, Any]:
    """Score a network and write its probe folder, the card last.

    The folder holds one probe that can be applied to embeddings, the mean; the network needs
    pixels.

    Args:
        folder: Where to; the weights are there already.
        name: What to call the network.
        answers: See `score_network`.
        galaxies: Likewise.
        training: How it went: ``best_epoch``, ``seconds``, ``parameters`` ...
        versus: Other probe folders to compare with.
        config: The settings.
        parents: sha256 of what it was made from.
        plan: What the network is built from, for the card.
        raw: ``val`` and ``test`` to what the network's head answered.
        edges: Of the redshift bins whose probabilities that is; None if it is something else.
        **facts: ``label``, ``simulated``, ``calibrated`` ...

    Returns:
        The metrics, as in ``metrics.json``.
    """
    scores, columns, mean, interval = score_network(name, answers, galaxies)
    facts |= {"features": "pixels", "labels": {k: len(some) for k, some in galaxies.items()}}
    metrics: dict[str, Any] = for_json(
        {
            **facts,
            "magnitude": None,
            "probes": scores,
            "chosen": {name: {"epochs": training["best_epoch"]}, "mean": {}},
            "training": training,
            "versus": compare_with(columns, versus),
        }
    )
    if edges is not None:
        densities = {split: density_of_bins(edges, some) for split, some in raw.items()}
        said = save_densities(folder, densities, galaxies, simulated=bool(facts.get("simulated")))
        metrics["densities"] = for_json(said)
    save_figures(folder, columns, metrics)
    save_probe(
        folder,
        {"mean": mean},
        metrics=metrics,
        predictions=columns,
        config=config,
        parents=parents,
        encoder=parents.get("encoder", ""),
        training=training,
        network=dict(plan),
        interval=interval.for_json(),
        **facts,
    )
    return metrics


def require_rivals(name: str, folders: Sequence[Path]) -> None:
    """Check, before it costs a training, that a network can be compared with other folders.

    Raises:
        ArtefactError: If a folder is no finished probe.
        MismatchError: If a folder has several probes, none of this name.
    """
    for folder in folders:
        pair_up([name], read_predictions(folder), folder)


def seen_before(card: Mapping[str, Any], galaxies: Mapping[str, Labelled]) -> dict[str, int]:
    """Say what redshifts the encoder behind a network, or behind embeddings, has learnt from.

    Args:
        card: The encoder's, or that of its embeddings, which may list ``labels_seen``.
        galaxies: ``train``, ``val`` and ``test``.

    Returns:
        If it lists them: how many (``labels_seen``), and how many of these are not of ``train``
        (``labels_seen_beyond``).

    Raises:
        ContaminatedError: If it has learnt from redshifts that it would be scored on.
    """
    if "labels_seen" not in card:
        return {}
    seen = {str(one) for one in card["labels_seen"]}
    held_out = [*galaxies["val"].id.tolist(), *galaxies["test"].id.tolist()]
    if found := [one for one in held_out if str(one) in seen]:
        raise ContaminatedError(
            f"the encoder learnt from the redshifts of {len(found)} galaxies of the validation and "
            f"test splits (first: id {found[0]}), so a score there says nothing; give one, or "
            f"embeddings of one, that has not"
        )
    train = {str(one) for one in galaxies["train"].id.tolist()}
    return {"labels_seen": len(seen), "labels_seen_beyond": len(seen - train)}
