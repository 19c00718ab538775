"""Answers for plain crops, averaged over exact orientations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Doubles
from ssl_photoz.encoders.readout import orient_exactly
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network


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
    return answer_together([network], crops, head=head, orientations=orientations)


def answer_together(
    networks: Sequence[Network], crops: Iterable[Tensor], *, head: Head, orientations: int = 8
) -> Doubles:
    """Return the mean answers of a committee; each batch is read once. Arguments as of `answer`."""
    found = []
    for crop in crops:
        each = [_answer(network, crop, head, orientations) for network in networks]
        found.append(np.mean(each, axis=0))
    nothing = np.empty(0) if head.outputs == 1 else np.empty((0, head.outputs))
    return np.concatenate(found) if found else nothing


@torch.inference_mode()
def _answer(network: Network, crop: Tensor, head: Head, orientations: int) -> Doubles:
    network.eval()
    device = next(network.parameters()).device
    flux = crop.to(device).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        answers = [network(orient_exactly(flux, turn)) for turn in range(orientations)]
    averaged: Doubles = head.averaged(torch.stack(answers)).cpu().numpy()
    return averaged


def predict(
    network: Network, crops: Iterable[Tensor], *, head: Head, orientations: int = 8
) -> Doubles:
    """Return the estimated ln(1+z) of every crop, (N,); arguments as of `answer`."""
    return head.ln_one_plus_z(answer(network, crops, head=head, orientations=orientations))
