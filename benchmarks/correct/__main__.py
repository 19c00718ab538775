"""What each step of the bias correction takes away, and its price.

    python -m benchmarks.correct
    python -m benchmarks.correct embeddings=runs/real/embeddings magnitude=mag_r name=real

Without ``embeddings=``, a SIMULATED catalogue is drawn for every seed. Settings of `correct` may be
given as well, such as ``point=mode``. The table and the figure are written beside this file.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.correct.catalogue import make_embeddings
from ssl_photoz import cli
from ssl_photoz.core.artefact import atomic_path, read_json
from ssl_photoz.photoz.bias.outcome import draw_mean_residuals
from ssl_photoz.photoz.figures import title_of

HERE = Path(__file__).resolve().parent
OWN = {"galaxies": "6000", "seeds": "3", "out": "runs/correct", "name": "simulated"}
HEADS = (
    "mean residual by z_spec",
    "by z_phot",
    "total variation",
    "sigma_NMAD",
    "its price",
    "|dz| > 0.05",
)


def main(arguments: list[str]) -> None:
    """Run every seed, write the table and the figure."""
    given = dict(argument.split("=", 1) for argument in arguments)
    own = {name: given.pop(name, value) for name, value in OWN.items()}
    seeds, folder = int(own["seeds"]), Path(own["out"]) / own["name"]
    found = []
    for seed in range(seeds):
        here = folder / f"seed-{seed}"
        if "embeddings" not in given and not (here / "embeddings" / "card.json").exists():
            make_embeddings(here / "embeddings", int(own["galaxies"]), seed=seed)
        asked = {"embeddings": here / "embeddings", "out": here / "correct", "seed": seed}
        cli.run("correct", [f"{name}={value}" for name, value in (asked | given).items()])
        found.append(read_json(here / "correct" / "metrics.json"))
    counts = found[0]["labels"]
    note = (
        f"{title_of(found[0])}; {counts['train']} training, {counts['val']} validation and "
        f"{counts['test']} test galaxies, {seeds} seeds (mean ± standard error); "
        f"{' '.join(f'{k}={v}' for k, v in given.items() if k != 'embeddings')} "
        f"{os.cpu_count()} cores, {platform.machine()}, {datetime.date.today()}"
    )
    text = f"{note}\n\n{_markdown(found)}"
    (HERE / "results").mkdir(exist_ok=True)
    with atomic_path(HERE / "results" / f"{own['name']}.md") as scratch:
        scratch.write_text(text)
    figure = draw_mean_residuals(found[0]["residuals"]["test"], title=title_of(found[0]))
    with atomic_path(HERE / "results" / f"{own['name']}.png") as scratch:
        figure.savefig(scratch)
    print(text)


def _markdown(found: list[dict[str, Any]]) -> str:
    lines = [f"| with all steps to | {' | '.join(HEADS)} |", "|---|" + "---:|" * len(HEADS)]
    for step in found[0]["residuals"]["test"]:
        cells = zip(*(_figures(metrics, step) for metrics in found), strict=True)
        lines.append(f"| {step} | {' | '.join(_cell(values) for values in cells)} |")
    return "\n".join(lines) + "\n"


def _figures(metrics: dict[str, Any], step: str) -> list[float]:
    said, scores = metrics["residuals"]["test"][step], metrics["probes"][step]["test"]
    before = metrics["probes"]["uncorrected"]["test"]["sigma_nmad"]
    return [
        said["size_z_spec"],
        said["size_z_phot"],
        said["total_variation"],
        scores["sigma_nmad"],
        scores["sigma_nmad"] - before,
        scores["outliers_05"],
    ]


def _cell(values: tuple[float, ...]) -> str:
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.4f} ± {error:.4f}"


if __name__ == "__main__":
    main(sys.argv[1:])
