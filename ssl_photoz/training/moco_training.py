"""Run a MoCo module to its last step, from wherever it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ssl_photoz.training import ranks
from ssl_photoz.training.checkpoints import latest_checkpoint, read_checkpoint, write_checkpoint
from ssl_photoz.training.lightning import (
    DDPStrategy,
    LightningEnvironment,
    TorchCheckpointIO,
    TorchElasticEnvironment,
    pl,
    quiet,
)
from ssl_photoz.training.moco import MoCo
from ssl_photoz.training.watch import Watch


def train(
    module: MoCo,
    stream_from: Callable[[int], Iterable[Any]],
    *,
    folder: Path,
    steps_per_epoch: int,
    checkpoint_steps: int,
    batch_size: int,
    precision: str,
    score: Callable[[MoCo], dict[str, float]],
    before_saving: Callable[[], None] = lambda: None,
) -> None:
    """Train until ``module.total_steps``.

    Args:
        module: What to train; it ends up trained.
        stream_from: Gives the batches from a step on.
        folder: Where checkpoints and history are kept.
        steps_per_epoch: Steps after which every galaxy has been seen once.
        checkpoint_steps: Steps between checkpoints.
        batch_size: Galaxies per step, of all processes together.
        precision: Lightning's name for it.
        score: Called after each epoch; gives further figures to log.
        before_saving: Called, in all processes, before each checkpoint.

    Raises:
        TrainingError: If the loss is not finite, the embedding collapses, or a process is lost.
        StoppedError: If a signal has asked for it; a checkpoint has been written.
    """
    found = ranks.first_does(lambda: latest_checkpoint(folder))
    path, start = found if found else (None, 0)
    if path:
        print(f"going on from step {start} of {module.total_steps} ({path.name})")
    watch = Watch(
        folder,
        steps_per_epoch=steps_per_epoch,
        checkpoint_steps=checkpoint_steps,
        batch_size=batch_size,
        score=score,
        before_saving=before_saving,
    )
    with quiet(), ranks.noticing_losses():
        trainer = pl.Trainer(
            max_steps=module.total_steps,
            max_epochs=-1,
            precision=precision,  # type: ignore[arg-type]
            benchmark=True,  # shapes never change, so cuDNN may try what is fastest
            **_processes(),
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, stream_from(start), ckpt_path=path, weights_only=True)


def _processes() -> dict[str, Any]:
    """Return Lightning's words for the processes that are there; it is to start none itself."""
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
