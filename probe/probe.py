"""Fit redshift probes, or calibrated redshift densities, to embeddings.

The protocol: features are frozen; probes are fitted to the labelled galaxies of the training
split, choose their settings and calibrate their intervals on the validation split, and are
scored once on the test split, which lies elsewhere on the sky. Densities are calibrated on the
validation split and, where that is small, on training galaxies left out of a fit in turn.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike
from ssl_photoz.photoz.settings import DensityConfig, LabelConfig, ProbeName, SampleConfig

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings
    from ssl_photoz.photoz.folders import DensityFolder, ProbeFolder
    from ssl_photoz.photoz.label_sources import Labels


def probe(
    embeddings: PathLike | Embeddings,
    out: PathLike,
    *,
    probes: tuple[ProbeName, ...] = ("knn", "ridge", "mlp"),
    versus: tuple[Path | str, ...] = (),
    density: bool = False,
    densities: DensityConfig = DensityConfig(),
    sample: SampleConfig = SampleConfig(),
    labelling: LabelConfig = LabelConfig(),
) -> ProbeFolder | DensityFolder:
    """Fit and score redshift probes, or densities.

        ssl-photoz probe embeddings=runs/demo/embeddings out=runs/demo/probe
        ssl-photoz probe embeddings=runs/demo/embeddings out=runs/demo/pdf density=true

    Args:
        embeddings: Embeddings folder.
        out: Folder to write.
        probes: Probes to fit; predicting the mean is always added.
        versus: Other probe folders to compare with, galaxy by galaxy.
        density: Whether to fit, calibrate and score redshift densities in place of the probes, and
            write a table of them.
        densities: Options of densities.
        sample: Galaxies and features.
        labelling: Sources of labels, and how the training labels stand for all galaxies.

    Returns:
        The folder: its card, metrics and fitted probes, or its densities.

    Raises:
        ConfigError: If there is nothing to fit.
        ContaminatedError: If the encoder has learnt from redshifts that it would be scored on.
        DataError: If a split has fewer than 10 usable redshifts, a source of labels shares no
            galaxy with the embeddings, or there are more cells than labels.
        MismatchError: If the folder holds work made with other settings.
    """
    from ssl_photoz.photoz.labels import open_embeddings, refuse_contaminated

    if not probes and not density:
        raise ConfigError(f"probes is empty, expected any of {', '.join(get_args(ProbeName))}")
    store, out = open_embeddings(embeddings), Path(out)
    refuse_contaminated(store, allow=sample.contaminated == "allow")
    if density:
        return _densities(store, out, densities, sample, labelling)
    return _probes(store, out, probes, tuple(map(Path, versus)), sample, labelling)


def _changed(labelling: LabelConfig) -> dict[str, Any]:
    """Settings that are not as they were before there were any, for the card."""
    before = asdict(LabelConfig())
    return {name: value for name, value in asdict(labelling).items() if value != before[name]}


def _labels(embeddings: Embeddings, labelling: LabelConfig) -> tuple[Labels | None, dict[str, str]]:
    """Labels of several sources, if there are, and their checksums."""
    from ssl_photoz.photoz.label_sources import read_labels

    if labelling.sources is None:
        return None, {}
    return read_labels(embeddings, labelling.sources)


def _probes(
    embeddings: Embeddings,
    out: Path,
    probes: tuple[ProbeName, ...],
    versus: tuple[Path, ...],
    sample: SampleConfig,
    labelling: LabelConfig,
) -> ProbeFolder:
    """Fit, score, compare, draw, save."""
    from ssl_photoz.core.artefact import for_json
    from ssl_photoz.photoz.artefact import save_probe
    from ssl_photoz.photoz.experiment import (
        compare_with,
        cover,
        fit_and_score,
        require_comparable,
    )
    from ssl_photoz.photoz.figures import save_figures, title_of
    from ssl_photoz.photoz.folders import ProbeFolder
    from ssl_photoz.photoz.labels import read_sample
    from ssl_photoz.photoz.scores import table

    labels, checksums = _labels(embeddings, labelling)
    parents = {"embeddings": embeddings.sha256, **checksums}
    parents |= {f"versus {number}": artefact.sha256_of(p) for number, p in enumerate(versus)}
    config = {"embeddings": embeddings.folder, "out": out, "probes": probes, "versus": versus}
    config |= asdict(sample) | _changed(labelling)
    paths = ("out", "embeddings", "versus", "contaminated", "sources")
    if artefact.already_made(out, "probe", config=config, parents=parents, ignore=paths):
        print(f"{out} is already made")
        return ProbeFolder.open(out)
    require_comparable(probes, versus)
    splits, facts = read_sample(embeddings, sample, labels)
    require_comparable(probes, versus, splits["test"])
    coverage, splits["train"] = cover(
        embeddings, splits, labelling, features=sample.features, seed=sample.seed
    )
    outcome = fit_and_score(splits, ("mean", *probes), seed=sample.seed, coverage=coverage)
    metrics = for_json(
        {
            **facts,
            "magnitude": sample.magnitude,
            "label_coverage": coverage.facts(),
            "probes": outcome.scores,
            "chosen": {name: fitted.chosen_ for name, fitted in outcome.probes.items()},
            "versus": compare_with(outcome.predictions, versus),
        }
    )
    save_figures(out, outcome.predictions, metrics)
    coverage.save(out)
    save_probe(
        out,
        outcome.probes,
        metrics=metrics,
        predictions=outcome.predictions,
        config=config,
        parents=parents,
        encoder=embeddings.card.get("encoder", ""),
        **facts,
    )
    print(title_of(metrics))
    print(table(metrics["probes"]))
    print(f"probes, metrics, predictions and figures in {out}")
    return ProbeFolder.open(out)


def _densities(
    embeddings: Embeddings,
    out: Path,
    densities: DensityConfig,
    sample: SampleConfig,
    labelling: LabelConfig,
) -> DensityFolder:
    """Fit, calibrate, score, draw, write a table."""
    from ssl_photoz.core.artefact import for_json
    from ssl_photoz.photoz import density_table
    from ssl_photoz.photoz.experiment import cover, fit_calibrated, score_calibrated
    from ssl_photoz.photoz.figures import save_density_figures, title_of
    from ssl_photoz.photoz.folders import DensityFolder
    from ssl_photoz.photoz.labels import read_sample

    labels, checksums = _labels(embeddings, labelling)
    parents = {"embeddings": embeddings.sha256, **checksums}
    config = {"embeddings": embeddings.folder, "out": out, **asdict(densities), **asdict(sample)}
    config |= _changed(labelling)
    paths = ("out", "embeddings", "contaminated", "sources")
    if artefact.already_made(out, "densities", config=config, parents=parents, ignore=paths):
        print(f"{out} is already made")
        return DensityFolder.open(out)
    seeing = None
    if densities.seeing is not None:
        seeing = density_table.per_test_galaxy(embeddings, densities.seeing, labels)
    splits, facts = read_sample(embeddings, sample, labels)
    coverage, splits["train"] = cover(
        embeddings, splits, labelling, features=sample.features, seed=sample.seed
    )
    # Labels with errors of their own would make densities as wide as these.
    exact = labels is None or bool(labels.spectroscopic[labels.source >= 0].all())
    fitted = fit_calibrated(
        splits["train"],
        splits["val"],
        method=densities.method,
        train_calibrates=exact and not facts.get("labels_seen"),
        seed=sample.seed,
    )
    test, by = splits["test"], {}
    if test.magnitude is not None:
        by[str(sample.magnitude)] = test.magnitude
    if seeing is not None:
        by[str(densities.seeing)] = seeing
    density_table.save_calibrated(out, fitted)
    density, scores = score_calibrated(fitted, test, by=by)
    facts = {
        **facts,
        "label_coverage": coverage.facts(),
        "method": densities.method,
        "calibrators": {"which": fitted.calibrators, "n": fitted.n},
        "chosen": fitted.probe.chosen_,
    }
    metrics = for_json({**facts, **scores})
    save_density_figures(out, density, test.z, metrics)
    artefact.write_json(out / "metrics.json", metrics)
    coverage.save(out)
    written = density_table.write_densities(
        out / "pdfs.parquet",
        density_table.density_parts(
            fitted,
            embeddings,
            density_table.wanted_rows(embeddings, densities.rows, labels),
            features=sample.features,
            coverage=coverage,
        ),
        simulated=bool(facts["simulated"]),
    )
    exported = density_table.export_qp(out, wanted=densities.qp)
    artefact.write_card(
        out,
        "densities",
        config=config,
        parents=parents,
        encoder=embeddings.card.get("encoder", ""),
        rows=written,
        grid={"points": len(density.grid), "z_max": float(density.grid[-1])},
        qp=exported,
        **facts,
    )
    print(title_of(metrics))
    _print_calibration(metrics["test"], metrics["calibrators"]["which"])
    print(f"{written} densities in {out}/pdfs.parquet; qp ensemble: {exported}")
    return DensityFolder.open(out)


def _print_calibration(test: dict[str, Any], calibrators: str) -> None:
    print(
        f"PIT: KS {test['ks']:.3f} ({test['ks_of_chance']:.3f} by chance with {test['n']} "
        f"galaxies); 68 % intervals hold {test['coverage']['0.68']:.1%}; CRPS {test['crps']:.5f}; "
        f"CDE loss {test['cde_loss']:.2f}; good {test['good']:.1%}; calibrated on {calibrators}"
    )
