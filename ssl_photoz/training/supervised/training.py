"""Train a network on redshifts to its validation optimum, from wherever it was interrupted.

Everything that the next epoch depends on is in the checkpoint or a function of (seed, step): a
run that is resumed repeats the interrupted one bit for bit on the same machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ssl_photoz.augment.draws import generator
from ssl_photoz.core import artefact
from ssl_photoz.training.supervised.captured import captured
from ssl_photoz.training.supervised.checkpoint import NAME, load_checkpoint, save_checkpoint
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.progress import Progress
from ssl_photoz.training.supervised.schedule import rate_factor

WARMUP = 0.1
AUGMENTATION, DROPOUT = 0, 1
CHECKPOINT_SECONDS = 10.0


class LabelledBatch(Protocol):
    """What a step needs of a batch; `ssl_photoz.cutouts.batches.Batch` has it."""

    @property
    def flux(self) -> Tensor:
        """Whole cutouts, (B, C, H, W)."""
        ...

    @property
    def ebv_mag(self) -> Tensor:
        """E(B-V), (B,)."""
        ...

    @property
    def psf_fwhm_arcsec(self) -> Tensor:
        """Width of the PSF, (B, C)."""
        ...

    @property
    def noise(self) -> Tensor:
        """Noise per pixel, (B, C)."""
        ...

    @property
    def z(self) -> Tensor | None:
        """Redshifts, (B,), all finite; with a companion, NaN where there is none."""
        ...

    def to(self, device: torch.device) -> LabelledBatch:
        """Move to a device."""
        ...


def train(
    network: Network,
    views: Callable[..., Tensor],
    stream_from: Callable[[int], Iterable[LabelledBatch]],
    score: Callable[[Network], Mapping[str, float]],
    *,
    head: Head,
    folder: Path,
    epochs: int,
    steps_per_epoch: int,
    patience: int,
    learning_rate: float,
    trunk_lr: float,
    weight_decay: float,
    seed: int,
    companion: nn.Module | None = None,
) -> Progress:
    """Fit by AdamW, a tenth of warm-up and a cosine decay; leave the network at its best epoch.

    Args:
        network: On the device to train on; it ends up in evaluation mode.
        views: Makes one augmented view of a batch, see `ssl_photoz.augment.views.Views`.
        stream_from: Gives the training batches from a step on.
        score: Called after each epoch; its ``score`` decides, the lower the better.
        head: What the network is asked for, and with what loss.
        folder: Where ``training.ckpt`` and ``history.jsonl`` are kept, written after an epoch if
            ten seconds have passed since the last time.
        epochs: At most so many.
        steps_per_epoch: Steps between two scores.
        patience: Epochs without a better score after which to stop.
        learning_rate: Peak.
        trunk_lr: Multiple of it for the trunk's weights.
        weight_decay: Of AdamW.
        seed: Of augmentation and dropout.
        companion: A further loss, of what the trunk makes of a batch (B, F) and of which of its
            galaxies have a redshift (B,), given the ``step``; its weights are trained along.

    Raises:
        TrainingError: If the loss or the score is not finite.
        ArtefactError: If the checkpoint cannot be read.
    """
    run = Training(network, folder=folder, head=head, views=views, seed=seed)
    run.companion = companion
    run.prepare(
        learning_rate=(trunk_lr * learning_rate, learning_rate),
        weight_decay=weight_decay,
        steps=epochs * steps_per_epoch,
    )
    progress = run.resume()
    step = progress.epoch * steps_per_epoch
    batches = iter(stream_from(step))
    # Dropout draws from the global generators: each step seeds them, and they are put back here.
    with (
        torch.random.fork_rng(),
        tqdm(total=epochs * steps_per_epoch, initial=step, unit="step", desc="train") as bar,
    ):
        while progress.epoch < epochs and progress.epoch - progress.best_epoch < patience:
            started, losses = time.monotonic(), []
            network.train()
            for batch in islice(batches, steps_per_epoch):
                losses.append(run.take_step(batch, step))
                step += 1
                bar.update()
            said = {"loss": float(torch.stack(losses).mean()), **score(network)}
            if progress.note(said, step=step, seconds=time.monotonic() - started):
                run.remember()
            if time.monotonic() - run.kept >= CHECKPOINT_SECONDS:
                run.keep()
            bar.set_postfix({name: f"{said[name]:.4f}" for name in ("loss", "score")})
    run.end_at_best()
    return progress


class Training:
    """A network in training: all that the next epoch depends on.

    Args:
        network: What is trained.
        folder: Where checkpoint and history are kept.
        head: What the network is asked for, and with what loss.
        views: Makes one augmented view of a batch.
        seed: Of augmentation and dropout.
    """

    def __init__(
        self,
        network: Network,
        *,
        folder: Path,
        head: Head,
        views: Callable[..., Tensor],
        seed: int,
    ) -> None:
        self.network, self.folder, self.head = network, folder, head
        self.views, self.seed = views, seed
        self.device = next(network.parameters()).device
        self.companion: nn.Module | None = None
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.kept = time.monotonic()

    def prepare(
        self, *, learning_rate: tuple[float, float], weight_decay: float, steps: int
    ) -> None:
        """Make the optimiser and its schedule; learning rates of the trunk and of the rest."""
        trunk = list(self.network.trunk.parameters())
        inside = {id(parameter) for parameter in trunk}
        rest = [p for p in self.network.parameters() if id(p) not in inside]
        rest += self.companion.parameters() if self.companion else []
        groups = [
            {"params": part, "lr": peak}
            for part, peak in zip((trunk, rest), learning_rate, strict=True)
        ]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate_factor(step, steps=steps, warmup=WARMUP)
        )

    def resume(self) -> Progress:
        """Go on from the checkpoint, if there is one."""
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if state := load_checkpoint(self.folder, device=self.device):
            self.network.load_state_dict(state["network"])
            if self.companion is not None:
                self.companion.load_state_dict(state["companion"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.rate.load_state_dict(state["rate"])
            self.progress, self.best = Progress(**state["progress"]), state["best"]
            print(f"going on after epoch {self.progress.epoch} ({self.folder / NAME})")
        return self.progress

    def take_step(self, batch: LabelledBatch, step: int) -> Tensor:
        """Move the weights once; return the loss."""
        torch.manual_seed(generator(self.seed, step, 0, DROPOUT).initial_seed())
        batch = batch.to(self.device)
        view = self.views(
            batch.flux,
            ebv_mag=batch.ebv_mag,
            psf_fwhm_arcsec=batch.psf_fwhm_arcsec,
            noise=batch.noise,
            generator=generator(self.seed, step, 0, AUGMENTATION, device=self.device),
        )
        assert batch.z is not None
        z, view = batch.z.float(), view.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16), captured(self.network.trunk) as made:
            loss = self.network.loss(view, z, self.head)
        if self.companion is not None:
            loss = loss + self.companion(made[0].float(), z.isfinite(), step=step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.rate.step()
        return loss.detach()

    def remember(self) -> None:
        """Hold on to the weights as they are: the best so far."""
        self.best = {name: value.clone() for name, value in self.network.state_dict().items()}

    def keep(self) -> None:
        """Write checkpoint and history."""
        save_checkpoint(
            self.folder,
            {
                "network": self.network.state_dict(),
                "companion": self.companion.state_dict() if self.companion else {},
                "optimiser": self.optimiser.state_dict(),
                "rate": self.rate.state_dict(),
                "progress": asdict(self.progress),
                "best": self.best,
            },
        )
        self.kept = time.monotonic()
        self._write_history()

    def end_at_best(self) -> None:
        """Put the best epoch's weights into the network."""
        self._write_history()
        self.network.load_state_dict(self.best)
        self.network.eval()

    def _write_history(self) -> None:
        lines = [json.dumps(row) + "\n" for row in self.progress.history]
        with artefact.atomic_path(self.folder / "history.jsonl") as scratch:
            scratch.write_text("".join(lines))
