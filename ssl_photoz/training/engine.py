"""The training engine: one loop, from the last checkpoint to the last step, for every network.

A `TrainingTask` says what its losses are, how it is optimised and what it is scored on. Lightning
Fabric puts it on its device, sets the precision and averages gradients over processes. Everything
that the next step depends on is in the checkpoint or a function of (seed, step): a run that is
resumed repeats the interrupted one bit for bit on the same machine.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from ssl_photoz.core.errors import ArtefactError, TrainingError
from ssl_photoz.core.signals import StoppedError, stopping_when_asked
from ssl_photoz.core.version import __version__
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import (
    checkpoint_path,
    forget_checkpoints,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from ssl_photoz.training.history import History

FORMAT = 2  # of a checkpoint; version 0.1 wrote others, without this number
SHOWN = ("loss", "score", "embedding_std", "knn_sigma_nmad")


class TrainingTask(nn.Module):
    """A module that can be trained; its parameters and buffers are in every checkpoint."""

    @property
    def model(self) -> nn.Module:
        """The part whose weights of the best epoch are kept, where epochs are scored."""
        return self

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Losses of a batch by name: ``loss`` is minimised, the others are logged beside it."""
        raise NotImplementedError

    def configure_optimizers(self) -> tuple[Optimizer, LRScheduler]:
        """Make the optimizer and the schedule of its learning rate, a step at a time."""
        raise NotImplementedError

    def evaluate(self) -> Mapping[str, float]:
        """Figures to log after an epoch, in the first process alone; the least ``score`` is best.

        Modules may be left in evaluation mode.
        """
        return {}

    def check(self, figures: Mapping[str, float], during: str) -> None:
        """Look at mean losses, or at the figures of an epoch.

        Args:
            figures: The figures by name.
            during: Name of these steps, for the message.

        Raises:
            TrainingError: If they are those of a training that has failed.
        """
        for name in ("loss", "score"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise TrainingError(
                    f"the {name} is {figures[name]} within {during}; the last good checkpoint is "
                    f"kept: lower learning_rate, or look for bad cutouts"
                )

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Do as `training_step`; gradients are averaged over processes by way of this call."""
        return self.training_step(batch, step)


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        step: Number of steps done.
        epoch: Number of epochs done.
        images: Number of cutouts seen, by all processes together.
        best_epoch: The epoch whose weights are kept.
        best_score: Its score; the lower, the better.
        seconds: Wall time so far, evaluation included.
    """

    step: int = 0
    epoch: int = 0
    images: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    seconds: float = 0.0


class Engine:
    """The training of a task in a folder; with several processes, all of them train it.

    Args:
        task: The task; trained in place.
        folder: Folder of checkpoints and history.
        steps: Length of the run.
        steps_per_epoch: Steps between two evaluations.
        precision: Lightning's name of the arithmetic precision, such as bf16-mixed or 32-true.
        checkpoint_steps: Steps between checkpoints.
        checkpoint_seconds: Least wall time between two of these.
        patience: Number of epochs without a better score after which to stop; the best epoch's
            weights are kept. None: the last ones are.
        before_saving: Function called, in all processes, before each checkpoint.

    Attributes:
        progress: How far it has come.
    """

    def __init__(
        self,
        task: TrainingTask,
        *,
        folder: Path,
        steps: int,
        steps_per_epoch: int,
        precision: str,
        checkpoint_steps: int,
        checkpoint_seconds: float = 0.0,
        patience: int | None = None,
        before_saving: Callable[[], None] = lambda: None,
    ) -> None:
        self.task, self.folder, self.history = task, folder, History(folder)
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.checkpoint_steps, self.checkpoint_seconds = checkpoint_steps, checkpoint_seconds
        self.patience, self.before_saving = patience, before_saving
        self.fabric = _fabric(precision)
        self.progress, self.meters = Progress(), Meters()
        self.best: dict[str, Tensor] = {}
        self.began = self.saved = time.monotonic()

    def train(self, stream_from: Callable[[int], Iterable[Batch]]) -> Progress:
        """Train to the last step, or until patience is lost.

        Args:
            stream_from: Function that gives the batches from a step on.

        Raises:
            TrainingError: If the task's check fails, or another process is lost.
            ArtefactError: If there are checkpoints and none can be read, or of another version.
            StoppedError: If a signal has asked for it; a checkpoint has been written.
        """
        with ExitStack() as ending:
            ending.enter_context(ranks.worker_failure_guard())
            ending.enter_context(torch.random.fork_rng())  # a step may seed torch's own generators
            stop = ending.enter_context(stopping_when_asked())
            self._start()
            progress, hidden = self.progress, {"disable": True} if ranks.rank() else {}
            shown = {"initial": progress.step, "unit": "step", "desc": "train", **hidden}
            bar = ending.enter_context(tqdm(total=self.steps, **shown))
            left = 0 if self.finished else self.steps - progress.step
            for batch in islice(stream_from(progress.step), left):
                self.take_step(batch)
                bar.update()
                asked = ranks.all_reduce_max(stop.signum)
                epoch_ends = progress.step == self.steps or not progress.step % self.steps_per_epoch
                saves = bool(asked) or self._due()
                if epoch_ends or saves:
                    self._check()
                if epoch_ends:
                    bar.set_postfix(self._end_epoch())
                if saves:
                    self.save()
                if asked:
                    raise StoppedError(asked, f"checkpoint written after step {progress.step}")
                if self.finished:
                    break
        if self.best:
            self.task.model.load_state_dict(self.best)
        return self.progress

    @property
    def finished(self) -> bool:
        """Whether the last step is done, or patience is lost."""
        done = self.progress
        if self.patience is not None and done.epoch - done.best_epoch >= self.patience:
            return True
        return done.step >= self.steps

    def take_step(self, batch: Batch) -> None:
        """Move the weights once."""
        with self.fabric.autocast():
            losses = self.module(batch.to(self.fabric.device), self.progress.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(losses["loss"])
        self.fabric.strategy.optimizer_step(self.optimizer)
        self.scheduler.step()
        self.meters.add(losses)
        self.progress.step += 1
        self.progress.images += ranks.world() * len(batch.flux)

    def save(self) -> None:
        """Write a checkpoint; the one before it is kept too. All processes must call it."""
        self.before_saving()
        self.progress.seconds = time.monotonic() - self.began
        self.saved = time.monotonic()
        ranks.on_rank_zero(self._write)

    def _write(self) -> None:
        path = checkpoint_path(self.folder, self.progress.step)
        state = {
            "format": FORMAT,
            "made_by": f"ssl_photoz {__version__}",
            "global_step": self.progress.step,
            "processes": ranks.world(),
            "progress": asdict(self.progress),
            "best": self.best,
            "meters": self.meters.state_dict(),
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }
        write_checkpoint(path, state)
        forget_checkpoints(self.folder)

    def _start(self) -> None:
        """Put everything in its place, as it was at the last checkpoint if there is one."""
        self.fabric.launch()
        self.fabric.to_device(self.task)
        self.optimizer, self.scheduler = self.task.configure_optimizers()
        if found := ranks.on_rank_zero(lambda: latest_checkpoint(self.folder)):
            self._resume(found[0])
        ranks.on_rank_zero(lambda: self.history.resume(self.progress.step))
        self.task.train()
        # Not Fabric's own wrapper, which would cast the batch too: flux of 8 bits.
        self.module = self.fabric.strategy.setup_module(self.task)
        self.saved = time.monotonic()
        self.began = self.saved - self.progress.seconds

    def _resume(self, path: Path) -> None:
        state = read_checkpoint(path)
        if state.get("format") != FORMAT:
            by = state.get("made_by", "ssl_photoz 0.1, or a state of it before this engine")
            raise ArtefactError(
                f"{path} was written by {by}, whose half-finished trainings this version "
                f"({__version__}) cannot go on with: finish it there, or delete {path.parent} to "
                f"start anew; finished encoders and networks are read as before"
            )
        self.progress, self.best = Progress(**state["progress"]), state["best"]
        self.meters.load_state_dict(state["meters"])
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        print(f"going on from step {self.progress.step} of {self.steps} ({path.name})")
        before, now = state["processes"], ranks.world()
        if before != now:
            print(
                f"{before} processes before, {now} now: the same galaxies and global batch, but "
                f"other draws and batch-norm parts; not bit for bit the run it would have been"
            )

    def _due(self) -> bool:
        if self.progress.step % self.checkpoint_steps:
            return False
        waited = time.monotonic() - self.saved >= self.checkpoint_seconds
        return bool(ranks.all_reduce_max(int(waited)))

    def _check(self) -> None:
        means, count = self.meters.unchecked()
        step = self.progress.step
        self.task.check(means, f"steps {step - count + 1} to {step}")

    def _end_epoch(self) -> dict[str, str]:
        """Log an epoch, and keep its weights if they are the best so far."""
        done, means = self.progress, self.meters.read()
        done.epoch = -(-done.step // self.steps_per_epoch)
        figures = ranks.on_rank_zero(lambda: self._log(means))
        self.task.train()
        if self.patience is not None and figures["score"] < done.best_score:
            done.best_epoch, done.best_score = done.epoch, figures["score"]
            weights = self.task.model.state_dict()
            self.best = {name: value.clone() for name, value in weights.items()}
        return {name: f"{figures[name]:.4g}" for name in SHOWN if name in figures}

    def _log(self, means: Mapping[str, float]) -> dict[str, float]:
        done = self.progress
        figures = {**means, **self.task.evaluate()}
        self.task.check(figures, f"epoch {done.epoch}")
        done.seconds = time.monotonic() - self.began
        rate = done.images / max(done.seconds, 1e-9)
        pace = {"seconds": round(done.seconds, 2), "images_per_second": round(rate, 1)}
        self.history.add({"epoch": done.epoch, "step": done.step, **figures, **pace})
        return figures


class Meters:
    """Means of the losses over an epoch; the sums stay on the device, so that no step waits."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums = self.checked = torch.zeros(0)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count a step."""
        one = torch.ones_like(losses["loss"])
        seen = torch.stack([*losses.values(), one]).detach().double()
        if not self.names:
            self.names, self.sums = list(losses), torch.zeros_like(seen)
            self.checked = self.sums.clone()
        self.sums = self.sums.to(seen.device) + seen

    def unchecked(self) -> tuple[dict[str, float], int]:
        """Means over all processes since the last call, and the number of steps."""
        ranks.average_(self.sums)
        since = self.sums - self.checked.to(self.sums.device)
        self.checked = self.sums.clone()
        return self._means(since), int(since[-1])

    def read(self) -> dict[str, float]:
        """Means over all processes since the last call; the count starts anew."""
        means = self._means(ranks.average_(self.sums))
        self.names = []
        return means

    def state_dict(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {"names": self.names, "sums": self.sums, "checked": self.checked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.names, self.sums, self.checked = state["names"], state["sums"], state["checked"]

    def _means(self, sums: Tensor) -> dict[str, float]:
        *totals, count = sums.tolist()
        return {name: total / count for name, total in zip(self.names, totals, strict=True)}


def _fabric(precision: str) -> Fabric:
    """Fabric on the processes that are there; it is to start none itself."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # no hints on the user's screen
    given: dict[str, Any] = {"accelerator": ranks.device().type, "precision": precision}
    if ranks.world() == 1:
        return Fabric(devices=1, plugins=[LightningEnvironment()], **given)
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return Fabric(
        devices=local,
        num_nodes=ranks.world() // local,
        strategy=DDPStrategy(broadcast_buffers=False),
        plugins=[TorchElasticEnvironment()],
        **given,
    )
