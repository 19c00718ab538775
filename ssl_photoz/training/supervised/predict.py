"""Answers of networks for plain crops: as they are, and with a band or a modality taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Doubles
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.multimodal import MultimodalStages
from ssl_photoz.encoders.readout import orient_exactly
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network

Crops = Callable[[], Iterable[Tensor]]
Predict = Callable[[Iterable[Tensor]], Doubles]


def answer(
    networks: Network | Sequence[Network],
    crops: Iterable[Tensor],
    *,
    head: Head,
    orientations: int = 8,
) -> Doubles:
    """Answers of a network, or mean answers of an ensemble, for every crop.

    Args:
        networks: One or several; they are left in evaluation mode.
        crops: Plain central crops, a batch (B, C, crop, crop) at a time; each is read once.
        head: What the networks were asked for.
        orientations: Number of exact orientations to average over: 1, 2, 4 or 8.

    Returns:
        Shape (N,) or (N, outputs).
    """
    members = [networks] if isinstance(networks, Network) else networks
    found = []
    for crop in crops:
        each = [_answer(network, crop, head, orientations) for network in members]
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
    networks: Network | Sequence[Network],
    crops: Iterable[Tensor],
    *,
    head: Head,
    orientations: int = 8,
) -> Doubles:
    """Estimated ln(1+z) of every crop, (N,); arguments of `answer`."""
    return head.ln_one_plus_z(answer(networks, crops, head=head, orientations=orientations))


def predict_permuted(
    predict: Predict, crops: Crops, *, bands: int, draws: int, seed: int = 0
) -> dict[int, list[Doubles]]:
    """Predictions with one band after the other shuffled among the galaxies of a batch.

    Permutation keeps a band's pixels and breaks their tie to the galaxy: each is shown another's.
    What the network loses is what it got from that band beyond what the others say as well.

    Args:
        predict: Function that predicts N numbers from crops, a batch at a time.
        crops: Source of the crops (B, C, H, W), the same at each call.
        bands: Number of bands C.
        draws: Number of shuffles per band.
        seed: Seed of the shuffles.

    Returns:
        Band number to the predictions of each draw.
    """
    found: dict[int, list[Doubles]] = {band: [] for band in range(bands)}
    for band in range(bands):
        for draw in range(draws):
            rng = np.random.default_rng([seed, band, draw])
            found[band].append(predict(_shuffled(crops(), band, rng)))
    return found


def predict_blanked(predict: Predict, crops: Crops, *, bands: int) -> dict[int, Doubles]:
    """Predictions with one band after the other set to zero; arguments as above.

    A band set to zero is harder on a network than one that it never had, as it has not learnt to
    do without; the fair figure of leaving a band out is that of a network trained without it.
    """
    return {band: predict(_blanked(crops(), band)) for band in range(bands)}


def _shuffled(crops: Iterable[Tensor], band: int, rng: np.random.Generator) -> Iterator[Tensor]:
    for flux in crops:
        # A cyclic shift of a shuffled order leaves no galaxy its own band.
        order = torch.from_numpy(rng.permutation(len(flux)))
        shown = flux.clone()
        shown[order, band] = flux[order.roll(1), band]
        yield shown


def _blanked(crops: Iterable[Tensor], band: int) -> Iterator[Tensor]:
    for flux in crops:
        shown = flux.clone()
        shown[:, band] = 0
        yield shown


def modality_ablation(
    network: Network,
    crops: Callable[..., Iterable[Tensor]],
    score: Callable[[Doubles], Mapping[str, float]],
    *,
    head: Head,
) -> list[dict[str, Any]]:
    """Scores of a multimodal network with some of its modalities alone.

    Args:
        network: Any network; one without modalities, or trained without modality dropout, has no
            such scores.
        crops: Source of plain crops of ``size_px``.
        score: Score of their predicted ln(1+z).
        head: What the network was asked for.

    Returns:
        For every modality its ``bands``, and ``alone`` and ``without``: scores of the network with
        this modality only, and with all but this.
    """
    encoder = network.trunk
    stages = encoder.backbone if isinstance(encoder, Encoder) else None
    if not (isinstance(stages, MultimodalStages) and isinstance(encoder, Encoder)):
        return []
    every = range(len(stages.modalities))
    if not stages.dropout or len(every) < 2:
        return []

    def scored(numbers: list[int]) -> dict[str, float]:
        with stages.hearing(numbers):
            plain = crops(size_px=network.input_shape[-1])
            return dict(score(predict(network, plain, head=head, orientations=1)))

    names = encoder.description["bands"]
    return [
        {
            "bands": [names[band] for band in stages.modalities[one]],
            "alone": scored([one]),
            "without": scored([other for other in every if other != one]),
        }
        for one in every
    ]
