"""What the jobs found, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.adapt.jobs import Plan
from ssl_photoz.core.artefact import read_json

COLUMNS = {
    "bias": ("bias", ".4f"),
    "sigma_nmad": ("sigma_NMAD", ".4f"),
    "outliers_05": ("abs(dz) > 0.05", ".3f"),
    "nz_wasserstein": ("N(z) distance", ".4f"),
    "nz_mean_shift": ("N(z) mean shift", ".4f"),
    "told_apart": ("told apart", ".2f"),
    "seconds": ("seconds", ".0f"),
}
Found = dict[str, dict[str, list[float]]]


def gather(plan: Plan) -> Found:
    """Return, by method and figure, what each finished seed gave."""
    found: Found = {}
    for job in plan.jobs():
        if job.result.exists():
            for method, told in read_json(job.result).items():
                _add(found.setdefault(method, {}), told)
    return found


def _add(to: dict[str, list[float]], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if value is not None:
            to.setdefault(name, []).append(float(value))


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean over seeds and its standard error; NaN for the error of one seed."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(error)


def markdown(found: Found) -> str:
    """Table, a row per method."""
    lines = [
        "| trained on the south, asked on the north | "
        + " | ".join(title for title, _ in COLUMNS.values())
        + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for method, told in found.items():
        cells = [_cell(told.get(name), form) for name, (_, form) in COLUMNS.items()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float] | None, form: str) -> str:
    if not values:
        return ""
    mean, error = mean_and_error(values)
    return f"{mean:{form}} ± {error:{form}}" if np.isfinite(error) else f"{mean:{form}}"
