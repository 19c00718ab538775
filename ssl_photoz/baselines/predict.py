"""Answers for plain crops, averaged over exact orientations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.baselines.heads import Head
from ssl_photoz.baselines.network import Network
from ssl_photoz.encoders.readout import orient_exactly
from ssl_photoz.types import Doubles


@torch.inference_mode()
def answer(
    network: Network, crops: Iterable[Tensor], *, head: Head, orientations: int = 8
) -> Doubles:
    """Return what a network answers for every crop, (N,) or (N, outputs).

    Args:
        network: It is left in evaluation mode.
        crops: Plain central crops, a batch (B, C, crop, crop) at a time.
        head: What it was asked for.
        orientations: How many exact orientations to average over: 1, 2, 4 or 8.
    """
    network.eval()
    device = next(network.parameters()).device
    found = []
    for crop in crops:
        flux = crop.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            answers = [network(orient_exactly(flux, turn)) for turn in range(orientations)]
        found.append(head.averaged(torch.stack(answers)).cpu().numpy())
    nothing = np.empty(0) if head.outputs == 1 else np.empty((0, head.outputs))
    return np.concatenate(found) if found else nothing


def answer_together(
    networks: Sequence[Network], crops: Iterable[Tensor], *, head: Head, orientations: int = 8
) -> Doubles:
    """Return the mean answers of a committee, or of one; each batch of crops is read once.

    Arguments else as of `answer`.
    """
    ask = partial(answer, head=head, orientations=orientations)
    found = [np.mean([ask(network, [crop]) for network in networks], axis=0) for crop in crops]
    nothing = np.empty(0) if head.outputs == 1 else np.empty((0, head.outputs))
    return np.concatenate(found) if found else nothing


def predict(
    network: Network, crops: Iterable[Tensor], *, head: Head, orientations: int = 8
) -> Doubles:
    """Return the estimated ln(1+z) of every crop, (N,); arguments as of `answer`."""
    return head.ln_one_plus_z(answer(network, crops, head=head, orientations=orientations))
