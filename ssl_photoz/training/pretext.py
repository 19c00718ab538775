"""The photometric pretext: predict an object's own aperture fluxes and colours."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

CLIP = 5.0


class PretextHead(nn.Module):
    """A small head on the backbone's features.

    Contrast between views teaches the encoder to ignore what the views do not share; this
    loss keeps it aware of brightness, colour and size, which redshift depends on. The targets
    are measured on the cutout itself, before any augmentation: no labels.

    Args:
        width: Number of backbone features.
        mean: Of each target over the training set, (F,).
        std: Likewise, (F,).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, *, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clamp_min(1e-6))
        self.net = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, len(mean)))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the smooth L1 loss between prediction and standardised targets.

        Args:
            features: Shape (B, width).
            targets: In their own units, (B, F).
        """
        wanted = ((targets - self.mean) / self.std).clamp(-CLIP, CLIP)
        return F.smooth_l1_loss(self.net(features).float(), wanted)
