"""What a survey costs: hours from operations per galaxy, and what a machine makes of its peak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.throughput.measure import caption
from ssl_photoz.core.artefact import atomic_path

GALAXIES = {"250 thousand": 250e3, "42 million": 42e6, "1 billion": 1e9}
EPOCHS, ORIENTATIONS = 50, 8
# Dense bfloat16 (V100: float16) operations per second, from the vendors' data sheets.
PEAKS = {"V100": 125e12, "L4": 121e12, "A100": 312e12, "H100 SXM": 989e12}
CASE = (64, 96)

ASSUMED_SHARE = 0.1  # of a GPU's peak, the order that convolutional networks reach in training

MODEL = f"""# What a survey costs

    hours = galaxies x passes x operations per galaxy / (peak x share of the peak) / 3600

Training makes {EPOCHS} passes of one forward, one backward and one forward of the momentum copy;
embedding makes {ORIENTATIONS} forward passes, one per orientation. **Measured** in the same run:
operations per galaxy, and peak and share of the machine below. **EXTRAPOLATED**: every GPU, from
the vendor's peak and an assumed share of {ASSUMED_SHARE:.0%}; none has been measured. Augmentation
and reading are not in it: the tables `train-*` and `embed-*` say how much they add.
"""


def hours(galaxies: float, passes: float, flop: float, *, peak: float, share: float) -> float:
    """How long some passes over some galaxies take, at ``flop`` operations per galaxy."""
    return galaxies * passes * flop / (peak * share) / 3600


def write_costs(path: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write the page, from the largest batch of each backbone at two crops."""
    chosen = {
        (row["backbone"], row["crop_px"]): row
        for row in sorted(rows, key=lambda row: row["batch"])
        if row["crop_px"] in CASE
    }
    lines = [MODEL]
    for (backbone, crop_px), row in chosen.items():
        lines.append(f"## {backbone}, {crop_px} px\n")
        lines += [*table(row, about["machine"]), ""]
    with atomic_path(path) as scratch:
        scratch.write_text("\n".join([*lines, caption(about), ""]), encoding="utf-8")


def table(row: dict[str, Any], machine: str) -> list[str]:
    """Lines of one backbone's table: hours of training + hours of embedding."""
    here = {
        kind: row[f"{kind}_flop"] * row[f"{kind}_images_per_s"] / row["peak_flop_per_s"]
        for kind in ("train", "embed")
    }
    lines = [
        f"{row['train_flop'] / 1e9:.2f} GFLOP a training step and galaxy, "
        f"{row['embed_flop'] / 1e9:.2f} forward; {here['train']:.0%} and {here['embed']:.0%} of "
        f"the peak here.\n",
        f"| hours, training + embedding | {' | '.join(GALAXIES)} |",
        f"|---|{'---|' * len(GALAXIES)}",
    ]
    assumed = dict.fromkeys(here, ASSUMED_SHARE)
    machines = {f"{machine} (measured)": (row["peak_flop_per_s"], here)}
    machines |= {f"{name} (EXTRAPOLATED)": (peak, assumed) for name, peak in PEAKS.items()}
    for name, (peak, shares) in machines.items():
        cells = []
        for galaxies in GALAXIES.values():
            spent = (
                hours(galaxies, passes, row[f"{kind}_flop"], peak=peak, share=shares[kind])
                for kind, passes in (("train", EPOCHS), ("embed", ORIENTATIONS))
            )
            cells.append(" + ".join(f"{one:,.2g}" if one < 10 else f"{one:,.0f}" for one in spent))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines
