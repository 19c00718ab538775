"""Checks of a running training: divergence, collapse, and redshifts from nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.errors import TrainingError
from ssl_photoz.core.statistics import SIGMA_PER_MAD
from ssl_photoz.encoders.encoder import Encoder

BLIND_PRETEXT = 0.425  # mean smooth L1 loss of a standard normal deviate predicted to be 0
DIVERGED = 3.0
COLLAPSED = 0.01


def require_sane_loss(means: Mapping[str, float], *, queue_size: int, steps: str) -> None:
    """Stop a run whose losses are not finite, or far above those of an encoder that knows nothing.

    Such an encoder finds every key as similar as any other, a loss of ln(1 + queue), and predicts
    the mean of every pretext target.

    Args:
        means: Mean losses by name, over some steps.
        queue_size: Negative keys.
        steps: Name of these steps, for the message.

    Raises:
        TrainingError: If they are not finite, or have diverged.
    """
    if not math.isfinite(means["loss"]):
        raise TrainingError(
            f"the loss is {means['loss']} within {steps}; the last good checkpoint is kept: lower "
            f"moco.learning_rate, or look for bad cutouts"
        )
    blind = {"contrastive_loss": math.log1p(queue_size), "pretext_loss": BLIND_PRETEXT}
    for name, of_nothing in blind.items():
        if means[name] > DIVERGED * of_nothing:
            raise TrainingError(
                f"training diverges: over {steps} the mean {name} is {means[name]:.3g}, and that "
                f"of an encoder that knows nothing {of_nothing:.3g}; the last good checkpoint is "
                f"kept: lower moco.learning_rate, or raise moco.warmup, and give another out="
            )


def require_spread(figures: Mapping[str, float], *, steps: str) -> None:
    """Stop a run whose features have become all the same.

    Args:
        figures: Figures by name, maybe with the ``embedding_std`` that `spread` measures.
        steps: Name of the steps that they are of, for the message.

    Raises:
        TrainingError: If the features have collapsed.
    """
    found = figures.get("embedding_std", 1.0)
    if found < COLLAPSED:
        raise TrainingError(
            f"the embedding has collapsed (spread {found:.4f} of 1) after {steps}; lower "
            f"moco.learning_rate, or raise moco.temperature"
        )


def spread(vectors: Tensor) -> float:
    """Measure how evenly unit vectors fill their space.

    The standard deviation of each component of the normalised vectors, averaged, times
    sqrt(D): 1 for an isotropic cloud, 0 when all vectors are one and the same
    (Chen & He 2021, arXiv:2011.10566, section 4.1).

    Args:
        vectors: Shape (N, D).
    """
    unit = F.normalize(vectors.float(), dim=1)
    return float(unit.std(dim=0, correction=0).mean() * vectors.shape[1] ** 0.5)


def effective_rank(vectors: Tensor) -> float:
    """Measure how many directions features use, from 1 to D.

    The exponential of the entropy of their singular values, once the mean is taken away
    (Roy & Vetterli 2007, Proc. EUSIPCO, 606).

    Args:
        vectors: Shape (N, D).
    """
    centred = vectors.double() - vectors.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    shares = values / values.sum().clamp_min(1e-300)
    return float(torch.special.entr(shares).sum().exp())


def knn_sigma_nmad(
    known: Tensor, known_z: Tensor, asked: Tensor, asked_z: Tensor, *, k: int = 10
) -> float:
    """Score redshifts taken as the mean ln(1+z) of the k most similar known galaxies.

    Args:
        known: Features (N, D) of galaxies whose redshift may be used.
        known_z: Their redshifts (N,).
        asked: Features (M, D) of the galaxies to score on.
        asked_z: Their redshifts (M,).
        k: Neighbours.

    Returns:
        sigma_NMAD = 1.4826 median |dz - median dz|, dz = (z_phot - z) / (1 + z).
    """
    centre, scale = known.float().mean(dim=0), known.float().std(dim=0).clamp_min(1e-6)
    reference = F.normalize((known.float() - centre) / scale, dim=1)
    queries = F.normalize((asked.float() - centre) / scale, dim=1)
    nearest = (queries @ reference.T).topk(min(k, len(known)), dim=1).indices
    z_phot = torch.expm1(torch.log1p(known_z.double())[nearest].mean(dim=1))
    dz = (z_phot - asked_z.double()) / (1 + asked_z.double())
    return float(SIGMA_PER_MAD * (dz - dz.quantile(0.5)).abs().quantile(0.5))


@dataclass(frozen=True)
class OnlineKNN:
    """Nearest-neighbour redshifts and spread of an encoder in training, on a fixed sample.

    Attributes:
        known: Plain crops (N, C, crop, crop) of galaxies whose redshift may be used.
        known_z: Their redshifts (N,).
        asked: Plain crops (M, C, crop, crop) of validation galaxies.
        asked_z: Their redshifts (M,); may be empty, then spread and rank alone are scored.
    """

    known: Tensor
    known_z: Tensor
    asked: Tensor
    asked_z: Tensor

    @torch.no_grad()
    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """Score an encoder; it is put back into training mode."""
        encoder.eval()
        known = _features(encoder, self.known)
        scores = {"embedding_std": spread(known), "effective_rank": effective_rank(known)}
        if len(self.asked_z):
            asked = _features(encoder, self.asked)
            scores["knn_sigma_nmad"] = knn_sigma_nmad(known, self.known_z, asked, self.asked_z)
        encoder.train()
        return scores


def _features(encoder: Encoder, flux: Tensor, batch_size: int = 256) -> Tensor:
    device = next(encoder.parameters()).device
    found = []
    for part in torch.split(flux, batch_size):
        part = part.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            found.append(encoder.bottleneck(encoder(part)).float().cpu())
    return torch.cat(found)
