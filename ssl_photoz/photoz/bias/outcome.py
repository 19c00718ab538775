"""Mean residuals, scores and the price of every step; their figure and probe folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_photoz.core.artefact import for_json
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.artefact import save_probe
from ssl_photoz.photoz.base import Interval, Prediction, to_redshift, to_target
from ssl_photoz.photoz.bias.steps import BEFORE
from ssl_photoz.photoz.figures import new_figure, title_of, write_figures
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.metrics import residuals
from ssl_photoz.photoz.regressors import Mean
from ssl_photoz.photoz.scores import compare, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESIDUAL_BINS = 15
LEAST = 10


def curve(z_phot: Array, z_spec: Array, by: Array, edges: Array) -> list[dict[str, float]]:
    """Mean of dz in bins of a redshift.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Truth, shape (N,).
        by: Either of them, shape (N,).
        edges: Increasing, in ``by``; bins of fewer than ten galaxies are left out.

    Returns:
        Per bin: ``centre`` (mean of ``by``), ``n``, ``bias`` and its standard ``error``.
    """
    dz, which = residuals(z_phot, z_spec), np.digitize(by, edges) - 1
    rows = []
    for number in range(len(edges) - 1):
        some = dz[which == number]
        if len(some) >= LEAST:
            rows.append(
                {
                    "centre": float(by[which == number].mean()),
                    "n": len(some),
                    "bias": float(some.mean()),
                    "error": float(some.std(ddof=1) / np.sqrt(len(some))),
                }
            )
    return rows


def size(bins: list[dict[str, float]]) -> float:
    """Root mean square of the biases of a curve, each bin counting the same.

    What the errors of the biases alone would give is subtracted in quadrature.
    """
    if not bins:
        return float("nan")
    square = np.mean([b["bias"] ** 2 - b["error"] ** 2 for b in bins])
    return float(np.sqrt(max(0.0, float(square))))


def total_variation(z_phot: Array, z_spec: Array, edges: Array) -> float:
    """Half the summed difference of the two distributions over bins, 0 to 1.

    Large where estimates crowd into some bins and shun others (mode collapse); scatter and chance
    give some too. Estimates beyond the edges count.
    """
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    phot, spec = (np.histogram(z, bounds)[0] / len(z) for z in (z_phot, z_spec))
    return float(0.5 * np.abs(phot - spec).sum())


def edges_for(z_spec: Array, bins: int = RESIDUAL_BINS) -> Doubles:
    """Edges of equal width over the redshifts."""
    return np.linspace(float(np.min(z_spec)), float(np.nextafter(np.max(z_spec), np.inf)), bins + 1)


def describe(estimates: Mapping[str, Array], z_spec: Array) -> dict[str, Any]:
    """Curves of every estimate against z_spec and z_phot, ready for JSON.

    Args:
        estimates: Name to z_phot, shape (N,).
        z_spec: Shape (N,).

    Returns:
        Per name: ``z_spec`` and ``z_phot`` (curves), ``size_z_spec`` and ``size_z_phot`` (see
        `size`) and ``total_variation`` in bins a fourth as wide.
    """
    edges, fine = edges_for(z_spec), edges_for(z_spec, 4 * RESIDUAL_BINS)
    said: dict[str, Any] = {}
    for name, z_phot in estimates.items():
        curves = {"z_spec": z_spec, "z_phot": z_phot}
        drawn = {kind: curve(z_phot, z_spec, by, edges) for kind, by in curves.items()}
        said[name] = {
            **drawn,
            **{f"size_{kind}": size(bins) for kind, bins in drawn.items()},
            "total_variation": total_variation(z_phot, z_spec, fine),
        }
    return said


Predicted = Mapping[str, Mapping[str, Prediction]]


def with_intervals(answers: Mapping[str, Mapping[str, Doubles]], val: Labelled) -> Predicted:
    """Predictions with intervals that are calibrated on validation galaxies.

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
        galaxies: Split to its galaxies.
        mean: Mean of the training galaxies.

    Returns:
        Metrics (``probes``, ``residuals``, ``versus``) and the columns of the test-split table.
    """
    test = galaxies["test"]
    means = {split: mean.estimate(some.features) for split, some in galaxies.items()}
    everyone: dict[str, Mapping[str, Prediction]] = {"mean": means, **predicted}
    columns = test.columns()
    for step, said in everyone.items():
        columns |= said["test"].columns(step)
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
        folder: Folder to write to.
        predicted: See `score_steps`.
        galaxies: See `score_steps`.
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
    write_figures(folder, {"mean_residuals": figure})
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


# Okabe & Ito's colours, which colour-blind readers can tell apart.
STYLES = {
    "uncorrected": ("#999999", "o", "uncorrected"),
    "channels": ("#0072B2", "s", "1: channels of magnitude"),
    "balanced": ("#E69F00", "^", "2: balanced"),
    "extended": ("#009E73", "D", "3: extended, labels moved"),
    "calibrated": ("#D55E00", "X", "4: calibrated in cells"),
}


def draw_mean_residuals(residuals: Mapping[str, Mapping[str, Any]], *, title: str) -> Figure:
    """Draw the curves of `describe`, step by step."""
    figure = new_figure(9.2, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for kind, axes in zip(("z_spec", "z_phot"), panels, strict=True):
        for step, said in residuals.items():
            (colour, marker, name), size = STYLES[step], said[f"size_{kind}"]
            axes.errorbar(
                [b["centre"] for b in said[kind]],
                [b["bias"] for b in said[kind]],
                yerr=[b["error"] for b in said[kind]],
                fmt=marker + "-",
                ms=4,
                lw=1.2,
                capsize=2,
                color=colour,
                label=name if size is None else f"{name}: {size:.4f}",
            )
        axes.axhline(0, color="0.3", lw=0.8)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=8)
        axes.set_xlabel(rf"$z_\mathrm{{{kind.removeprefix('z_')}}}$")
        axes.legend(frameon=False, fontsize=7, title="rms over bins", title_fontsize=7)
    panels[0].set_ylabel(r"$\langle\Delta z\rangle$")
    figure.suptitle(title, fontsize=11)
    return figure
