"""Does a GPU compute what a processor computes, and does a resumed training repeat itself?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.gpu.sizes import Sizes
from benchmarks.throughput.survey import draw_galaxies, make_file
from benchmarks.throughput.train import new_encoder
from ssl_photoz.augment.settings import AugmentationConfig
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig
from ssl_photoz.cutouts.stream import TrainingStream
from ssl_photoz.encoders.readout import Conditions, embed_crops
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.training import ranks
from ssl_photoz.training.pretraining import train_encoder
from ssl_photoz.training.row_selection import RowSelection
from ssl_photoz.training.settings import MoCoConfig, TrainingConfig

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Report

CROP_PX, STEPS, BROKEN_AT = 64, 8, 6


class Interrupted(Exception):
    """A run that is broken off on purpose."""


def measure(report: Report, sizes: Sizes) -> None:
    """Compare embeddings, and a training that was broken off with one that was not."""
    flux = draw_galaxies(2 * sizes.batch_size, CROP_PX, generator=torch.Generator().manual_seed(0))
    conditions, config = Conditions.unknown(*flux.shape[:2]), ReadOutConfig(orientations=1)
    encoder = new_encoder("resnet18", CROP_PX).eval()
    by_cpu = embed_crops(encoder, flux, config, conditions).astype(np.float32)
    by_gpu = embed_crops(encoder.to(ranks.device()), flux, config, conditions).astype(np.float32)
    for name, within in (
        ("measurements", slice(0, -encoder.learnt_dim)),
        ("learnt, bfloat16", slice(-encoder.learnt_dim, None)),
    ):
        one, other = by_cpu[:, within], by_gpu[:, within]
        spread = one.std(axis=0).clip(1e-3)
        report.add(
            f"embeddings of CPU and GPU, {name}",
            f"{np.abs((one - other) / spread).max():.1e}",
            "largest difference, in standard deviations; bfloat16 rounds to 4e-3 of a value",
        )
    with tempfile.TemporaryDirectory() as name:
        path = make_file(Path(name), sizes.cutouts)
        runs = {
            kind: _trained(path, Path(name) / kind, sizes.batch_size, broken=kind == "resumed")
            for kind in ("whole", "again", "resumed")
        }
    for kind in ("again", "resumed"):
        apart = max(
            float((runs["whole"][key].double() - value.double()).abs().max())
            for key, value in runs[kind].items()
        )
        report.add(
            f"training, whole and {kind}",
            "bit-equal" if apart == 0 else f"differ by up to {apart:.1e}",
            f"weights after {STEPS} steps",
        )


def one_process(report: Report, sizes: Sizes) -> None:
    """A process group of one: does the backend of several GPUs work at all?"""
    device = ranks.device()
    backend = "nccl" if device.type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as name:
        store = f"file://{os.path.join(name, 'meet')}"
        dist.init_process_group(backend, init_method=store, rank=0, world_size=1)
        try:
            values = torch.arange(1 << 20, device=device, dtype=torch.float32)
            summed = values.clone()
            dist.all_reduce(summed)
            report.add(f"all_reduce by {backend}", "right" if summed.equal(values) else "WRONG")
        finally:
            dist.destroy_process_group()


def _trained(path: Path, folder: Path, batch_size: int, *, broken: bool) -> dict[str, Tensor]:
    """Weights after a few steps, in one go or after being broken off between two checkpoints."""
    folder.mkdir()
    if broken:
        try:
            _train(path, folder, batch_size, stop=BROKEN_AT)
        except Interrupted:
            pass
    return _train(path, folder, batch_size, stop=STEPS)


def _train(path: Path, folder: Path, batch_size: int, *, stop: int) -> dict[str, Tensor]:
    encoder = new_encoder("resnet18", CROP_PX)
    with Cutouts.open(path) as cutouts:
        selection = RowSelection(cutouts, folder)

        def stream_from(start: int) -> Iterator[Batch]:
            yield from TrainingStream(
                selection.for_training,
                selection.rows,
                batch_size=batch_size,
                seed=0,
                start=start,
                stop=stop,
            )
            if stop < STEPS:
                raise Interrupted

        train_encoder(
            encoder,
            selection,
            stream_from,
            folder=folder,
            split=SplitConfig(),
            steps_per_epoch=STEPS,
            training=TrainingConfig(epochs=1, batch_size=batch_size, checkpoint_steps=STEPS // 2),
            moco=MoCoConfig(queue_size=4 * batch_size),
            augmentations=AugmentationConfig(),
        )
    return {name: value.cpu() for name, value in encoder.state_dict().items()}
