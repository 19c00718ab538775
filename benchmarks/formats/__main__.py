"""How fast is each format read? The same SIMULATED galaxies, written as its own users write it.

    python -m benchmarks.formats
    python -m benchmarks.formats rows=4096 seconds=5 rounds=3 formats=challenge,fits,zarr

Files are kept under ``work``; ``RESULTS.md`` beside this file is written anew.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.formats.galaxies import draw
from benchmarks.formats.writers import BANDS, WRITERS
from benchmarks.throughput.measure import caption, machine
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Ints
from ssl_photoz.cutouts.reader import Cutouts

HERE = Path(__file__).parent
DEFAULTS: dict[str, Any] = {
    "formats": ",".join(WRITERS),
    "rows": 2048,
    "size_px": 128,
    "batch_size": 256,
    "seconds": 4.0,
    "rounds": 3,
    "work": "runs/formats",
    "results": str(HERE / "RESULTS.md"),
}
WAYS = ("one end to the other", "random")
NOTE = (
    "Batches of {batch_size} cutouts of {size_px} px in memory of the operating system, whole, as "
    "stored. Opening is the first time, nothing kept from before. MB are 10^6 "
    "bytes of pixels delivered; the size on disk is of all columns. Medians of {rounds} rounds of "
    "{seconds:g} s."
)


def main(arguments: list[str]) -> None:
    """Write, open and read every format, and write the table."""
    given = dict(argument.split("=", 1) for argument in arguments)
    if unknown := set(given) - set(DEFAULTS):
        raise SystemExit(f"no setting {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    settings = {name: type(usual)(given.get(name, usual)) for name, usual in DEFAULTS.items()}
    with TemporaryDirectory() as empty, patch.dict(os.environ, XDG_CACHE_HOME=empty):
        rows = [measure(name, settings) for name in settings["formats"].split(",")]
    write(Path(settings["results"]), rows, settings)


def measure(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the galaxies in a format, if they are not there, and time how it opens and reads."""
    folder = Path(settings["work"]) / f"{name}-{settings['rows']}-{settings['size_px']}"
    if not (folder / "written").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        drawn = draw(settings["rows"], size_px=settings["size_px"], bands=BANDS.get(name, "grz"))
        (folder / "written").write_text(WRITERS[name](folder, drawn).name)
    path = folder / (folder / "written").read_text()
    started = time.perf_counter()
    with Cutouts.open(path) as cutouts:
        for column in ("id", "ra", "dec", "z"):
            cutouts.column(column)
        opened_s = time.perf_counter() - started
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(1, settings["rounds"] + 1):
            for way in WAYS:
                rates[way].append(rate(cutouts, way, settings["batch_size"], settings["seconds"]))
                print(
                    f"{name:<18} round {number} {way:<21} {rates[way][-1]:10,.0f} images/s",
                    flush=True,
                )
        source = cutouts.source
    bytes_each = len(source.bands) * source.size_px**2 * np.dtype(source.dtype).itemsize
    on_disk = sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
    return {
        "format": name,
        "pixels": f"{len(source.bands)} x {source.size_px}², {source.dtype}",
        "kb_each": on_disk / settings["rows"] / 1e3,
        "opened_s": opened_s,
        "mb_each": bytes_each / 1e6,
        **{way: median(some) for way, some in rates.items()},
    }


def rate(cutouts: Cutouts, way: str, batch_size: int, seconds: float) -> float:
    """Read batches for some seconds; images per second, the first batch apart."""
    cutouts.read(np.arange(min(batch_size, len(cutouts))))
    images, started = 0, time.perf_counter()
    for rows in batches(len(cutouts), way, batch_size):
        images += len(cutouts.read(rows))
        if time.perf_counter() - started > seconds:
            break
    return images / (time.perf_counter() - started)


def batches(rows: int, way: str, batch_size: int) -> Iterator[Ints]:
    """Yield batches without end: pass after pass, in order or shuffled."""
    draws = np.random.default_rng(0)
    passes = (np.arange(rows) if way == WAYS[0] else draws.permutation(rows) for _ in count())
    return chain.from_iterable(
        np.split(order, range(batch_size, rows, batch_size)) for order in passes
    )


def write(path: Path, rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Write the table."""
    lines = [
        "# Reading speed of every format",
        "",
        "Written by `python -m benchmarks.formats`.",
        "",
        "| format | pixels | kB each on disk | opened in, s | in order, images/s | MB/s "
        "| random, images/s | MB/s |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        speeds = [f"{row[way]:,.0f} | {row[way] * row['mb_each']:,.0f}" for way in WAYS]
        cells = [
            row["format"],
            row["pixels"],
            f"{row['kb_each']:.0f}",
            f"{row['opened_s']:.2f}",
            *speeds,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", caption({**machine(), "note": NOTE.format(**settings)}), ""]
    with atomic_path(path) as scratch:
        scratch.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
