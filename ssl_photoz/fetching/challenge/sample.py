"""A sample: which row is in which population, and a count of every row that is not."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_photoz.core import artefact
from ssl_photoz.core.types import Array, Bools

DWARFS, COLOURS, BACKGROUND = "Group_1_Manwadkar", "Group_2_ColorCuts", "Group_3_Background"
GROUPS = (DWARFS, COLOURS, BACKGROUND)
EVERY = "every population"


class Step(NamedTuple):
    """How many rows one cut removed from one population."""

    group: str
    cut: str
    says: str
    rows_before: int
    removed: int


class Sample(NamedTuple):
    """Who is in which population.

    Attributes:
        group: Name of the population, or "" for a row in none, (N,).
        passes_df_cuts: Whether the cuts for z < 0.03 are passed, (N,).
        steps: What each cut removed, in order.
    """

    group: Array
    passes_df_cuts: Bools
    steps: tuple[Step, ...]


def count(group: str, cut: str, says: str, kept: Bools, passes: Bools) -> Step:
    """Count what a cut removes of the rows kept so far; both (N,)."""
    return Step(group, cut, says, int(kept.sum()), int((kept & ~passes).sum()))


def repeats(keys: Array) -> Bools:
    """True for every row but the first with its key, (N,)."""
    again = np.ones(len(keys), bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


def one_per_galaxy(sample: Sample, ids: Array) -> Sample:
    """Keep the first selected row of each id, (N,)."""
    selected = np.flatnonzero(sample.group != "")
    passes = np.ones(len(ids), bool)
    passes[selected[repeats(ids[selected])]] = False
    return _narrowed(sample, "galaxy", "the first row of its TARGETID", passes)


def draw(sample: Sample, keys: Array, *, per_group: int, seed: int) -> Sample:
    """Draw as many galaxies of each population, or all of a smaller one.

    The draw depends on the keys and the seed, not on the order of the rows.

    Args:
        sample: Sample to draw from.
        keys: What identifies each row, (N,).
        per_group: Galaxies of each population.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    passes = np.zeros(len(keys), bool)
    for name in GROUPS:
        rows = np.flatnonzero(sample.group == name)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        passes[rng.permutation(rows)[:per_group]] = True
    return _narrowed(sample, "draw", f"among {per_group} drawn at random, seed {seed}", passes)


def steps_as_text(sample: Sample) -> str:
    """Table of what each cut removed, and how many are left."""
    lines = [f"{'population':<20} {'rows':>9} {'removed':>9}  kept if"]
    for step in sample.steps:
        lines.append(f"{step.group:<20} {step.rows_before:>9} {step.removed:>9}  {step.says}")
    for name in GROUPS:
        lines.append(f"{name:<20} {int((sample.group == name).sum()):>9}           selected")
    return "\n".join(lines)


def write_steps(path: Path, sample: Sample) -> None:
    """Write what each cut removed as CSV."""
    with (
        artefact.atomic_path(path) as scratch,
        scratch.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow((*Step._fields, "rows_after"))
        writer.writerows((*step, step.rows_before - step.removed) for step in sample.steps)


def _narrowed(sample: Sample, cut: str, says: str, passes: Bools) -> Sample:
    steps = [count(name, cut, says, sample.group == name, passes) for name in GROUPS]
    group = np.where(passes, sample.group, "")
    return sample._replace(group=group, steps=(*sample.steps, *steps))
