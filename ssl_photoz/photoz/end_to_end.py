"""Networks from pixels to redshifts: scored as probes are scored, and asked about other cutouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ssl_photoz.core.artefact import for_json
from ssl_photoz.core.errors import ContaminatedError, DataError
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.extinction import corrected, correction_note
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.supervision import central_crops
from ssl_photoz.photoz.artefact import Rows, save_probe
from ssl_photoz.photoz.base import Interval, Prediction, to_redshift, to_target, tuning_score
from ssl_photoz.photoz.density_table import density_of_bins, save_densities
from ssl_photoz.photoz.experiment import compare_with
from ssl_photoz.photoz.figures import save_figures
from ssl_photoz.photoz.labels import FEWEST_LABELS, Labelled, choose
from ssl_photoz.photoz.metrics import residuals, sigma_nmad
from ssl_photoz.photoz.regressors import Mean
from ssl_photoz.photoz.scores import score
from ssl_photoz.training.supervised.artefact import TrainedNetwork
from ssl_photoz.training.supervised.fitting import Fitted
from ssl_photoz.training.supervised.settings import SupervisedConfig


def validation_score(answer: Doubles, z: Array) -> dict[str, float]:
    """``score``, by which probes choose their settings, and sigma_NMAD.

    Args:
        answer: Predicted ln(1+z), shape (N,).
        z: Spectroscopic redshifts, shape (N,).
    """
    dz = residuals(to_redshift(answer), z)
    return {"score": tuning_score(answer, to_target(z)), "sigma_nmad": sigma_nmad(dz)}


def labelled_galaxies(
    rows: Mapping[str, Ints], column: Callable[[str], Array], config: SupervisedConfig
) -> tuple[dict[str, Ints], dict[str, Labelled]]:
    """Thin out the training galaxies as a probe does, and gather what is known of all.

    Args:
        rows: Split to the rows with a usable redshift, in the order of the file, shape (M,).
        column: Column of a name, shape (N,).
        config: The training, for its ``labels``, chosen as in `labels.fewer`, its ``seed`` and
            its ``clip_sigma``, which holds for every split.

    Returns:
        Split to rows, and split to galaxies without features.

    Raises:
        DataError: If a split has fewer than 10 galaxies, or ``train`` fewer than ``labels``.
    """
    if config.clip_sigma is not None:
        z = np.asarray(column("z"), dtype=np.float64)
        mean, sigma = z[rows["train"]].mean(), z[rows["train"]].std()
        rows = {
            split: some[np.abs(z[some] - mean) <= config.clip_sigma * sigma]
            for split, some in rows.items()
        }
    for split, some in rows.items():
        if len(some) < FEWEST_LABELS:
            raise DataError(
                f"{len(some)} usable redshifts (finite, > 0) in the {split} split, expected at "
                f"least {FEWEST_LABELS}; give more labelled cutouts, or other split fractions"
            )
    train = rows["train"]
    chosen = choose(len(train), config.labels, seed=config.seed)
    kept = {**rows, "train": train[chosen]}
    return kept, {split: without_features(some, column) for split, some in kept.items()}


def without_features(rows: Ints, column: Callable[[str], Array]) -> Labelled:
    """What is known of labelled rows, shape (M,), from columns of shape (N,)."""
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
    columns = test.columns()
    for split in ("val", "test"):
        answer, some = answers[split], galaxies[split]
        estimates = {
            name: Prediction(to_redshift(answer), *interval.around(answer)),
            "mean": mean.estimate(some.features),
        }
        for who, estimate in estimates.items():
            scores[who][split] = score(estimate, some)
            if split == "test":
                columns |= estimate.columns(who)
    return scores, columns, mean, interval


def save_network(
    folder: Path,
    name: str,
    fitted: Fitted,
    galaxies: Mapping[str, Labelled],
    *,
    versus: Sequence[Path],
    config: object,
    parents: Mapping[str, str],
    **facts: object,
) -> dict[str, Any]:
    """Score a network and write its probe folder, the card last.

    The folder holds one probe that can be applied to embeddings, the mean; the network needs
    pixels.

    Args:
        folder: The folder; the weights are there already.
        name: What to call the network.
        fitted: The network's answers for ``val`` and ``test``, and how the training went.
        galaxies: ``train``, ``val`` and ``test``.
        versus: Other probe folders to compare with.
        config: The settings.
        parents: sha256 of what it was made from.
        **facts: ``label``, ``simulated``, ``calibrated`` ...

    Returns:
        The metrics, as in ``metrics.json``.
    """
    scores, columns, mean, interval = score_network(name, fitted.answers, galaxies)
    facts |= {"features": "pixels", "labels": {k: len(some) for k, some in galaxies.items()}}
    metrics: dict[str, Any] = for_json(
        {
            **facts,
            "magnitude": None,
            "probes": scores,
            "chosen": {name: {"epochs": fitted.training["best_epoch"]}, "mean": {}},
            "training": fitted.training,
            "versus": compare_with(columns, versus),
        }
    )
    if fitted.edges is not None:
        densities = {k: density_of_bins(fitted.edges, some) for k, some in fitted.raw.items()}
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
        training=fitted.training,
        network=fitted.plan,
        interval=interval.for_json(),
        **facts,
    )
    return metrics


def seen_before(card: Mapping[str, Any], galaxies: Mapping[str, Labelled]) -> dict[str, int]:
    """Redshifts that the encoder behind a network, or behind embeddings, has learnt from.

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


