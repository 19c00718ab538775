"""The callback that shows and logs a run, checkpoints it, and stops it where it must stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ssl_photoz.core.errors import TrainingError
from ssl_photoz.core.signals import StoppedError, stopping_when_asked
from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import checkpoint_path, forget_checkpoints
from ssl_photoz.training.history import History
from ssl_photoz.training.lightning import pl
from ssl_photoz.training.moco import MoCo

COLLAPSED = 0.01


class Watch(pl.Callback):
    """Show progress, log each epoch, save checkpoints, stop a collapse.

    Args:
        folder: Of the run.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        checkpoint_steps: Steps between checkpoints.
        batch_size: For the figure of images per second.
        score: Called with the module after each epoch; gives further figures to log.
        before_saving: Called, in all processes, before each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps_per_epoch: int,
        checkpoint_steps: int,
        batch_size: int,
        score: Callable[[MoCo], dict[str, float]],
        before_saving: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.history = folder, History(folder)
        self.steps_per_epoch, self.checkpoint_steps = steps_per_epoch, checkpoint_steps
        self.batch_size, self.score, self.before_saving = batch_size, score, before_saving
        self.ending = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop what the history says of steps after the checkpoint that is resumed."""
        step = trainer.global_step
        self.stop = self.ending.enter_context(stopping_when_asked())
        self.started, self.first = time.monotonic(), step
        self.seconds_before = ranks.first_does(lambda: self.history.resume(step))
        shown = {"disable": True} if ranks.rank() else {}
        bar = tqdm(total=trainer.max_steps, initial=step, unit="step", desc="pretrain", **shown)
        self.bar = self.ending.enter_context(bar)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Count the step; at the end of an epoch log it; save every so often, or when stopped.

        Raises:
            StoppedError: If a signal has asked for it.
            TrainingError: If the loss is not finite or diverges, or the embedding has collapsed.
        """
        assert isinstance(pl_module, MoCo)
        step = trainer.global_step
        self.bar.update()
        last = step == trainer.max_steps
        asked = 0 if last else ranks.greatest(self.stop.signum)
        epoch_ends = last or step % self.steps_per_epoch == 0
        saves = not last and (bool(asked) or step % self.checkpoint_steps == 0)
        if epoch_ends or saves:
            pl_module.check_loss(step)
        if epoch_ends:
            means = pl_module.read_meters()
            shown = ranks.first_does(lambda: self._log(step, pl_module, means))
            self.bar.set_postfix(shown)
        if saves:
            self.before_saving()
            trainer.save_checkpoint(checkpoint_path(self.folder, step), weights_only=False)
            ranks.first_does(lambda: forget_checkpoints(self.folder))
        if asked:
            raise StoppedError(asked, f"checkpoint written after step {step}")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar, and give the signals back."""
        self.ending.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message has a line of its own."""
        self.ending.close()

    def _log(self, step: int, module: MoCo, means: dict[str, float]) -> dict[str, str]:
        seconds = time.monotonic() - self.started
        rate = (step - self.first) * self.batch_size / max(seconds, 1e-9)
        row: dict[str, float] = {"epoch": -(-step // self.steps_per_epoch), "step": step}
        row |= means | self.score(module)
        row |= {
            "seconds": round(self.seconds_before + seconds, 1),
            "images_per_second": round(rate, 1),
        }
        self.history.add(row)
        if row["embedding_std"] < COLLAPSED:
            raise TrainingError(
                f"the embedding has collapsed (spread {row['embedding_std']:.4f} of 1) after "
                f"step {step}; lower moco.learning_rate, or raise moco.temperature"
            )
        shown = ("loss", "embedding_std", "knn_sigma_nmad")
        return {name: f"{row[name]:.4g}" for name in shown if name in row}
