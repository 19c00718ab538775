"""Training and embedding beside the encoder alone: streamed, resident, compiled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.gpu.sizes import Sizes
from benchmarks.throughput import embed, train
from benchmarks.throughput.measure import rate_of
from benchmarks.throughput.survey import make_file
from ssl_photoz.training import ranks
from ssl_photoz.training.settings import MachineConfig

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Report


def of(backbone: str, crops_px: tuple[int, ...]) -> Callable[[Report, Sizes], None]:
    """Stage that measures one backbone, as long as there is time."""

    def measure(report: Report, sizes: Sizes) -> None:
        for crop_px in crops_px:
            if crop_px <= sizes.crops_px:
                _measure(report, sizes, backbone, crop_px)

    return measure


def compiled(report: Report, sizes: Sizes) -> None:
    """Training of a compiled encoder; its first steps, which compile, are not counted."""
    if ranks.device().type == "cpu":
        report.add("left out", "needs a GPU", "a processor compiles for minutes")
        return
    with tempfile.TemporaryDirectory() as name:
        path = make_file(Path(name), sizes.cutouts)
        _train(report, sizes, path, "resnet18", 64, 0.0, {"compiled": MachineConfig(compiled=True)})


def _measure(report: Report, sizes: Sizes, backbone: str, crop_px: int) -> None:
    device = ranks.device().type
    ceiling = train.ceiling_step(train.new_encoder(backbone, crop_px), sizes.batch_size, device)
    top = rate_of(ceiling, seconds=sizes.seconds, device=device)
    del ceiling
    report.add(f"{crop_px} px, training, the encoder alone", f"{top:,.0f} images/s")
    with tempfile.TemporaryDirectory() as name:
        path = make_file(Path(name), sizes.cutouts)
        kinds = {"streamed": MachineConfig(resident=False)}
        if device != "cpu":
            kinds["resident"] = MachineConfig(resident=True)
        _train(report, sizes, path, backbone, crop_px, top, kinds)
        forward = embed.ceiling_step(backbone, crop_px, sizes.batch_size, 1, device)
        top = rate_of(forward, seconds=sizes.seconds, device=device)
        del forward
        report.add(f"{crop_px} px, embedding, the encoder alone", f"{top:,.0f} images/s")
        rate = embed.embedded(
            path,
            backbone,
            crop_px=crop_px,
            batch_size=sizes.batch_size,
            orientations=1,
            cold=False,
        )
        report.add(f"{crop_px} px, `embed`, one orientation", *_beside(rate, top))
    if device != "cpu":
        torch.cuda.empty_cache()


def _train(
    report: Report,
    sizes: Sizes,
    path: Path,
    backbone: str,
    crop_px: int,
    top: float,
    kinds: dict[str, MachineConfig],
) -> None:
    steps = train.WARM_STEPS + max(round(sizes.seconds * top / sizes.batch_size), 2)
    steps = min(steps, 400) if top else train.WARM_STEPS + 100
    for kind, machine in kinds.items():
        rate = train.trained(
            path,
            steps,
            batch_size=sizes.batch_size,
            crop_px=crop_px,
            backbone=backbone,
            machine=machine,
        )
        report.add(f"{crop_px} px, training, {kind}", *_beside(rate, top))


def _beside(rate: float, top: float) -> tuple[str, str]:
    return f"{rate:,.0f} images/s", f"{rate / top:.0%} of the encoder alone" if top else ""
