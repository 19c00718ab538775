"""Give galaxies redshifts whose mean residual does not depend on redshift, in four steps.

The protocol is that of `probe`: fitted to the labelled galaxies of the training split, stopped and
measured on the validation split, scored once on the test split. The last step looks at magnitudes
and estimates of the galaxies to be corrected, never at their redshifts.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.photoz.settings import CorrectionConfig, SampleConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz.folders import ProbeFolder


def correct(
    embeddings: PathLike | Embeddings,
    out: PathLike,
    predictions: PathLike | None = None,
    *,
    correction: CorrectionConfig = CorrectionConfig(),
    sample: SampleConfig = SampleConfig(magnitude="mag_r"),
) -> ProbeFolder:
    """Correct redshifts for residuals that depend on redshift.

        ssl-photoz correct embeddings=runs/demo/embeddings out=runs/demo/correct
        ssl-photoz correct embeddings=E predictions=photoz.parquet steps=[calibrated] out=F

    Args:
        embeddings: Embeddings folder.
        out: Probe folder to write.
        predictions: Table of estimates to correct in place of fitting any: balanced applies to
            densities (probe density=true), calibrated where validation galaxies are in it (predict
            rows=all).
        correction: The four steps.
        sample: Galaxies and features; its magnitude is what is corrected by.

    Returns:
        The folder: its card, metrics and predictions.

    Raises:
        ConfigError: If there is no magnitude, or a step cannot be done to the table.
        ContaminatedError: If the encoder has learnt from redshifts that it would be scored on.
        DataError: If a split has fewer than 10 usable redshifts, or a magnitude is missing.
        MismatchError: If the folder holds work made with other settings.
    """
    from ssl_photoz.photoz.bias import outcome, tables
    from ssl_photoz.photoz.bias.cells import require_magnitudes
    from ssl_photoz.photoz.bias.steps import Recipe, correct_features, magnitudes_of
    from ssl_photoz.photoz.figures import title_of
    from ssl_photoz.photoz.folders import ProbeFolder
    from ssl_photoz.photoz.labels import open_embeddings, read_sample, refuse_contaminated

    if sample.magnitude is None:
        raise ConfigError("magnitude is null, expected a column to correct by, such as mag_r")
    store, out = open_embeddings(embeddings), Path(out)
    table = None if predictions is None else Path(predictions)
    refuse_contaminated(store, allow=sample.contaminated == "allow")
    parents = {"embeddings": store.sha256}
    if table is not None:
        parents["predictions"] = artefact.sha256_of(table)
    config = {"embeddings": store.folder, "out": out, "predictions": table}
    config |= asdict(correction) | asdict(sample)
    paths = ("out", "embeddings", "predictions", "contaminated")
    if artefact.already_made(out, "probe", config=config, parents=parents, ignore=paths):
        print(f"{out} is already made")
        return ProbeFolder.open(out)
    estimates = None if table is None else tables.Estimates.read(table)
    if estimates is not None:
        tables.require_steps(correction.steps)
    splits, facts = read_sample(store, sample)
    for some in splits.values():
        require_magnitudes(magnitudes_of(some))
    recipe = Recipe.of(splits["train"], correction, seed=sample.seed)
    predicted: Any
    if estimates is None:
        galaxies = {split: splits[split] for split in ("val", "test")}
        answers = correct_features(
            splits["train"],
            galaxies["val"],
            galaxies["test"],
            recipe=recipe,
            train_calibrates=not facts.get("labels_seen"),
        )
        predicted = outcome.with_intervals(answers, splits["val"])
    else:
        predicted, galaxies = tables.correct_estimates(estimates, splits, recipe=recipe)
    metrics = outcome.save_steps(
        out,
        predicted,
        galaxies,
        splits["train"],
        config=config,
        parents=parents,
        encoder=store.card.get("encoder", ""),
        **{name: fact for name, fact in facts.items() if name != "labels"},
        magnitude=sample.magnitude,
    )
    print(title_of(metrics))
    print(outcome.table(metrics))
    print(f"metrics, predictions and figure in {out}")
    return ProbeFolder.open(out)
