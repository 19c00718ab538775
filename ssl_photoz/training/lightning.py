"""The one import of Lightning: it brings torchvision in, which may need `import_torchvision`."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ssl_photoz.encoders.torchvision_import import import_torchvision

import_torchvision()

import pytorch_lightning as pl  # noqa: E402
from lightning_fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning_fabric.plugins.environments.torchelastic import (  # noqa: E402
    TorchElasticEnvironment,
)
from pytorch_lightning.plugins.io import TorchCheckpointIO  # noqa: E402
from pytorch_lightning.strategies import DDPStrategy  # noqa: E402

__all__ = [
    "DDPStrategy",
    "LightningEnvironment",
    "TorchCheckpointIO",
    "TorchElasticEnvironment",
    "pl",
    "quiet",
]


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
