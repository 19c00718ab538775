"""An embedding reads the whole network: every stage, its mean and its centre."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.settings import ReadOutConfig

# In this order the first 1, 2, 4 or 8 are as unlike each other as can be.
SYMMETRIES = (
    (0, False),
    (2, False),
    (0, True),
    (2, True),
    (1, False),
    (3, False),
    (1, True),
    (3, True),
)


def orient_exactly(flux: Tensor, symmetry: int) -> Tensor:
    """Apply one of the square's eight symmetries, exactly.

    Args:
        flux: Shape (B, C, H, H).
        symmetry: 0 to 7; 0 is the identity.
    """
    quarters, flip = SYMMETRIES[symmetry]
    turned = torch.rot90(flux, quarters, dims=(2, 3))
    return turned.flip(3) if flip else turned


def pool(maps: list[Tensor]) -> Tensor:
    """Pool stage maps into one vector per object.

    Each map gives its mean, and the mean of its central half in each direction where it has
    at least four pixels a side: there the object stands apart from its surroundings.

    Args:
        maps: Shapes (B, width, h, w).

    Returns:
        Shape (B, D), float32.
    """
    pooled = []
    for features in maps:
        features = features.float()
        pooled.append(features.mean(dim=(2, 3)))
        height, width = features.shape[2:]
        if min(height, width) >= 4:
            top, left = height // 4, width // 4
            centre = features[:, :, top : height - top, left : width - left]
            pooled.append(centre.mean(dim=(2, 3)))
    return torch.cat(pooled, dim=1)


def read_out(encoder: Encoder, flux: Tensor, config: ReadOutConfig = ReadOutConfig()) -> Tensor:
    """Embed cutouts.

    Args:
        encoder: An encoder in evaluation mode.
        flux: Shape (B, C, crop, crop).
        config: What is read from the network.

    Returns:
        Embeddings (B, D), float32.
    """
    total: Tensor | None = None
    for symmetry in range(config.orientations):
        maps = encoder.maps(orient_exactly(flux, symmetry))
        features = pool(maps) if config.stages == "all" else maps[-1].float().mean(dim=(2, 3))
        total = features if total is None else total + features
    assert total is not None
    return total / config.orientations
