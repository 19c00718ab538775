"""Redshifts from plain crops, averaged over exact orientations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.baselines.regressor import Regressor
from ssl_photoz.baselines.small_cnn import SmallCNN
from ssl_photoz.baselines.target import Target
from ssl_photoz.encoders.readout import orient_exactly
from ssl_photoz.types import Doubles

Network = Regressor | SmallCNN


@torch.inference_mode()
def predict(
    network: Network, crops: Iterable[Tensor], *, target: Target, orientations: int = 8
) -> Doubles:
    """Return ln(1+z) of every crop, (N,).

    Args:
        network: It is left in evaluation mode.
        crops: Plain central crops, a batch (B, C, crop, crop) at a time.
        target: The scale that the network was trained on.
        orientations: How many exact orientations to average over: 1, 2, 4 or 8.
    """
    network.eval()
    device = next(network.parameters()).device
    found = []
    for crop in crops:
        flux = crop.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            answers = [network(orient_exactly(flux, turn)) for turn in range(orientations)]
        found.append(torch.stack(answers).double().mean(dim=0).cpu().numpy())
    return target.ln_one_plus_z(np.concatenate(found) if found else np.empty(0))
