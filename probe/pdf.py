"""Give galaxies redshift probability densities, calibrated, and show how far to trust them.

    ssl-photoz pdf configs/pdf.yaml embeddings=runs/demo/embeddings out=runs/demo/pdf

The protocol: densities are fitted to the labelled galaxies of the training split; the validation
split chooses settings; calibration rests on the validation split and, where that is small, on
training galaxies left out of a fit in turn; the test split is scored once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ssl_photoz.core import artefact


@dataclass(frozen=True)
class Settings:
    """Fit, calibrate and score redshift densities; write a table of them.

    Attributes:
        embeddings: Embeddings folder.
        out: Folder to write.
        method: Kernels on the neighbours (knn), or a mixture density network (mlp).
        features: What is read: the embedding, aperture photometry (the yardstick), or both.
        label: What to call these features in figures.
        magnitude: Column to bin residuals by, such as mag_r.
        seeing: Column to bin residuals by, such as psfsize; bands are averaged.
        labels: Use only this many training galaxies, drawn at random; validation keeps all.
        rows: Galaxies in the table: the labelled of the test split, or unseen: those without a
            redshift as well.
        qp: Whether to write qp.hdf5 too, an ensemble of the qp library.
        contaminated: Whether to score, marked as CONTAMINATED, an encoder that has learnt from the
            redshifts it is scored on.
        seed: Of every random choice.
    """

    embeddings: Path
    out: Path
    method: Literal["knn", "mlp"] = "mlp"
    features: Literal["embedding", "aperture", "both"] = "embedding"
    label: str = "frozen embedding"
    magnitude: str | None = None
    seeing: str | None = None
    labels: int | None = None
    rows: Literal["test", "unseen"] = "test"
    qp: bool = False
    contaminated: Literal["refuse", "allow"] = "refuse"
    seed: int = 0


def main(settings: Settings) -> None:
    """Fit, calibrate, score, draw, write."""
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz import contamination, density_table, labels, qp_export
    from ssl_photoz.photoz.density_experiment import fit_calibrated, score_calibrated
    from ssl_photoz.photoz.density_figures import save_density_figures
    from ssl_photoz.photoz.figures import title_of
    from ssl_photoz.photoz.scores import for_json

    embeddings = Embeddings.open(settings.embeddings)
    contamination.refuse_contaminated(embeddings, allow=settings.contaminated == "allow")
    parents = {"embeddings": embeddings.sha256}
    paths = ("out", "embeddings", "contaminated")
    if artefact.already_made(settings.out, "pdf", config=settings, parents=parents, ignore=paths):
        print(f"{settings.out} is already made")
        return
    splits = labels.read_labelled(
        embeddings, features=settings.features, magnitude=settings.magnitude
    )
    splits["train"] = labels.fewer(splits["train"], settings.labels, seed=settings.seed)
    counts = {split: len(galaxies) for split, galaxies in splits.items()}
    print(labels.census(embeddings, counts))
    seen = contamination.label_facts(embeddings, splits["train"].id, settings.label)
    fitted = fit_calibrated(
        splits["train"],
        splits["val"],
        method=settings.method,
        train_calibrates=not seen.get("labels_seen"),
        seed=settings.seed,
    )
    test, by = splits["test"], {}
    if test.magnitude is not None:
        by[str(settings.magnitude)] = test.magnitude
    if settings.seeing is not None:
        by[settings.seeing] = density_table.per_test_galaxy(embeddings, settings.seeing)
    density, scores = score_calibrated(fitted, test, by=by)
    facts = {
        **seen,
        "method": settings.method,
        "features": settings.features,
        "labels": counts,
        "calibrators": {"which": fitted.calibrators, "n": fitted.n},
        "chosen": fitted.probe.chosen_,
        "simulated": bool(embeddings.card.get("simulated", False)),
        "calibrated": bool(embeddings.card.get("calibrated", True)),
    }
    metrics = for_json({**facts, **scores})
    save_density_figures(settings.out, density, test.z, metrics)
    artefact.write_json(settings.out / "metrics.json", metrics)
    written = density_table.write_densities(
        settings.out / "pdfs.parquet",
        density_table.density_parts(
            fitted,
            embeddings,
            density_table.wanted_rows(embeddings, settings.rows),
            features=settings.features,
        ),
        simulated=bool(facts["simulated"]),
    )
    exported = qp_export.export(settings.out, wanted=settings.qp)
    artefact.write_card(
        settings.out,
        "pdf",
        config=settings,
        parents=parents,
        encoder=embeddings.card.get("encoder", ""),
        rows=written,
        grid={"points": len(density.grid), "z_max": float(density.grid[-1])},
        qp=exported,
        **facts,
    )
    print(title_of(metrics))
    _say(metrics["test"], metrics["calibrators"]["which"])
    print(f"{written} densities in {settings.out}/pdfs.parquet; qp ensemble: {exported}")


def _say(test: dict[str, Any], calibrators: str) -> None:
    print(
        f"PIT: KS {test['ks']:.3f} ({test['ks_of_chance']:.3f} by chance with {test['n']} "
        f"galaxies); 68 % intervals hold {test['coverage']['0.68']:.1%}; CRPS {test['crps']:.5f}; "
        f"CDE loss {test['cde_loss']:.2f}; good {test['good']:.1%}; calibrated on {calibrators}"
    )
