"""The training engine: from the last checkpoint to the last step, logged and stopped in order.

The one import of Lightning, which brings torchvision in; that may need `import_torchvision`.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from ssl_photoz.core.errors import TrainingError
from ssl_photoz.core.signals import StoppedError, stopping_when_asked
from ssl_photoz.encoders.torchvision_import import import_torchvision
from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import (
    checkpoint_path,
    forget_checkpoints,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from ssl_photoz.training.history import History
from ssl_photoz.training.settings import TrainingConfig

import_torchvision()

import pytorch_lightning as pl  # noqa: E402
from lightning_fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning_fabric.plugins.environments.torchelastic import (  # noqa: E402
    TorchElasticEnvironment,
)
from pytorch_lightning.plugins.io import TorchCheckpointIO  # noqa: E402
from pytorch_lightning.strategies import DDPStrategy  # noqa: E402

if TYPE_CHECKING:
    from ssl_photoz.training.moco import MoCo

__all__ = ["CheckedCheckpoints", "TrainingCallback", "pl", "train"]

COLLAPSED = 0.01


class TrainingCallback(pl.Callback):
    """Show progress, log each epoch, save checkpoints, stop a collapse.

    Args:
        folder: Folder of the run.
        config: The training.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        score: Function of the module, called after each epoch; gives further figures to log.
        before_saving: Function called, in all processes, before each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        *,
        steps_per_epoch: int,
        score: Callable[[MoCo], dict[str, float]],
        before_saving: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.history = folder, History(folder)
        self.config, self.steps_per_epoch = config, steps_per_epoch
        self.score, self.before_saving = score, before_saving
        self.ending = ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop what the history says of steps after the checkpoint that is resumed."""
        step = trainer.global_step
        self.stop = self.ending.enter_context(stopping_when_asked())
        self.started, self.first = time.monotonic(), step
        self.seconds_before = ranks.on_rank_zero(lambda: self.history.resume(step))
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
        module = cast("MoCo", pl_module)
        step = trainer.global_step
        self.bar.update()
        last = step == trainer.max_steps
        asked = 0 if last else ranks.all_reduce_max(self.stop.signum)
        epoch_ends = last or step % self.steps_per_epoch == 0
        saves = not last and (bool(asked) or step % self.config.checkpoint_steps == 0)
        if epoch_ends or saves:
            module.check_loss(step)
        if epoch_ends:
            means = module.read_meters()
            shown = ranks.on_rank_zero(lambda: self._log(step, module, means))
            self.bar.set_postfix(shown)
        if saves:
            self.before_saving()
            trainer.save_checkpoint(checkpoint_path(self.folder, step), weights_only=False)
            ranks.on_rank_zero(lambda: forget_checkpoints(self.folder))
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
        rate = (step - self.first) * self.config.batch_size / max(seconds, 1e-9)
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


def train(
    module: MoCo,
    stream_from: Callable[[int], Iterable[Any]],
    *,
    config: TrainingConfig,
    folder: Path,
    steps_per_epoch: int,
    score: Callable[[MoCo], dict[str, float]],
    before_saving: Callable[[], None] = lambda: None,
) -> None:
    """Train until ``module.total_steps``.

    Args:
        module: The module; trained in place.
        stream_from: Function that gives the batches from a step on.
        config: The training.
        folder: Folder of checkpoints and history.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        score: Function of the module, called after each epoch; gives further figures to log.
        before_saving: Function called, in all processes, before each checkpoint.

    Raises:
        TrainingError: If the loss is not finite, the embedding collapses, or a process is lost.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    found = ranks.on_rank_zero(lambda: latest_checkpoint(folder))
    path, start = found if found else (None, 0)
    if path:
        print(f"going on from step {start} of {module.total_steps} ({path.name})")
    callback = TrainingCallback(
        folder,
        config,
        steps_per_epoch=steps_per_epoch,
        score=score,
        before_saving=before_saving,
    )
    with quiet(), ranks.worker_failure_guard():
        trainer = pl.Trainer(
            max_steps=module.total_steps,
            max_epochs=-1,
            precision=config.precision,  # type: ignore[arg-type]
            benchmark=True,  # shapes never change, so cuDNN may try what is fastest
            **_processes(),
            callbacks=[callback],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, stream_from(start), ckpt_path=path, weights_only=True)


def _processes() -> dict[str, Any]:
    """Lightning's settings for the processes that are there; it is to start none itself."""
    if ranks.world() == 1:
        return {"devices": 1, "plugins": [CheckedCheckpoints(), LightningEnvironment()]}
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "devices": local,
        "num_nodes": ranks.world() // local,
        "strategy": DDPStrategy(broadcast_buffers=False),
        "plugins": [CheckedCheckpoints(), TorchElasticEnvironment()],
    }


class CheckedCheckpoints(TorchCheckpointIO):
    """Lightning's way to `ssl_photoz.training.checkpoints`."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 (Lightning's signature)
    ) -> None:
        """Write a checkpoint, whole or not at all."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = None,  # noqa: ANN401 (Lightning's signature)
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint, whole or not at all."""
        return read_checkpoint(Path(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's hints, and warnings about its own insides, off the user's screen."""
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\..*")
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        logger.setLevel(level)
