"""What: scaling. Speed of encoders alone against backbone, crop and batch, and what it costs.

Writes the scaling table, and ``cost.md``: hours for surveys of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.throughput.cost import write_costs
from benchmarks.throughput.embed import ceiling_step as embedding_step
from benchmarks.throughput.measure import caption, machine, rate_of
from benchmarks.throughput.train import ceiling_step as training_step
from benchmarks.throughput.train import new_encoder
from ssl_photoz.core.artefact import atomic_path, write_json

CROPS = (64, 96, 128)
BATCHES = (64, 256)  # of training, where the crop is the first of CROPS
# Of a training step: forward, forward of the momentum copy, and the backward pass, which has two
# products for each of the forward's. (torch's own count is wrong for grouped convolutions.)
FORWARDS = 4
PRODUCT = 2048  # side of the matrices whose product shows the machine's peak


def measure(work: Path, results: Path, *, seconds: float, batch_size: int, backbones: str) -> None:
    """Measure and write the tables."""
    cases = [
        (backbone, crop_px, batch)
        for backbone in backbones.split(",")
        for crop_px in CROPS
        for batch in ({*BATCHES, batch_size} if crop_px == CROPS[0] else {batch_size})
    ]
    rows = []
    for backbone, crop_px, batch in sorted(cases):
        rows.append(case(backbone, crop_px, batch, seconds=seconds / len(cases)))
        print(rows[-1], flush=True)
    about = machine()
    write_json(results / "scaling.json", {**about, "rows": rows})
    write(results / "scaling.md", rows, about)
    write_costs(results / "cost.md", rows, about)


def case(backbone: str, crop_px: int, batch: int, *, seconds: float) -> dict[str, Any]:
    """Measure one encoder: its speeds, its operations, and the machine's peak beside them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train = training_step(new_encoder(backbone, crop_px), batch, device)
    forward = embedding_step(backbone, crop_px, batch, 1, device)
    return {
        "backbone": backbone,
        "crop_px": crop_px,
        "batch": batch,
        "train_flop": FORWARDS * operations(forward) / batch,
        "embed_flop": operations(forward) / batch,
        "peak_flop_per_s": peak(device, seconds=0.1 * seconds),
        "train_images_per_s": rate_of(train, seconds=0.4 * seconds, device=device),
        "embed_images_per_s": rate_of(forward, seconds=0.2 * seconds, device=device),
    }


def operations(step: Callable[[], int]) -> int:
    """Count the floating point operations of a step: matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def peak(device: str, *, seconds: float) -> float:
    """Operations per second of large bfloat16 matrix products."""
    one = torch.randn(PRODUCT, PRODUCT, device=device, dtype=torch.bfloat16)

    def product() -> int:
        torch.mm(one, one)
        return 2 * PRODUCT**3

    return rate_of(product, seconds=seconds, device=device)


def write(path: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write the scaling table."""
    lines = [
        "| backbone | crop, px | batch | training, images/s | hours per million and epoch "
        "| embedding, images/s and orientation | hours per million, 8 orientations "
        "| share of peak, training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        train, embed = row["train_images_per_s"], row["embed_images_per_s"]
        share = row["train_flop"] * train / row["peak_flop_per_s"]
        cells = [row["backbone"], str(row["crop_px"]), str(row["batch"])]
        cells += [f"{train:,.0f}", f"{1e6 / train / 3600:.2f}"]
        cells += [f"{embed:,.0f}", f"{8e6 / embed / 3600:.2f}", f"{share:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        f"The encoder alone, bfloat16, channels last. Peak: products of {PRODUCT} x {PRODUCT} "
        f"matrices in bfloat16, measured beside each row. Time grows in proportion to galaxies."
    )
    with atomic_path(path) as scratch:
        scratch.write_text("\n".join([*lines, "", caption({**about, "note": note}), ""]))
    print("\n".join(lines))
