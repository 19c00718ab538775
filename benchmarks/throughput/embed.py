"""What: embed. How near does `embed` come to its encoder alone, disk and thumbnails included?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from ssl_photoz.recipes.pretrain.embed import embed

from benchmarks.throughput.measure import (
    clock_of_threads,
    forget,
    in_turn,
    rate_of,
    seconds_of_threads,
    write_table,
)
from benchmarks.throughput.survey import make_file
from benchmarks.throughput.train import new_encoder
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.readout import read_out
from ssl_photoz.encoders.settings import ReadOutConfig

CEILING = "ceiling: the encoder alone"
SPLIT = {"seed": 0, "nside": 32, "fractions": [0.8, 0.1, 0.1]}


def measure(
    work: Path,
    results: Path,
    *,
    seconds: float,
    rounds: int,
    rows: int,
    batch_size: int,
    crop_px: int,
    backbone: str,
) -> None:
    """Measure and write a table for one and for eight orientations."""
    for orientations in (1, 8):
        rates = compare(
            work,
            seconds=seconds / 2,
            rounds=rounds,
            rows=rows,
            batch_size=batch_size,
            crop_px=crop_px,
            backbone=backbone,
            orientations=orientations,
        )
        note = (
            f"{backbone}, {crop_px} px, {orientations} orientations, batch {batch_size}. "
            f"From disk: dropped from memory before each turn. {seconds_of_threads()}"
        )
        name = f"embed-{backbone}-{crop_px}-{orientations}"
        write_table(results, name, rates, ceiling=CEILING, note=note)


def compare(
    work: Path,
    *,
    seconds: float,
    rounds: int,
    rows: int,
    batch_size: int,
    crop_px: int,
    backbone: str,
    orientations: int,
) -> dict[str, list[float]]:
    """Embed a file from memory and from disk, beside the ceiling."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    top = ceiling_step(backbone, crop_px, batch_size, orientations, device)
    keep_freed_memory()  # as `embed` does; the ceiling is to have it too
    per_turn = seconds / (3 * rounds + 1)
    clock = clock_of_threads()
    found = rate_of(top, seconds=per_turn / 2, device=device, clock=clock)
    batches = max(round(found * per_turn / batch_size), 4)  # what a turn has time for
    path = make_file(work, min(batches * batch_size, rows))
    given = {"crop_px": crop_px, "batch_size": batch_size, "orientations": orientations}

    def run(*, cold: bool) -> Callable[[], float]:
        return lambda: embedded(path, backbone, cold=cold, **given)

    contenders = {
        CEILING: lambda: rate_of(top, seconds=per_turn, device=device, clock=clock),
        "file in memory": run(cold=False),
        "file from disk": run(cold=True),
    }
    return in_turn(contenders, rounds=rounds)


def ceiling_step(
    backbone: str, crop_px: int, batch_size: int, orientations: int, device: str
) -> Callable[[], int]:
    """Step that reads out random crops which lie on the device."""
    encoder = new_encoder(backbone, crop_px).eval().to(device)
    crops = 0.01 * torch.randn(batch_size, *encoder.input_shape, device=device)
    crops = crops.contiguous(memory_format=torch.channels_last)

    def step() -> int:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            read_out(encoder, crops, ReadOutConfig(orientations=orientations))
        return batch_size

    return step


def embedded(
    path: Path,
    backbone: str,
    *,
    crop_px: int,
    batch_size: int,
    orientations: int,
    cold: bool,
) -> float:
    """Embed a whole file as `ssl-photoz embed` does; images per second, start and end included.

    Seconds are those of `clock_of_threads`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = new_encoder(backbone, crop_px)
        save_encoder(folder / "encoder", encoder, config={}, parents={}, split=SPLIT, steps=0)
        if cold:
            forget(path)
        clock = clock_of_threads()
        started = clock()
        made = embed(
            path,
            folder / "encoder",
            folder / "embeddings",
            readout=ReadOutConfig(orientations=orientations),
            batch_size=batch_size,
        )
        return float(made.card.rows_in) / (clock() - started)
