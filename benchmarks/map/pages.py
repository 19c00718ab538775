"""The page written from the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.map.layouts import WAYS
from ssl_photoz.core.artefact import atomic_path, read_json

HEAD = """# What was measured

Written by `python -m benchmarks.map`; README.md says what each column is."""
COLUMNS = (
    *(
        ("s", "seconds", "{:.1f}"),
        ("CPU s", "cpu_seconds", "{:.1f}"),
        ("peak MB", "peak_mb", "{:.0f}"),
    ),
    *(("trustworthiness", "trustworthiness", "{:.3f}"), ("±", "trustworthiness_error", "{:.3f}")),
    *(("continuity", "continuity", "{:.3f}"), ("±", "continuity_error", "{:.3f}")),
    *(
        ("sigma_NMAD", "sigma_nmad", "{:.4f}"),
        ("R²", "r2", "{:.3f}"),
        ("islands", "islands", "{:.2f}"),
    ),
)
COMMAND = "`ssl-photoz map`, whole"


def write_page(results: Path) -> None:
    """Write RESULTS.md beside the folder of results."""
    found = sorted(
        (read_json(path) for path in results.glob("*.json")), key=lambda one: one["rows"]
    )
    with atomic_path(results.parent / "RESULTS.md") as scratch:
        lines = [HEAD, *(line for one in found for line in _section(one))]
        scratch.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(one: Mapping[str, Any]) -> Iterator[str]:
    before = one["before_the_map"]
    yield f"\n## {one['name']}: {one['rows']:,} galaxies of {one['dim']} numbers\n"
    simulated = "SIMULATED embeddings. " if one["simulated"] else ""
    yield f"{simulated}{one['machine']}, {one['threads']} threads; {one['date']}. "
    yield f"At most {one['limit']:,} laid out, the others placed among them."
    yield (
        f"By neighbours before the map: sigma_NMAD {before['sigma_nmad']:.4f}, "
        f"R² {before['r2']:.3f}.\n"
    )
    shown = [column for column in COLUMNS if any(column[1] in way for way in one["ways"].values())]
    yield f"| layout | {' | '.join(heading for heading, _, _ in shown)} |"
    yield f"|---|{'---:|' * len(shown)}"
    for name, way in one["ways"].items():
        cells = [form.format(way[key]) if key in way else "" for _, key, form in shown]
        says = COMMAND if name == "command" else WAYS[name].says
        yield f"| {says} | {' | '.join(cells)} |"
