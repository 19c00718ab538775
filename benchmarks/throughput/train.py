"""What: train. How near does a MoCo run come to its encoder alone?

The ceiling is the same encoder on random crops that lie on the device already: forward of the
momentum copy, forward and backward, step of the optimiser; no queue, heads, augmentation, reading.
"""

from __future__ import annotations

import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.throughput.measure import forget, in_turn, rate_of, write_table
from benchmarks.throughput.survey import make_file, make_packed
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.cutouts.stream import TrainingStream
from ssl_photoz.encoders.encoder import Encoder, fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training.pretraining import train_encoder
from ssl_photoz.training.row_selection import RowSelection
from ssl_photoz.training.settings import MachineConfig, MoCoConfig, TrainingConfig

WARM_STEPS = 3
CEILING = "ceiling: the encoder alone"


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
    """Measure and write the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    original = make_file(work, rows)
    packed = make_packed(work, rows, size_px=min(128, 2 * math.ceil((crop_px + 8) * 0.71)))
    top = ceiling_step(new_encoder(backbone, crop_px), batch_size, device)
    per_turn = seconds / (4 * rounds)
    found = rate_of(top, seconds=per_turn, device=device)
    keep_freed_memory()  # as every run does; the ceiling is to have it too
    steps = WARM_STEPS + max(round(per_turn * found / batch_size), 2)

    def run(path: Path, *, cold: bool, block_rows: int = 1) -> Callable[[], float]:
        given = {"batch_size": batch_size, "crop_px": crop_px, "backbone": backbone}
        return lambda: trained(path, steps, cold=cold, block_rows=block_rows, **given)

    contenders = {
        CEILING: lambda: rate_of(top, seconds=per_turn, device=device),
        "original file, in memory": run(original, cold=False),
        "original file, from disk": run(original, cold=True),
        "packed file, from disk, by blocks": run(packed, cold=True, block_rows=256),
    }
    note = (
        f"{backbone}, {crop_px} px, batch {batch_size}, bfloat16, {rows} cutouts of 128 px. From "
        f"disk: dropped from memory before each turn, in place of a file larger than memory. "
        f"Before freed memory was kept, the encoder alone made {found:.0f} images/s."
    )
    rates = in_turn(contenders, rounds=rounds)
    write_table(results, f"train-{backbone}-{crop_px}", rates, ceiling=CEILING, note=note)


def new_encoder(backbone: str, crop_px: int) -> Encoder:
    """Encoder for g, r, z flux."""
    return fresh_encoder(
        EncoderConfig(backbone=backbone, crop_px=crop_px, softening=1.0),
        bands=("g", "r", "z"),
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )


def ceiling_step(encoder: Encoder, batch_size: int, device: str) -> Callable[[], int]:
    """Training step of nothing but the encoder."""
    encoder = encoder.train().to(device)
    twin = copy.deepcopy(encoder).requires_grad_(False)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4, fused=True)
    shape = (2, batch_size, *encoder.input_shape)
    one, other = (
        0.01 * view.contiguous(memory_format=torch.channels_last)
        for view in torch.randn(shape, device=device)
    )

    def step() -> int:
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                twin(other)
            loss = encoder(one).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return batch_size

    return step


def trained(
    path: Path,
    steps: int,
    *,
    batch_size: int,
    crop_px: int,
    backbone: str,
    cold: bool = False,
    block_rows: int = 1,
    machine: MachineConfig = MachineConfig(),
) -> float:
    """Train for some steps as `ssl-photoz pretrain` does; images per second after the first few."""
    clock: list[float] = []
    with Cutouts.open(path) as cutouts, tempfile.TemporaryDirectory() as folder:
        selection = RowSelection(cutouts, Path(folder), resident=machine.resident)

        def stream_from(start: int) -> Iterator[Batch]:
            if cold:
                forget(path)
            for batch in TrainingStream(
                selection.for_training,
                selection.rows,
                batch_size=batch_size,
                seed=len(clock),
                start=start,
                stop=steps,
                block_rows=block_rows,
            ):
                clock.append(time.perf_counter())
                yield batch

        train_encoder(
            new_encoder(backbone, crop_px),
            selection,
            stream_from,
            folder=Path(folder),
            split=SplitConfig(),
            steps_per_epoch=steps,
            training=TrainingConfig(epochs=1, batch_size=batch_size, checkpoint_steps=steps + 1),
            moco=MoCoConfig(queue_size=16 * batch_size),
            augmentations=AugmentationConfig(),
            compiled=machine.compiled,
        )
    # A batch is asked for when the step before it is done.
    return (len(clock) - 1 - WARM_STEPS) * batch_size / (clock[-1] - clock[WARM_STEPS])