class CutoutPredictions(NamedTuple):
    """What a network says of cutouts.

    Attributes:
        columns: ``id``, ``ra``, ``dec``, and ``z_phot``, ``z_lo`` and ``z_hi``, or ``p_nearby`` of
            a classifier; shape (N,) each.
        answers: Averaged answers of its head, shape (N,) or (N, outputs).
        z_spec: Known redshifts, NaN where there is none, shape (N,).
        rejected: Rows that cannot be used, and why.
    """

    columns: dict[str, Array]
    answers: Doubles
    z_spec: Doubles
    rejected: Mapping[int, str]


def predict_cutouts(
    network: TrainedNetwork,
    cutouts: Cutouts,
    *,
    rows: Rows = "unlabelled",
    masked: Mapping[int, str] | None = None,
    orientations: int = 8,
) -> CutoutPredictions:
    """Ask a network about cutouts of the kind that it was trained on.

    Args:
        network: The network.
        cutouts: The cutouts.
        rows: Galaxies without a usable redshift, or all.
        masked: Rows that a mask rejects, and why.
        orientations: Number of exact orientations to average over: 1, 2, 4 or 8.

    Raises:
        MismatchError: If the cutouts are of another kind.
        DataError: If no galaxy is left.
    """
    cutouts = corrected(cutouts, wanted=network.extinction_corrected)
    network.require(size_px=cutouts.source.size_px, about=cutouts.source.kind)
    if note := correction_note(cutouts, wanted=network.extinction_corrected):
        print(note)
    good, rejected = good_rows(cutouts, masked=masked or {})
    wanted = good if rows == "all" else good[~usable_labels(cutouts.column("z")[good])]
    if not len(wanted):
        hint = "" if rows == "all" else ": all of them have a redshift, give rows=all"
        raise DataError(f"none of {len(good)} good cutouts of {cutouts.source.path} is left{hint}")

    def counted() -> Iterator[Tensor]:
        with tqdm(total=len(wanted), desc="predict", unit="galaxy", leave=False) as bar:
            for crops in central_crops(cutouts, wanted, size_px=network.size_px):
                yield crops
                bar.update(len(crops))

    answers = network.answer(counted(), orientations=orientations)
    columns: dict[str, Array] = {n: cutouts.column(n)[wanted] for n in ("id", "ra", "dec")}
    if network.card.kind == "classifier":
        columns["p_nearby"] = answers
    else:
        found = network.head.ln_one_plus_z(answers)
        z_lo, z_hi = Interval.read(network.card.interval).around(found)
        columns |= {"z_phot": to_redshift(found), "z_lo": z_lo, "z_hi": z_hi}
    z = cutouts.column("z")
    z_spec = np.where(usable_labels(z), z, np.nan)[wanted]
    return CutoutPredictions(columns, answers, z_spec, rejected)


def compare_nz(z_phot: Array, z_spec: Array) -> dict[str, float]:
    """How well the redshift distribution N(z) of a survey is recovered.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: True redshifts, shape (M,).

    Returns:
        ``nz_wasserstein``: area between the cumulative distributions, in redshift;
        ``nz_ks``: their largest distance; ``nz_mean_shift`` and ``nz_width_ratio``: mean less
        mean, and standard deviation over standard deviation.
    """
    from scipy.stats import ks_2samp, wasserstein_distance

    width = float(np.std(z_spec))
    return {
        "nz_wasserstein": float(wasserstein_distance(z_phot, z_spec)),
        "nz_ks": float(ks_2samp(z_phot, z_spec).statistic),
        "nz_mean_shift": float(np.mean(z_phot) - np.mean(z_spec)),
        "nz_width_ratio": float(np.std(z_phot)) / width if width > 0 else float("nan"),
    }
