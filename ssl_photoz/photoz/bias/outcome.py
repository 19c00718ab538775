"""Score corrected redshifts step by step, say what each step costs, write a probe folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_photoz.core import artefact
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.artefact import save_probe
from ssl_photoz.photoz.base import Prediction, to_redshift, to_target
from ssl_photoz.photoz.bias.figures import draw_mean_residuals
from ssl_photoz.photoz.bias.residuals import describe
from ssl_photoz.photoz.bias.steps import BEFORE
from ssl_photoz.photoz.figures import title_of
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.regressors import Mean
from ssl_photoz.photoz.scores import compare, for_json, score

Predicted = Mapping[str, Mapping[str, Prediction]]


def with_intervals(answers: Mapping[str, Mapping[str, Doubles]], val: Labelled) -> Predicted:
    """Return predictions with intervals that are calibrated on validation galaxies.

    Args:
        answers: Split, ``val`` among them, to step to estimates of ln(1+z), shape (N,).
        val: The validation galaxies.

    Returns:
        Step to split to predictions.
    """
    predicted = {}
    for step, answer in answers["val"].items():
        interval = Interval.fit(answer, to_target(val.z))
        predicted[step] = {
            split: Prediction(to_redshift(by_step[step]), *interval.around(by_step[step]))
            for split, by_step in answers.items()
        }
    return predicted


def score_steps(
    predicted: Predicted, galaxies: Mapping[str, Labelled], mean: Mean
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Score every step, and the mean.

    Args:
        predicted: Step to split (``test``, and ``val`` if known) to predictions.
        galaxies: The same splits to the galaxies.
        mean: Of the training galaxies.

    Returns:
        Metrics (``probes``, ``residuals``, ``versus``) and the columns of the test-split table.
    """
    test = galaxies["test"]
    means = {split: mean.estimate(some.features) for split, some in galaxies.items()}
    everyone: dict[str, Mapping[str, Prediction]] = {"mean": means, **predicted}
    columns: dict[str, Array] = {"id": test.id, "ra": test.ra, "dec": test.dec, "z_spec": test.z}
    if test.magnitude is not None:
        columns["magnitude"] = test.magnitude
    for step, said in everyone.items():
        for name in ("z_phot", "z_lo", "z_hi"):
            columns[f"{name}_{step}"] = getattr(said["test"], name)
    steps = list(predicted)
    metrics = {
        "probes": {
            step: {split: score(said[split], some) for split, some in galaxies.items()}
            for step, said in everyone.items()
        },
        "residuals": {
            split: describe({s: predicted[s][split].z_phot for s in steps}, some.z)
            for split, some in galaxies.items()
        },
        "versus": compare(columns, columns, dict.fromkeys(steps[1:], BEFORE), BEFORE),
    }
    return metrics, columns


def save_steps(
    folder: Path,
    predicted: Predicted,
    galaxies: Mapping[str, Labelled],
    train: Labelled,
    *,
    config: object,
    parents: Mapping[str, str],
    encoder: str,
    **facts: object,
) -> dict[str, Any]:
    """Score all steps and write their probe folder, the card last.

    The folder holds one probe that can be applied to other embeddings, the mean.

    Args:
        folder: Where to.
        predicted: See `score_steps`.
        galaxies: Likewise.
        train: The training galaxies.
        config: The settings.
        parents: sha256 of what it was made from.
        encoder: sha256 of the encoder's card.
        **facts: ``label``, ``simulated``, ``calibrated``, ``features`` ...

    Returns:
        The metrics, as in ``metrics.json``.
    """
    some = galaxies.get("val", galaxies["test"])
    mean = Mean().fit(train.features, train.z, validation=(some.features, some.z))
    scored, columns = score_steps(predicted, galaxies, mean)
    facts |= {"labels": {split: len(of) for split, of in {"train": train, **galaxies}.items()}}
    metrics: dict[str, Any] = for_json({**facts, "chosen": {}, **scored})
    figure = draw_mean_residuals(metrics["residuals"]["test"], title=title_of(metrics))
    with artefact.atomic_path(folder / "mean_residuals.png") as scratch:
        figure.savefig(scratch)
    save_probe(
        folder,
        {"mean": mean},
        metrics=metrics,
        predictions=columns,
        config=config,
        parents=parents,
        encoder=encoder,
        **facts,
    )
    return metrics


def table(metrics: Mapping[str, Any], *, split: str = "test") -> str:
    """Write, for every step, its mean residuals and what it costs, as lines of text."""
    head = ("with all steps to", "|dz| by z_spec", "by z_phot", "total variation")
    lines = [
        f"{head[0]:<18}{head[1]:>15}{head[2]:>11}{head[3]:>17}{'sigma_NMAD':>18}"
        f"{'its price':>20}{'|dz| > 0.05':>13}"
    ]
    for step, said in metrics["residuals"][split].items():
        scores = metrics["probes"][step][split]
        spec, phot = (_size(said[f"size_{kind}"]) for kind in ("z_spec", "z_phot"))
        lines.append(
            f"{step:<18}{spec:>15}{phot:>11}"
            f"{said['total_variation']:>17.3f}{scores['sigma_nmad']:>9.4f} ± "
            f"{scores['error_sigma_nmad']:.4f}{_price(metrics, step):>20}"
            f"{scores['outliers_05']:>13.1%}"
        )
    return "\n".join(lines)


def _size(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _price(metrics: Mapping[str, Any], step: str) -> str:
    for said in metrics["versus"]:
        if said["probe"] == step and said["metric"] == "sigma_nmad":
            return f"{said['difference']:+.4f} ± {said['error']:.4f}"
    return ""
