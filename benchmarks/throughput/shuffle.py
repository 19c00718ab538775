"""What: shuffle. Does shuffling by blocks cost quality, on a file that is sorted by sky?

Trains the same short run on the same SIMULATED survey, its rows sorted by right ascension, shuffled
freely and by blocks, several seeds each; compares the redshift score of neighbours. A sorted survey
that is a strip of the sky is the worst case: neighbouring rows share seeing, depth and dust.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import h5py
import numpy as np

from benchmarks.throughput.measure import caption, machine
from ssl_photoz import cli
from ssl_photoz.runs import atomic_path, write_json

SEEDS = (0, 1, 2)
EPOCHS = 6
WAYS = {"freely": (1, 1), "blocks of 64 in windows of 1024": (64, 1024)}


def measure(
    work: Path,
    results: Path,
    *,
    seconds: float,
    rows: int,
    batch_size: int,
    crop_px: int,
    backbone: str,
) -> None:
    """Train and write the table; ``seconds`` does not limit it."""
    path = sorted_survey(work, rows)
    scores: dict[str, list[float]] = {}
    for way, (block, window) in WAYS.items():
        for seed in SEEDS:
            out = work / f"shuffle-{rows}-{backbone}-{block}-{seed}"
            arguments = [
                *(f"data={path}", f"out={out}", f"epochs={EPOCHS}", f"batch_size={batch_size}"),
                *(f"seed={seed}", f"shuffle_block={block}", f"shuffle_window={max(window, block)}"),
                *(f"encoder.backbone={backbone}", f"encoder.crop_px={crop_px}"),
                *(f"moco.queue_size={4 * batch_size}",),
            ]
            cli.run("pretrain", arguments)
            last = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
            scores.setdefault(way, []).append(last["knn_sigma_nmad"])
    write(results, scores, rows=rows, backbone=backbone, crop_px=crop_px)


def sorted_survey(work: Path, rows: int) -> Path:
    """Simulate a survey and sort its rows by right ascension."""
    made, path = work / f"survey-{rows}.h5", work / f"survey-sorted-{rows}.h5"
    if not path.exists():
        cli.run("simulate", [f"out={made}", f"galaxies={rows}", "size_px=96"])
        with h5py.File(made) as file, atomic_path(path) as scratch, h5py.File(scratch, "w") as new:
            order = np.argsort(file["RA"][:], kind="stable")
            for name, dataset in file.items():
                new[name] = dataset[:][order]
            new.attrs.update(dict(file.attrs))
    return path


def write(results: Path, scores: dict[str, list[float]], **facts: Any) -> None:  # noqa: ANN401
    """Write ``shuffle.json`` and ``shuffle.md``."""
    about = {**machine(), **facts}
    write_json(results / "shuffle.json", {**about, "knn_sigma_nmad": scores})
    lines = ["| shuffled | sigma_NMAD of neighbours, mean | scatter of seeds |", "|---|---|---|"]
    lines += [f"| {way} | {mean(some):.4f} | {stdev(some):.4f} |" for way, some in scores.items()]
    note = (
        f"{facts['rows']} galaxies sorted by right ascension, {facts['backbone']}, "
        f"{facts['crop_px']} px, {EPOCHS} epochs, {len(SEEDS)} seeds."
    )
    with atomic_path(results / "shuffle.md") as scratch:
        scratch.write_text("\n".join([*lines, "", caption({**about, "note": note}), ""]))
    print("\n".join(lines))
