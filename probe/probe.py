"""Fit redshift probes to embeddings, and apply them.

    ssl-photoz probe configs/probe.yaml embeddings=runs/demo/embeddings out=runs/demo/probe
    ssl-photoz predict configs/predict.yaml probe=runs/demo/probe out=photoz.parquet

The protocol: features are frozen; probes are fitted to the labelled galaxies of the training
split, choose their settings and calibrate their intervals on the validation split, and are
scored once on the test split, which lies elsewhere on the sky.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ssl_photoz.core import artefact as runs
from ssl_photoz.core.errors import ConfigError

ProbeName = Literal["knn", "ridge", "svr", "mlp", "blend", "boosting"]


@dataclass(frozen=True)
class Settings:
    """Fit and score redshift probes.

    Attributes:
        embeddings: Embeddings folder.
        out: Probe folder to write.
        features: What a probe reads: the embedding, aperture photometry (the yardstick), or both.
        label: What to call these features in tables and figures.
        probes: Which probes to fit; predicting the mean is always added.
        magnitude: Column to bin the scores by, such as mag_r.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        versus: Other probe folders to compare with, galaxy by galaxy.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.
        seed: Of every random choice.
    """

    embeddings: Path
    out: Path
    features: Literal["embedding", "aperture", "both"] = "embedding"
    label: str = "frozen embedding"
    probes: tuple[ProbeName, ...] = ("knn", "ridge", "mlp")
    magnitude: str | None = None
    labels: int | None = None
    versus: tuple[Path, ...] = ()
    contaminated: Literal["refuse", "allow"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse to fit nothing."""
        if not self.probes:
            raise ConfigError(f"probes is empty, expected any of {', '.join(get_args(ProbeName))}")


@dataclass(frozen=True)
class PredictSettings:
    """Apply a fitted probe to embeddings of the same encoder.

    Attributes:
        probe: Probe folder.
        embeddings: Embeddings folder.
        out: Table to write: .parquet, .fits or .csv.
        which: Which probe of the folder; knn also lists the neighbours it used.
        rows: Galaxies without a usable redshift, or all.
    """

    probe: Path
    embeddings: Path
    out: Path
    which: Literal["knn", "ridge", "svr", "mlp", "blend", "boosting", "mean"] = "mlp"
    rows: Literal["unlabelled", "all"] = "unlabelled"


def main(settings: Settings) -> None:
    """Fit, score, compare, draw, save."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz import artefact, contamination, experiment, figures, labels, scores

    embeddings = Embeddings.open(settings.embeddings)
    contamination.refuse_contaminated(embeddings, allow=settings.contaminated == "allow")
    parents = {"embeddings": embeddings.sha256}
    parents |= {f"versus {number}": runs.sha256_of(p) for number, p in enumerate(settings.versus)}
    paths = ("out", "embeddings", "versus", "contaminated")
    if runs.already_made(settings.out, "probe", config=settings, parents=parents, ignore=paths):
        print(f"{settings.out} is already made")
        return
    splits = labels.read_labelled(
        embeddings, features=settings.features, magnitude=settings.magnitude
    )
    splits["train"] = labels.fewer(splits["train"], settings.labels, seed=settings.seed)
    counts = {split: len(galaxies) for split, galaxies in splits.items()}
    print(labels.census(embeddings, counts))
    outcome = experiment.fit_and_score(splits, ("mean", *settings.probes), seed=settings.seed)
    facts = {
        **contamination.label_facts(embeddings, splits["train"].id, settings.label),
        "features": settings.features,
        "labels": counts,
        "simulated": bool(embeddings.card.get("simulated", False)),
        "calibrated": bool(embeddings.card.get("calibrated", True)),
    }
    metrics = {
        **facts,
        "magnitude": settings.magnitude,
        "probes": outcome.scores,
        "chosen": {name: probe.chosen_ for name, probe in outcome.probes.items()},
        "versus": experiment.against_rivals(outcome.predictions, settings.versus),
    }
    metrics = scores.for_json(metrics)
    figures.save_figures(settings.out, outcome.predictions, metrics)
    artefact.save_probe(
        settings.out,
        outcome.probes,
        metrics=metrics,
        predictions=outcome.predictions,
        config=settings,
        parents=parents,
        encoder=embeddings.card.get("encoder", ""),
        **facts,
    )
    print(figures.title_of(metrics))
    print(scores.table(metrics["probes"]))
    print(f"probes, metrics, predictions and figures in {settings.out}")


def predict(settings: PredictSettings) -> None:
    """Write a table of redshifts."""
    from ssl_photoz.catalog import tables
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz import apply, artefact

    tables.require_suffix(settings.out)
    embeddings = Embeddings.open(settings.embeddings)
    card, probe = artefact.load_probe(settings.probe, settings.which)
    artefact.check_belongs(settings.probe, card, embeddings)
    mask = apply.wanted_rows(embeddings, settings.rows)
    columns = apply.predict_rows(probe, embeddings, mask, features=card["features"])
    simulated = bool(card["simulated"] or embeddings.card.get("simulated", False))
    tables.write_table(settings.out, columns, simulated=simulated)
    seen = "; those the probe was fitted to are among them" if settings.rows == "all" else ""
    print(
        f"{'SIMULATED: ' if simulated else ''}{len(columns['id'])} of {len(embeddings)} galaxies "
        f"({settings.rows}) given a redshift by {settings.which}{seen}: {settings.out}"
    )
