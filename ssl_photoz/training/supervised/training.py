"""Train a network on redshifts to its validation optimum, from wherever it was interrupted.

Everything that the next step depends on is in the checkpoint or a function of (seed, step): a
run that is resumed repeats the interrupted one bit for bit on the same machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ssl_photoz.augment.draws import generator
from ssl_photoz.core.errors import TrainingError
from ssl_photoz.core.signals import StoppedError, stopping_when_asked
from ssl_photoz.training.checkpoints import (
    checkpoint_path,
    forget_checkpoints,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from ssl_photoz.training.history import History
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network, forward_hook
from ssl_photoz.training.supervised.settings import SupervisedConfig

WARMUP = 0.1
AUGMENTATION, DROPOUT = 0, 1
CHECKPOINT_SECONDS = 10.0
FEWEST_PER_BATCH = 16
FEWEST_STEPS_PER_PASS = 8


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


class Schedule(NamedTuple):
    """Steps of a training.

    Attributes:
        batch_size: Galaxies per step.
        steps_per_epoch: Steps between two scores of the validation galaxies.
    """

    batch_size: int
    steps_per_epoch: int


def schedule(labels: int, config: SupervisedConfig) -> Schedule:
    """Share out a training over its epochs.

    An epoch is at least one pass over the training galaxies; where they are so few that the
    epochs would not add up to ``least_steps``, it is several. Batches shrink with few labels,
    so that a pass stays about eight steps long, but not below 16 galaxies.

    Args:
        labels: Number of training galaxies.
        config: The training.
    """
    wanted = max(FEWEST_PER_BATCH, labels // FEWEST_STEPS_PER_PASS)
    batch = min(config.batch_size, wanted, labels)
    return Schedule(batch, max(labels // batch, -(-config.least_steps // config.epochs)))


def rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Fraction of the peak learning rate: a straight rise, then half a cosine to 0.

    Args:
        step: Number of the step, 0 to ``steps`` - 1.
        steps: Length of the whole training.
        warmup: Fraction of it over which the rate rises.
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: Number of epochs done.
        best_epoch: The epoch whose weights are kept.
        best_score: Its score on the validation galaxies; the lower, the better.
        seconds: Wall time so far, validation included.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    seconds: float = 0.0

    def add(self, said: Mapping[str, float]) -> bool:
        """Count an epoch; return whether it is the best so far.

        Raises:
            TrainingError: If its loss or score is not finite.
        """
        if not (math.isfinite(said["loss"]) and math.isfinite(said["score"])):
            raise TrainingError(
                f"loss {said['loss']}, validation score {said['score']} in epoch {self.epoch + 1}; "
                f"the last checkpoint is kept: lower learning_rate, or look for bad cutouts"
            )
        self.epoch += 1
        better = said["score"] < self.best_score
        if better:
            self.best_epoch, self.best_score = self.epoch, said["score"]
        return better


def train(
    network: Network,
    views: Callable[..., Tensor],
    stream_from: Callable[[int], Iterable[LabelledBatch]],
    score: Callable[[Network], Mapping[str, float]],
    *,
    head: Head,
    config: SupervisedConfig,
    steps_per_epoch: int,
    folder: Path,
    companion: nn.Module | None = None,
) -> Progress:
    """Fit by AdamW, a tenth of warm-up and a cosine decay; leave the network at its best epoch.

    Args:
        network: The network, on the device to train on; it ends up in evaluation mode.
        views: Maker of one augmented view of a batch, see `ssl_photoz.augment.views.Views`.
        stream_from: Source of the training batches from a step on.
        score: Score after each epoch; its ``score`` decides, the lower the better.
        head: What the network is asked for, and with what loss.
        config: The training.
        steps_per_epoch: Steps between two scores.
        folder: Where checkpoints and ``history.jsonl`` are kept. A checkpoint is written after an
            epoch if ten seconds have passed since the last one, and when a signal asks to stop.
        companion: A further loss, of the trunk's features of a batch (B, F) and of which of its
            galaxies have a redshift (B,), given the ``step``; its weights are trained along.

    Raises:
        TrainingError: If the loss or the score is not finite.
        ArtefactError: If there are checkpoints and none can be read.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    run = Training(
        network,
        head=head,
        views=views,
        config=config,
        steps=config.epochs * steps_per_epoch,
        folder=folder,
        companion=companion,
    )
    progress, step = run.resume()
    batches = iter(stream_from(step))
    # Dropout draws from the global generators: each step seeds them, and they are put back here.
    with ExitStack() as ending:
        ending.enter_context(torch.random.fork_rng())
        stop = ending.enter_context(stopping_when_asked())
        shown = tqdm(total=run.steps, initial=step, unit="step", desc="train")
        bar = ending.enter_context(shown)
        while progress.epoch < config.epochs and (
            progress.epoch - progress.best_epoch < config.patience
        ):
            started, before = time.monotonic(), progress.seconds
            network.train()
            for batch in islice(batches, (progress.epoch + 1) * steps_per_epoch - step):
                run.losses.append(run.take_step(batch, step))
                step += 1
                bar.update()
                if stop.signum and step % steps_per_epoch:
                    progress.seconds = before + time.monotonic() - started
                    run.save(step)
                    raise StoppedError(stop.signum, f"checkpoint written after step {step}")
            said = {"loss": float(torch.stack(run.losses).mean()), **score(network)}
            better = progress.add(said)
            progress.seconds = before + time.monotonic() - started
            run.end_epoch(said, step, better=better)
            if stop.signum or time.monotonic() - run.saved >= CHECKPOINT_SECONDS:
                run.save(step)
            if stop.signum:
                raise StoppedError(stop.signum, f"checkpoint written after step {step}")
            bar.set_postfix({name: f"{said[name]:.4f}" for name in ("loss", "score")})
    network.load_state_dict(run.best)
    network.eval()
    return progress


