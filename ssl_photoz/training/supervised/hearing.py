"""What each modality of a multimodal network contributes: it is heard alone, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from ssl_photoz.core.types import Doubles
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.multimodal import MultimodalStages
from ssl_photoz.training.supervised.heads import Head
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.predict import predict


def scores_by_modality(
    network: Network,
    crops: Callable[..., Iterable[Tensor]],
    score: Callable[[Doubles], Mapping[str, float]],
    *,
    head: Head,
) -> list[dict[str, Any]]:
    """Score a network that has learnt with modality dropout, hearing some of its modalities.

    Args:
        network: Any; one without modalities, or trained without dropout, has no such scores.
        crops: Gives plain crops of ``size_px``.
        score: Scores their predicted ln(1+z).
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

    def hearing(numbers: list[int]) -> dict[str, float]:
        with stages.hearing(numbers):
            plain = crops(size_px=network.input_shape[-1])
            return dict(score(predict(network, plain, head=head, orientations=1)))

    names = encoder.description["bands"]
    return [
        {
            "bands": [names[band] for band in stages.modalities[one]],
            "alone": hearing([one]),
            "without": hearing([other for other in every if other != one]),
        }
        for one in every
    ]
