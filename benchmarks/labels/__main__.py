"""What do labels as they are cost, and what wins it back?

    make demo && python -m benchmarks.labels embeddings=runs/demo/embeddings

SIMULATED galaxies, whose redshifts are all known, are labelled as real ones are: at random, the
bright only, in two patches of the sky only, one label in twenty wrong, or the bright with a
photometric label of error 0.03 (1 + z) for the others. Densities, of neighbours and of a mixture
density network, are fitted to the training labels as they are, weighted by cells of a
self-organising map, chosen by these cells, and with labels as wide as their errors. Validation
galaxies, labelled in the same way (and never by a photometric label), choose and calibrate, and for
neighbours the training galaxies calibrate too, each left out in turn, where their labels are exact;
all test galaxies are scored once.

Writes ``results/<name>.md`` and ``.png`` beside this file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Bools, Doubles
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz import metrics
from ssl_photoz.photoz.distribution import RedshiftDistribution
from ssl_photoz.photoz.experiment import cover, fit_calibrated
from ssl_photoz.photoz.label_coverage import LabelCoverage, outside
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.settings import LabelConfig, Method

HERE = Path(__file__).parent
BRIGHT_MAG = 19.5
PATCHES = (0.1, 0.6)  # where in right ascension each begins, as a part of the survey
PATCH = 0.15  # how wide each is
WRONG = 0.05
PHOTOMETRIC_ERROR = 0.03
BINS = 3
METHODS: tuple[Method, ...] = ("knn", "mlp")
WAYS = {
    "as they are": LabelConfig(),
    "weighted": LabelConfig(draw="weighted"),
    "SOM-merged": LabelConfig(draw="representative"),
    "smoothed": LabelConfig(smooth=True),
    "SOM-merged, smoothed": LabelConfig(draw="representative", smooth=True),
}
GOAL = 0.003


@dataclass(frozen=True)
class Selection:
    """Labels of one kind.

    Attributes:
        name: What they are.
        covered: Which galaxies are of the kind that has labels, shape (N,).
        labelled: Which galaxies have a label, shape (N,).
        z: The labels, shape (N,).
        z_error: Their errors, shape (N,).
        trust: Trust in them, shape (N,).
        ways: Names of the ways to train, of `WAYS`.
    """

    name: str
    covered: Bools
    labelled: Bools
    z: Doubles
    z_error: Doubles
    trust: Doubles
    ways: tuple[str, ...] = ("as they are", "weighted", "SOM-merged")


def selections(embeddings: Embeddings) -> Iterator[Selection]:
    """Every way in which labels are had."""
    rng = np.random.default_rng(0)
    z = np.asarray(embeddings.column("true_z"), np.float64)
    magnitude, ra = embeddings.column("true_mag_r"), embeddings.column("ra")
    known = np.isfinite(embeddings.column("z"))
    every, exact, sure = np.ones(len(z), bool), np.full(len(z), 1e-4), np.ones(len(z))
    yield Selection("at random", every, known, z, exact, sure, ("as they are",))
    bright = magnitude < BRIGHT_MAG
    yield Selection(f"r < {BRIGHT_MAG:g} only", bright, known & bright, z, exact, sure)
    along = (ra - ra.min()) / (ra.max() - ra.min())
    patch = np.any([(along > start) & (along < start + PATCH) for start in PATCHES], axis=0)
    yield Selection("two patches only", every, known & patch, z, exact, sure)
    wrong = rng.uniform(size=len(z)) < WRONG
    off = np.where(wrong, rng.permutation(z), z)
    yield Selection("5 % wrong", every, known, off, exact, sure)
    many = known & ~bright
    error = np.where(many, PHOTOMETRIC_ERROR * (1 + z), exact)
    noisy = np.maximum(z + np.where(many, error, 0) * rng.normal(size=len(z)), 1e-3)
    trust = np.where(many, 0.3, 1.0)
    yield Selection("bright, and photometric", every, known, noisy, error, trust, tuple(WAYS))


def labelled(embeddings: Embeddings, vectors: Array, some: Selection) -> dict[str, Labelled]:
    """Training and validation galaxies with their labels, test galaxies with their truth."""
    side = embeddings.column("split").astype(str)
    truth = np.asarray(embeddings.column("true_z"), np.float64)
    rows = {split: some.labelled & (side == split) for split in ("train", "val")}
    rows["val"] &= some.trust == 1
    rows["test"] = side == "test"
    place = {name: embeddings.column(name) for name in ("id", "ra", "dec")}
    return {
        split: Labelled(
            features=vectors[mask],
            z=(truth if split == "test" else some.z)[mask],
            **{name: values[mask] for name, values in place.items()},
            z_error=some.z_error[mask],
            trust=some.trust[mask],
        )
        for split, mask in rows.items()
    }


def off_by(estimates: Doubles, z: Doubles, z_phot: Doubles) -> tuple[float, float]:
    """Greatest |Δ<z>| / (1 + <z>) over bins of the estimate, and its bootstrap error."""
    rng, worst = np.random.default_rng(0), (-1.0, 0.0)
    for rows in np.array_split(np.argsort(z_phot), BINS):
        apart = (estimates[rows] - z[rows]) / (1 + z[rows].mean())
        drawn = [apart[rng.integers(0, len(rows), len(rows))].mean() for _ in range(200)]
        worst = max(worst, (abs(float(apart.mean())), float(np.std(drawn))))
    return worst


def off_by_cells(
    cells: Array, z: Doubles, z_phot: Doubles, coverage: LabelCoverage
) -> tuple[float, float]:
    """Greatest |Δ<z>| / (1 + <z>) over bins of cells, of labels that share cells, and its error.

    Bins are of cells, ordered by their mean estimate: within a cell nothing tells which labels are
    like the galaxies of one estimate.
    """
    worst = (-1.0, 0.0)
    order = np.bincount(cells, weights=z_phot) / np.maximum(np.bincount(cells), 1)
    for rows in np.array_split(np.argsort(order[cells], kind="stable"), BINS):
        found = RedshiftDistribution.by_cells(
            cells[rows], coverage.label_cells, coverage.label_z, draws=50
        )
        truth = z[rows][np.isin(cells[rows], coverage.label_cells)].mean()
        worst = max(worst, (abs(float(found.mean - truth)) / (1 + truth), found.mean_error))
    return worst


def measured(
    embeddings: Embeddings, vectors: Array, some: Selection, way: str, method: Method
) -> dict[str, object]:
    """Fit one way, score on the test galaxies."""
    splits = labelled(embeddings, vectors, some)
    config, test = WAYS[way], splits["test"]
    coverage, train = cover(embeddings, splits, config, features="embedding", seed=0)
    if not config.smooth:
        train = replace(train, z_error=None)
    leave_out = method == "knn" and bool((some.trust == 1).all())
    fitted = fit_calibrated(train, splits["val"], method=method, train_calibrates=leave_out)
    density = fitted.density(test.features)
    columns = coverage.columns(test.features)
    z_phot, beyond = density.median(), outside(columns)
    expected = np.trapezoid(density.values * density.grid, density.grid, axis=1)
    dz = metrics.residuals(z_phot, test.z)
    outlier = np.abs(dz) > 0.05
    uncovered = ~some.covered[embeddings.column("split").astype(str) == "test"]
    lost = uncovered & outlier
    cells = off_by_cells(columns["cell"][~beyond], test.z[~beyond], z_phot[~beyond], coverage)
    shift, error = off_by(expected[~beyond], test.z[~beyond], z_phot[~beyond])
    return {
        "labels": some.name,
        "densities": method,
        "training": way,
        "n": len(train),
        "sigma": metrics.sigma_nmad(dz),
        "outliers": float(outlier.mean()),
        "bias": float(dz.mean()),
        "sigma_inside": metrics.sigma_nmad(dz[~beyond]),
        "outliers_inside": float(outlier[~beyond].mean()),
        "outside": float(beyond.mean()),
        "flagged": float(beyond[lost].mean()) if lost.any() else float("nan"),
        "of": int(lost.sum()),
        "mean_z": shift,
        "mean_z_error": error,
        "mean_z_cells": cells[0],
        "mean_z_cells_error": cells[1],
    }


def main(folder: Path, name: str) -> None:
    """Measure every way on every selection; write the table and the figure."""
    embeddings, began = Embeddings.open(folder), time.monotonic()
    if not embeddings.card.simulated:
        raise SystemExit(f"{folder} is not simulated: the truth of galaxies is not known")
    vectors = embeddings.vectors()
    todo = [
        (some, way, method)
        for method in METHODS
        for some in selections(embeddings)
        for way in some.ways
    ]
    rows = [measured(embeddings, vectors, *one) for one in tqdm(todo, desc="labels", unit="fit")]
    seconds = time.monotonic() - began
    note = (
        f"SIMULATED, {len(embeddings)} galaxies; {seconds:.0f} s. Inside: "
        f"label_coverage of at least 0.05. Flagged: outliers among galaxies of a kind that has no "
        f"labels, that lie outside. Δ⟨z⟩: the greatest of {BINS} bins of z_phot, inside, over "
        f"1 + z, from summed densities and from labels by cells; goal {GOAL:g}."
    )
    write(rows, name, note)


def write(rows: list[dict[str, object]], name: str, note: str) -> None:
    """Write the rows as Markdown and as a figure."""
    heads = (
        "densities",
        "labels",
        "training",
        "n",
        "sigma_NMAD",
        "outliers",
        "bias",
        "sigma inside",
    )
    heads += ("outliers inside", "outside", "outliers flagged", "Δ⟨z⟩ summed", "Δ⟨z⟩ cells")
    lines = [note, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        flagged = f"{row['flagged']:.0%} of {row['of']}" if row["of"] else "none to flag"
        cells = [str(row[key]) for key in ("densities", "labels", "training", "n")]
        cells += [f"{row['sigma']:.4f}", f"{row['outliers']:.1%}", f"{row['bias']:+.4f}"]
        cells += [f"{row['sigma_inside']:.4f}", f"{row['outliers_inside']:.1%}"]
        cells += [f"{row['outside']:.0%}", flagged]
        for key in ("mean_z", "mean_z_cells"):
            cells.append(f"{row[key]:.4f} ± {row[f'{key}_error']:.4f}")
        lines.append(f"| {' | '.join(cells)} |")
    results, text = HERE / "results", "\n".join([*lines, ""])
    results.mkdir(exist_ok=True)
    with atomic_path(results / f"{name}.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    draw(rows, results / f"{name}.png")
    print(text)


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Draw scatter, outliers and the shift of the mean of every row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.2 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    places = np.arange(len(rows))[::-1]
    panels = {
        "sigma_NMAD": ("sigma", "sigma_inside"),
        "|Δz| > 0.05": ("outliers", "outliers_inside"),
        "greatest |Δ⟨z⟩| / (1 + z)": ("mean_z", "mean_z_cells"),
    }
    for panel, (title, keys) in zip(axes, panels.items(), strict=True):
        names = ("summed", "by cells") if keys[0] == "mean_z" else ("all", "inside")
        for key, label, mark in zip(keys, names, "os", strict=True):
            panel.plot([row[key] for row in rows], places, mark, label=label)
        panel.set_title(title, fontsize=9)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, frameon=False)
    axes[2].axvline(GOAL, color="k", lw=0.8, ls=":")
    said = [f"{row['densities']}, {row['labels']}: {row['training']}" for row in rows]
    axes[0].set_yticks(places, said, fontsize=7)
    figure.suptitle("SIMULATED: labels as they are, test galaxies", fontsize=9)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, dpi=130, format="png")


if __name__ == "__main__":
    given = dict(one.split("=", 1) for one in sys.argv[1:])
    main(Path(given.get("embeddings", "runs/demo/embeddings")), given.get("name", "demo"))
