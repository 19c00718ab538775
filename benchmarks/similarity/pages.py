"""The pages written from the results: what was measured, and what follows for larger catalogues."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_photoz.core.artefact import atomic_path, read_json
from ssl_photoz.similarity.index_types import lists_for
from ssl_photoz.similarity.settings import IndexConfig

FOR = (10**8, 10**9)
SHARD_ROWS = IndexConfig().rows_per_shard
MACHINE_GB = 64
SHARE = 0.75  # of a machine's memory for the index

MEASURED = """# What was measured

SYNTHETIC clustered vectors of 128 dimensions, queries that are not among them. Written by
`python -m benchmarks.similarity`; README.md says how each figure is taken."""

EXTRAPOLATED = f"""# What follows for 10^8 and 10^9 galaxies

EXTRAPOLATED, not measured: bytes per vector are those of the files that were measured, for 128
dimensions, at the size named; they hardly depend on it (the centroids are 512 bytes a list).
Memory is what lists and graph take; re-ranking reads the stored vectors from disk, 256 bytes
each, a few dozen a query, and holds at most 0.5 GiB of them. A shard is {SHARD_ROWS:,} rows where
rows_per_shard is not given. A machine has {MACHINE_GB} GB, of which {SHARE:.0%} are for the index;
several machines hold some shards each, are asked at the same time, and their answers are merged.
What an index in shards took at 10^7 is measured in ../scaleout."""

TIME = """
## Time

An inverted list is found by comparing with every centroid, so that with 4 sqrt(N) lists the
time of a build grows as N^1.5; twice the cores, or two machines with half of the sky each,
halve it or better. From the largest size measured, on the machine of RESULTS.md:
"""

GRAPH = """
From 65,536 lists on (1.4 10^8 galaxies) centroids are found through a graph, and the time to fill
lists grows as N: the two last columns are then an upper limit, of which training keeps its part."""


def write_pages(results: Path) -> None:
    """Write RESULTS.md and SCALE.md beside the folder of results."""
    sizes = [read_json(path) for path in sorted(results.glob("*.json"))]
    sizes.sort(key=lambda size: size["rows"])
    for name, lines in (("RESULTS.md", _results(sizes)), ("SCALE.md", _scale(sizes))):
        with atomic_path(results.parent / name) as scratch:
            scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _results(sizes: list[dict[str, Any]]) -> Iterator[str]:
    yield MEASURED
    for size in sizes:
        yield ""
        yield f"## {size['rows']:,} vectors"
        yield ""
        yield f"{size['machine']}, {size['threads']} threads; {size['date']}; one run."
        yield ""
        yield (
            "| index | build, s | peak MB, build | file MB | recall@10 | p50, ms | p99, ms | "
            "batch, queries/s | MB resident | of which re-ranking, ms | our layer, one / batch |"
        )
        yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
        for name, one in size["ours"].items():
            label = name if name != "auto" else f"**auto**: {one['card_index_type']}"
            yield (
                f"| {label} ({one['card_factory']}) | {one['build_s']:.0f} | "
                f"{one['build_peak_mb']:.0f} | "
                f"{(one['index_bytes'] + one['vectors_bytes']) / 1e6:.0f} | {_speeds(one)} | "
                f"{one['rerank_p50_ms']:.2f} | "
                f"{100 * one['overhead_single']:+.1f} % / {100 * one['overhead_batch']:+.1f} % |"
            )
        for name, one in _baselines_of(size).items():
            label = {"flat": "FAISS, flat", "scikit_learn": "scikit-learn, brute force"}.get(
                name, name
            )
            yield f"| {label} | {one['build_s']:.0f} | | | {_speeds(one)} | | |"


def _baselines_of(size: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The other libraries; results of version 0.1 call them rivals."""
    found: dict[str, dict[str, Any]] = size["baselines" if "baselines" in size else "rivals"]
    return found


def _speeds(one: dict[str, Any]) -> str:
    return (
        f"{one['recall_at_10']:.4f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | "
        f"{one['batch_per_s']:.0f} | {one['resident_mb']:.0f}"
    )


def _scale(sizes: list[dict[str, Any]]) -> Iterator[str]:
    yield EXTRAPOLATED
    for rows in FOR:
        yield ""
        yield f"## {rows:,} galaxies"
        yield ""
        yield (
            f"About {lists_for(rows):,} lists, trained on {64 * lists_for(rows):,} vectors; "
            f"{math.ceil(rows / SHARD_ROWS):,} shards."
        )
        yield ""
        yield (
            "| index | bytes per vector, in memory + stored | memory, GB | disk, GB | machines | "
            "measured at |"
        )
        yield "|---|---:|---:|---:|---:|---:|"
        for name, one, measured in _largest(sizes):
            held, stored = one["index_bytes"] / measured, one["vectors_bytes"] / measured
            memory, disk = held * rows / 1e9, (held + stored) * rows / 1e9
            machines = math.ceil(memory / (SHARE * MACHINE_GB))
            yield (
                f"| {name} | {held:.0f} + {stored:.0f} | {memory:,.0f} | {disk:,.0f} | "
                f"{machines:,} | {measured:,} |"
            )
    yield TIME
    yield "| index | measured at | build, s | 10^8, hours | 10^9, hours |"
    yield "|---|---:|---:|---:|---:|"
    for name, one, measured in _largest(sizes):
        if name.startswith("ivf"):
            took = one["build_s"]
            hours = [f"{took * (rows / measured) ** 1.5 / 3600:,.0f}" for rows in FOR]
            yield f"| {name} | {measured:,} | {took:.0f} | {hours[0]} | {hours[1]} |"
    yield GRAPH


def _largest(sizes: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], int]]:
    """Each type of index as it was measured at its largest size."""
    found: dict[str, tuple[dict[str, Any], int]] = {}
    for size in sizes:
        for one in size["ours"].values():
            found[one["card_index_type"]] = (one, size["rows"])
    return [(name, *found[name]) for name in sorted(found)]
