"""What: read. Random batches from cutout files as users have them, and from a packed copy.

The ceiling is the disk (or, when warm, the memory): the same file read from one end to the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from statistics import median

import h5py
import numpy as np

from benchmarks.throughput.measure import (
    caption,
    forget,
    in_turn,
    machine,
    sequential_mb_per_s,
)
from benchmarks.throughput.survey import STORAGE, make_file, make_packed
from ssl_photoz.core.artefact import atomic_path, write_json
from ssl_photoz.cutouts.batches import Batches
from ssl_photoz.cutouts.reader import Cutouts

GOAL = 10_000


def measure(
    work: Path, results: Path, *, seconds: float, rounds: int, rows: int, batch_size: int
) -> None:
    """Measure every storage, warm and cold, and write the table."""
    paths = {f"{name}, float32": make_file(work, rows, name) for name in STORAGE}
    paths["packed, 96 px, float16"] = make_packed(work, rows, size_px=96)
    per_turn = seconds / (4 * rounds * (len(paths) + 1))
    table = {}
    for name, path in paths.items():
        ways: dict[str, Callable[[Path], Iterator[int]]] = {
            "h5py by the user": lambda path: by_h5py(path, batch_size),
            "here": lambda path: by_batches(path, batch_size, block_rows=1),
            "here, by blocks of 256": lambda path: by_batches(path, batch_size, block_rows=256),
        }
        if not name.startswith("chunk per cutout"):
            del ways["h5py by the user"]
        for cold in (False, True):
            contenders = {
                "one end to the other": lambda path=path, cold=cold: whole(path, rows, cold=cold),
                **{
                    way: lambda read=read, path=path, cold=cold: paced(
                        path, read, per_turn, cold=cold
                    )
                    for way, read in ways.items()
                },
            }
            print(name, "from disk" if cold else "in memory", flush=True)
            table[name, cold] = in_turn(contenders, rounds=rounds)
    write(results, table, {name: path.stat().st_size / rows for name, path in paths.items()})


def whole(path: Path, rows: int, *, cold: bool) -> float:
    """Read a file through; images per second."""
    if cold:
        forget(path)
    return sequential_mb_per_s(path) * 1e6 / (path.stat().st_size / rows)


def paced(
    path: Path, read: Callable[[Path], Iterator[int]], seconds: float, *, cold: bool
) -> float:
    """Read batches for some seconds, at most an epoch if cold; images/s after the first batch."""
    if cold:
        forget(path)
    epochs = [read(path)] if cold else (read(path) for _ in count())
    images, started = 0, 0.0
    for some in chain.from_iterable(epochs):
        images += some if started else 0
        started = started or time.perf_counter()
        if images and time.perf_counter() - started > seconds:
            break
    return images / (time.perf_counter() - started)


def by_batches(path: Path, batch_size: int, *, block_rows: int) -> Iterator[int]:
    """Read an epoch of batches as training does, single precision included."""
    with Cutouts.open(path) as cutouts:
        batches = Batches(
            cutouts,
            np.arange(len(cutouts)),
            batch_size=batch_size,
            seed=time.perf_counter_ns(),
            block_rows=block_rows,
            window_rows=2048,
        )
        for batch in batches:
            yield len(batch)


def by_h5py(path: Path, batch_size: int) -> Iterator[int]:
    """Read an epoch of batches as one writes it down at first: a list of sorted rows."""
    with h5py.File(path) as file:
        images = file["images"]
        order = np.random.default_rng(time.perf_counter_ns()).permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield len(images[np.sort(order[start : start + batch_size])].astype(np.float32))


def write(
    results: Path,
    table: dict[tuple[str, bool], dict[str, list[float]]],
    row_bytes: dict[str, float],
) -> None:
    """Write ``read.json`` and ``read.md``."""
    about = machine()
    rows = [
        {
            "file": name,
            "from": "disk" if cold else "memory",
            "how": way,
            "images_per_s": rates,
            "mb_per_s": [one * row_bytes[name] / 1e6 for one in rates],
        }
        for (name, cold), ways in table.items()
        for way, rates in ways.items()
    ]
    write_json(results / "read.json", {**about, "rows": rows})
    lines = ["| file | from | how | images/s | MB/s | of one end to the other | 10,000 images/s |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        name, cold = row["file"], row["from"] == "disk"
        top = table[name, cold]["one end to the other"]
        share = median(a / b for a, b in zip(row["images_per_s"], top, strict=True))
        rate = median(row["images_per_s"])
        reached = "yes" if rate >= GOAL else "no"
        cells = [name, row["from"], row["how"], f"{rate:,.0f}", f"{median(row['mb_per_s']):,.0f}"]
        lines.append(f"| {' | '.join([*cells, f'{share:.0%}', reached])} |")
    note = (
        "Random batches of 256, turned into float32. From disk: dropped from memory before each "
        "turn; the disk's host may still have kept it."
    )
    with atomic_path(results / "read.md") as scratch:
        scratch.write_text("\n".join([*lines, "", caption({**about, "note": note}), ""]))
    print("\n".join(lines))
