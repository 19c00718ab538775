"""What does each block of an embedding bring to redshifts?

    python -m benchmarks.blocks runs/real/embeddings name=real
    python -m benchmarks.blocks runs/demo/embeddings name=demo

Cross-validated over five sky folds, so that every labelled galaxy is a test galaxy once: the probe
is the blend (SVR and MLP), fitted to the blocks so far. Its choices are made on each fold's own
validation galaxies. Writes ``results/<name>.md``, ``.csv`` and ``.png`` beside this file.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.redshift_ladder.fitting import thinned
from benchmarks.redshift_ladder.folds import deal, sides
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Doubles, Floats
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.blend import Blend
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.metrics import bootstrap_errors, paired_difference, summarise

HERE = Path(__file__).parent
FOLDS = 5
LABELS = (1.0, 256)
DRAWS = {1.0: 1, 256: 3}
STEPS = (
    ("magnitudes", ("magnitudes",)),
    ("+ colours, concentrations", ("colours", "concentrations")),
    ("+ shapes", ("shapes",)),
    ("+ textures, asymmetry", ("textures", "asymmetry")),
    ("+ PSF and noise", ("conditions",)),
    ("+ learnt: the embedding", ("learnt",)),
)
COLUMNS = ("labels", "features", "numbers", "sigma_nmad", "outliers_05", "r2")


def read_outs(embeddings: Embeddings) -> Iterator[tuple[str, Floats]]:
    """Features of every row: blocks one after the other, the learnt alone, and apertures."""
    vectors, parts = embeddings.vectors(), embeddings.parts
    taken: list[Floats] = []
    for name, blocks in STEPS:
        new = [vectors[:, parts[block]] for block in blocks if block in parts]
        if new:
            taken += new
            yield name, np.concatenate(taken, axis=1)
    if "learnt" in parts:
        yield "learnt alone", vectors[:, parts["learnt"]]
    yield "aperture photometry", embeddings.vectors("aperture")


def cross_validated(galaxies: Labelled, split: SplitConfig, labels: float, draw: int) -> Doubles:
    """Redshift of every galaxy from a blend that has seen neither it nor its fold, shape (N,)."""
    half, found = deal(galaxies, split, FOLDS), np.full(len(galaxies), np.nan)
    for fold in range(FOLDS):
        some = thinned(sides(galaxies, half, fold, FOLDS), labels, draw)
        train, val = some["train"], some["val"]
        blend = Blend(seed=draw).fit(train.features, train.z, validation=(val.features, val.z))
        found[half // 2 == fold] = blend.predict(some["test"].features)
    return found


def main(folder: Path, name: str) -> None:
    """Fit, score, and write the table and the figure."""
    embeddings = Embeddings.open(folder)
    split = SplitConfig.of(embeddings.card.split)
    places = np.flatnonzero(usable_labels(embeddings.column("z")))
    whole = {key: embeddings.column(key)[places] for key in ("z", "id", "ra", "dec")}
    rows = []
    todo = [(labels, *one) for labels in LABELS for one in read_outs(embeddings)]
    before: dict[float, Doubles] = {}
    for labels, title, features in tqdm(todo, desc="blocks", unit="read-out"):
        galaxies = Labelled(features=features[places], **whole)
        z_phot = np.concatenate(
            [cross_validated(galaxies, split, labels, draw) for draw in range(DRAWS[labels])]
        )
        z = np.tile(whole["z"], DRAWS[labels])
        score, errors = summarise(z_phot, z), bootstrap_errors(z_phot, z)
        row = {"labels": "all" if labels == 1 else labels, "features": title}
        row["numbers"] = features.shape[1]
        for metric in COLUMNS[3:]:
            row[metric], row[f"{metric}_error"] = getattr(score, metric), errors[metric]
        if title.startswith("+"):
            for metric in COLUMNS[3:]:
                gain = paired_difference(z_phot, before[labels], z, metric=metric)
                row[f"{metric}_gain"], row[f"{metric}_gain_error"] = gain.value, gain.error
        if title.startswith("+") or title == STEPS[0][0]:
            before[labels] = z_phot
        rows.append(row)
    note = f"{len(places)} labelled galaxies, {FOLDS} sky folds, blend of SVR and MLP."
    if embeddings.card.simulated:
        note = f"SIMULATED. {note}"
    write(rows, name, note)


def write(rows: list[dict[str, object]], name: str, note: str) -> None:
    """Write the rows as CSV, Markdown and a figure."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_path(results / f"{name}.csv") as scratch, scratch.open("w", newline="") as file:
        table = csv.DictWriter(file, keys)
        table.writeheader()
        table.writerows(rows)
    lines = [
        f"{note} Gains: over the row before, with paired errors; sigma and outliers fall.",
        "",
        "| labels | features | numbers | sigma_NMAD | outliers | R² | gain in sigma | gain in R² |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [str(row["labels"]), str(row["features"]), str(row["numbers"])]
        cells.append(f"{row['sigma_nmad']:.4f} ± {row['sigma_nmad_error']:.4f}")
        cells.append(f"{row['outliers_05']:.1%} ± {row['outliers_05_error']:.1%}")
        cells.append(f"{row['r2']:.3f} ± {row['r2_error']:.3f}")
        for metric, digits in (("sigma_nmad", 4), ("r2", 3)):
            gain, error = row.get(f"{metric}_gain"), row.get(f"{metric}_gain_error")
            cells.append("" if gain is None else f"{gain:+.{digits}f} ± {error:.{digits}f}")
        lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join([*lines, ""])
    with atomic_path(results / f"{name}.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    print(text)
    draw(rows, results / f"{name}.png", note)


def draw(rows: list[dict[str, object]], path: Path, note: str) -> None:
    """Draw sigma_NMAD of every row, with errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots(1, len(LABELS), sharey=True)
    for panel, labels in zip(axes, LABELS, strict=True):
        said = "all" if labels == 1 else labels
        some = [row for row in rows if row["labels"] == said]
        places = np.arange(len(some))[::-1]
        values = [row["sigma_nmad"] for row in some]
        errors = [row["sigma_nmad_error"] for row in some]
        panel.errorbar(values, places, xerr=errors, fmt="o", color="tab:blue", capsize=2)
        panel.set_yticks(places, [str(row["features"]) for row in some])
        panel.set_title(f"{said} labels")
        panel.set_xlabel("sigma_NMAD")
        panel.grid(axis="x", alpha=0.3)
    figure.suptitle(note, fontsize=9)
    with atomic_path(path) as scratch:
        figure.savefig(scratch, format="png", dpi=120)


if __name__ == "__main__":
    asked = [argument for argument in sys.argv[1:] if "=" not in argument]
    named = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if len(asked) != 1 or set(named) != {"name"}:
        raise SystemExit("expected an embeddings folder and name=..., see the docstring")
    main(Path(asked[0]), named["name"])
