"""Give galaxies redshifts whose mean residual does not depend on redshift, in four steps.

    ssl-photoz correct configs/correct.yaml embeddings=runs/demo/embeddings out=runs/demo/correct

The protocol is that of `probe`: fitted to the labelled galaxies of the training split, stopped and
measured on the validation split, scored once on the test split. The last step looks at magnitudes
and estimates of the galaxies to be corrected, never at their redshifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError

StepName = Literal["channels", "balanced", "extended", "calibrated"]


@dataclass(frozen=True)
class Settings:
    """Correct redshifts for residuals that depend on redshift.

    Attributes:
        embeddings: Embeddings folder.
        out: Probe folder to write.
        predictions: A table of estimates to correct in place of fitting any: balanced applies to
            densities (pdf), calibrated where validation galaxies are in it (predict rows=all).
        magnitude: Column of magnitudes to correct by, such as mag_r.
        steps: What to do: an output channel per range of magnitude; the output layer fitted again
            to a nearly balanced subset; again to softened, moved labels over more bins; calibration
            in cells of magnitude and estimate. Each is scored with those before it.
        features: What is read: the embedding, aperture photometry (the yardstick), or both.
        label: What to call these features in tables and figures.
        bins: Of redshift, equally wide in ln(1+z).
        channels: Of magnitude.
        kept: Part of the training galaxies in the nearly balanced subset.
        point: Estimate: the most probable bin, or the mean of the probabilities.
        expected: The distribution that the last step resamples to: training redshifts at the
            magnitudes of the galaxies to be corrected, or their own estimates.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.
        seed: Of every random choice.
    """

    embeddings: Path
    out: Path
    predictions: Path | None = None
    magnitude: str = "mag_r"
    steps: tuple[StepName, ...] = ("channels", "balanced", "extended", "calibrated")
    features: Literal["embedding", "aperture", "both"] = "embedding"
    label: str = "frozen embedding"
    bins: int = 100
    channels: int = 4
    kept: float = 0.33
    point: Literal["mode", "mean"] = "mean"
    expected: Literal["magnitudes", "photoz"] = "magnitudes"
    labels: int | None = None
    contaminated: Literal["refuse", "allow"] = "refuse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if not self.steps:
            raise ConfigError("steps is empty, expected any of the four; see --help")
        if self.channels < 2 or self.bins < 2 or not 0 < self.kept <= 1:
            raise ConfigError(
                f"channels={self.channels} bins={self.bins} kept={self.kept}: expected at least 2 "
                f"channels, 2 bins, and a part between 0 and 1"
            )


def main(settings: Settings) -> None:
    """Fit, correct, score, draw, save."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz import contamination, labels
    from ssl_photoz.photoz.bias import outcome, tables
    from ssl_photoz.photoz.bias.cells import require_magnitudes
    from ssl_photoz.photoz.bias.corrected import correct
    from ssl_photoz.photoz.bias.steps import Recipe
    from ssl_photoz.photoz.figures import title_of

    embeddings = Embeddings.open(settings.embeddings)
    contamination.refuse_contaminated(embeddings, allow=settings.contaminated == "allow")
    parents = {"embeddings": embeddings.sha256}
    if settings.predictions is not None:
        parents["predictions"] = artefact.sha256_of(settings.predictions)
    paths = ("out", "embeddings", "predictions", "contaminated")
    if artefact.already_made(settings.out, "probe", config=settings, parents=parents, ignore=paths):
        print(f"{settings.out} is already made")
        return
    splits = labels.read_labelled(
        embeddings, features=settings.features, magnitude=settings.magnitude
    )
    splits["train"] = labels.fewer(splits["train"], settings.labels, seed=settings.seed)
    for some in splits.values():
        assert some.magnitude is not None
        require_magnitudes(some.magnitude)
    print(labels.census(embeddings, {split: len(some) for split, some in splits.items()}))
    seen = contamination.label_facts(embeddings, splits["train"].id, settings.label)
    recipe = Recipe.of(
        splits["train"],
        bins=settings.bins,
        channels=settings.channels,
        kept=settings.kept,
        point=settings.point,
        seed=settings.seed,
    )
    predicted: Any
    if settings.predictions is None:
        galaxies = {split: splits[split] for split in ("val", "test")}
        answers = correct(
            splits["train"],
            galaxies["val"],
            galaxies["test"],
            settings.steps,
            recipe=recipe,
            expected=settings.expected,
            train_calibrates=not seen.get("labels_seen"),
        )
        predicted = outcome.with_intervals(answers, splits["val"])
    else:
        predicted, galaxies = tables.correct_estimates(
            tables.Estimates.read(settings.predictions),
            splits,
            settings.steps,
            recipe=recipe,
            expected=settings.expected,
        )
    metrics = outcome.save_steps(
        settings.out,
        predicted,
        galaxies,
        splits["train"],
        config=settings,
        parents=parents,
        encoder=embeddings.card.get("encoder", ""),
        **seen,
        features=settings.features,
        magnitude=settings.magnitude,
        simulated=bool(embeddings.card.get("simulated", False)),
        calibrated=bool(embeddings.card.get("calibrated", True)),
    )
    print(title_of(metrics))
    print(outcome.table(metrics))
    print(f"metrics, predictions and figure in {settings.out}")
