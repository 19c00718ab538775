"""What: shuffle. Does shuffling by blocks cost quality, on a file whose neighbours are alike?

Trains the same short run on the same survey, shuffled freely and by blocks, several seeds each, and
compares the redshift score of neighbours. A real file (``data=``) is sorted by right ascension. In
the SIMULATED survey places on the sky have nothing in common, so its rows are sorted by seeing, as
if all galaxies of a night stood together, and by redshift, worse than any order on the sky.
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
from ssl_photoz.core.artefact import atomic_path, write_json
from ssl_photoz.cutouts.reader import Cutouts

SEEDS = (0, 1, 2)
EPOCHS = 6
BLOCK, WINDOW = 64, 1024


def measure(
    work: Path,
    results: Path,
    *,
    seconds: float,
    data: str,
    rows: int,
    batch_size: int,
    crop_px: int,
    backbone: str,
) -> None:
    """Train and write the table; ``seconds`` does not limit it."""
    if data:
        orders = {"right ascension": sorted_copy(Path(data), work / "by-ra.h5", "ra")}
    else:
        survey = work / f"survey-{rows}.h5"
        cli.run("simulate", [f"out={survey}", f"galaxies={rows}", "size_px=96"])
        orders = {
            name: sorted_copy(survey, work / f"survey-{rows}-by-{name}.h5", column)
            for name, column in (("seeing", "psfsize"), ("redshift", "z"))
        }
    ways = {"freely": (next(iter(orders.values())), 1)}
    ways |= {f"by blocks, sorted by {name}": (path, BLOCK) for name, path in orders.items()}
    encoder = {"backbone": backbone, "crop_px": crop_px}
    scores = {
        way: [trained(work, path, block, seed, batch_size, encoder) for seed in SEEDS]
        for way, (path, block) in ways.items()
    }
    with Cutouts.open(next(iter(orders.values()))) as cutouts:
        facts = {"rows": len(cutouts), "simulated": cutouts.source.simulated}
    write(results, scores, **facts, **encoder)


def sorted_copy(source: Path, path: Path, column: str) -> Path:
    """Copy of a cutout file, its rows sorted by a column (its middle band), if need be."""
    if not path.exists():
        with Cutouts.open(source) as cutouts:
            values = cutouts.column(column)
            order = np.argsort(values if values.ndim == 1 else values[:, 1], kind="stable")
        with (
            h5py.File(source) as file,
            atomic_path(path) as scratch,
            h5py.File(scratch, "w") as new,
        ):
            for name, dataset in file.items():
                new[name] = dataset[:][order]
            new.attrs.update(dict(file.attrs))
    return path


def trained(
    work: Path, path: Path, block: int, seed: int, batch_size: int, encoder: dict[str, Any]
) -> float:
    """Train for a few epochs; the last score of neighbours."""
    out = work / f"shuffle-{path.stem}-{encoder['backbone'].replace('/', '-')}-{block}-{seed}"
    arguments = [
        *(f"data={path}", f"out={out}", f"epochs={EPOCHS}", f"batch_size={batch_size}"),
        *(f"training.seed={seed}", f"shuffle.block={block}", f"shuffle.window={WINDOW}"),
        *(f"encoder.{name}={value}" for name, value in encoder.items()),
        f"moco.queue_size={4 * batch_size}",
    ]
    cli.run("pretrain", arguments)
    last = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
    if "knn_sigma_nmad" not in last:
        raise SystemExit(f"{path} has too few labelled galaxies to score on; give more rows")
    return float(last["knn_sigma_nmad"])


def write(results: Path, scores: dict[str, list[float]], **facts: Any) -> None:  # noqa: ANN401
    """Write ``shuffle.json`` and ``shuffle.md``."""
    about = {**machine(), **facts}
    write_json(results / "shuffle.json", {**about, "knn_sigma_nmad": scores})
    lines = ["| shuffled | sigma_NMAD of neighbours, mean | scatter of seeds |", "|---|---|---|"]
    lines += [f"| {way} | {mean(some):.4f} | {stdev(some):.4f} |" for way, some in scores.items()]
    note = (
        f"{facts['rows']} galaxies, blocks of {BLOCK} in windows of {WINDOW}, {facts['backbone']}, "
        f"{facts['crop_px']} px, {EPOCHS} epochs, {len(SEEDS)} seeds."
    )
    with atomic_path(results / "shuffle.md") as scratch:
        scratch.write_text("\n".join([*lines, "", caption({**about, "note": note}), ""]))
    print("\n".join(lines))
