"""The one import of Lightning: it brings torchvision in, which may need `import_torchvision`."""

from ssl_photoz.encoders.torchvision_import import import_torchvision

import_torchvision()

import pytorch_lightning as pl  # noqa: E402
from pytorch_lightning.plugins.io import TorchCheckpointIO  # noqa: E402

__all__ = ["TorchCheckpointIO", "pl"]