class Training:
    """A network in training: all that the next step depends on.

    Args:
        network: The network to train.
        head: What the network is asked for, and with what loss.
        views: Maker of one augmented view of a batch.
        config: The training.
        steps: Number of steps of the whole training.
        folder: Where checkpoints and history are kept.
        companion: A further loss, see `train`.

    Attributes:
        losses: Losses of the steps of the epoch in progress.
        best: Weights of the best epoch.
        saved: When the last checkpoint was written, by the monotonic clock.
    """

    def __init__(
        self,
        network: Network,
        *,
        head: Head,
        views: Callable[..., Tensor],
        config: SupervisedConfig,
        steps: int,
        folder: Path,
        companion: nn.Module | None = None,
    ) -> None:
        self.network, self.head, self.views, self.companion = network, head, views, companion
        self.steps, self.folder, self.seed = steps, folder, config.seed
        self.device = next(network.parameters()).device
        self.history = History(folder)
        self.progress, self.saved = Progress(), time.monotonic()
        self.losses: list[Tensor] = []
        self.best: dict[str, Tensor] = {}
        trunk = list(network.trunk.parameters())
        inside = {id(parameter) for parameter in trunk}
        rest = [p for p in network.parameters() if id(p) not in inside]
        rest += companion.parameters() if companion else []
        peak = config.learning_rate
        groups = [
            {"params": trunk, "lr": config.trunk_learning_rate * peak},
            {"params": rest, "lr": peak},
        ]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: rate_factor(step, steps=steps, warmup=WARMUP)
        )

    def resume(self) -> tuple[Progress, int]:
        """Go on from the last checkpoint, if there is one; return progress and step."""
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = latest_checkpoint(self.folder)
        step = 0
        if found:
            path, step = found
            state = read_checkpoint(path)
            self.network.load_state_dict(state["network"])
            if self.companion is not None:
                self.companion.load_state_dict(state["companion"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.rate.load_state_dict(state["rate"])
            self.progress, self.best = Progress(**state["progress"]), state["best"]
            self.losses = list(state["losses"].to(self.device))
            print(f"going on after epoch {self.progress.epoch} ({path})")
        self.history.resume(step)
        return self.progress, step

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
        with (
            torch.autocast(self.device.type, torch.bfloat16),
            forward_hook(self.network.trunk) as features,
        ):
            loss = self.network.loss(view, z, self.head)
        if self.companion is not None:
            loss = loss + self.companion(features[0].float(), z.isfinite(), step=step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.rate.step()
        return loss.detach()

    def end_epoch(self, said: Mapping[str, float], step: int, *, better: bool) -> None:
        """Log an epoch, and keep its weights if they are the best so far."""
        seconds = round(self.progress.seconds, 2)
        row = {"epoch": self.progress.epoch, "step": step, **said, "seconds": seconds}
        self.history.add(row)
        if better:
            state = self.network.state_dict()
            self.best = {name: value.clone() for name, value in state.items()}
        self.losses = []

    def save(self, step: int) -> None:
        """Write a checkpoint; the one before it is kept too."""
        losses = torch.stack(self.losses) if self.losses else torch.empty(0)
        state = {
            "global_step": step,
            "network": self.network.state_dict(),
            "companion": self.companion.state_dict() if self.companion else {},
            "optimiser": self.optimiser.state_dict(),
            "rate": self.rate.state_dict(),
            "progress": asdict(self.progress),
            "losses": losses,
            "best": self.best,
        }
        write_checkpoint(checkpoint_path(self.folder, step), state)
        forget_checkpoints(self.folder)
        self.saved = time.monotonic()
