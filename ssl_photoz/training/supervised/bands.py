"""What each band tells a trained network: shuffled among galaxies, or taken away.

Permutation keeps a band's pixels and breaks their tie to the galaxy: each is shown another's.
What the network loses is what it got from that band beyond what the others say as well. A band set
to zero is harder on the network than one that it never had, as it has not learnt to do without; the
fair figure of leaving a band out is that of a network trained without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ssl_photoz.core.types import Doubles

Crops = Callable[[], Iterable[Tensor]]


def predict_permuted(
    predict: Callable[[Iterable[Tensor]], Doubles],
    crops: Crops,
    *,
    bands: int,
    draws: int,
    seed: int = 0,
) -> dict[int, list[Doubles]]:
    """Predict with one band after the other shuffled among the galaxies of a batch.

    Args:
        predict: Gives ln(1+z), (N,), of crops, a batch at a time.
        crops: Gives the crops (B, C, H, W), the same each time.
        bands: Number of bands C.
        draws: Shuffles per band.
        seed: Of the shuffles.

    Returns:
        Band number to the predictions of each draw.
    """
    found: dict[int, list[Doubles]] = {band: [] for band in range(bands)}
    for band in range(bands):
        for draw in range(draws):
            rng = np.random.default_rng([seed, band, draw])
            found[band].append(predict(_shuffled(crops(), band, rng)))
    return found


def predict_blanked(
    predict: Callable[[Iterable[Tensor]], Doubles], crops: Crops, *, bands: int
) -> dict[int, Doubles]:
    """Predict with one band after the other set to zero; arguments as above."""
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
