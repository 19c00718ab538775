"""Losses that order the features by known redshifts; a galaxy whose z is NaN does not count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.core.errors import DataError
from ssl_photoz.training.settings import LabelLossConfig

TEMPERATURES = {"rank_n_contrast": 0.2, "metric_learning": 0.1}


class LabelLoss(nn.Module):
    """A loss of features (B, D) and redshifts (B,), NaN where unknown.

    Attributes:
        weight: Weight of this loss beside others.
    """

    weight: float = 1.0


class RankNContrastLoss(LabelLoss):
    """Rank-N-Contrast on ln(1+z), on features that the batch standardises.

    Each feature gets mean 0 and the same variance over the whole batch, labelled or not, such that
    the rms distance of two galaxies is 1: distances are then those that probes see, whatever the
    scale of a feature, and no head stands between the loss and the features that are kept.

    Args:
        temperature: Temperature of the softmax over distances, in units of that rms distance.
    """

    def __init__(self, *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Loss of features (B, D) for redshifts (B,), NaN where unknown."""
        scaled = (features - features.mean(dim=0)) / (features.var(dim=0) + 1e-5).sqrt()
        scaled = scaled / (2 * features.shape[1]) ** 0.5
        return rank_n_contrast(*labelled(scaled, z), temperature=self.temperature)


class RegressionLoss(LabelLoss):
    """A head that predicts standardised ln(1+z), with Huber's loss.

    Args:
        width: Number of features.
        hidden: Width of the hidden layer; 0: a linear head.
        mean: Mean of ln(1+z) over the labelled galaxies.
        std: Standard deviation of the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, *, hidden: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clamp_min(1e-6))
        layers = [nn.Linear(width, hidden), nn.ReLU()] if hidden else []
        self.net = nn.Sequential(*layers, nn.Linear(hidden or width, 1))

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Loss of features (B, D) for redshifts (B,), NaN where unknown."""
        known, target = labelled(features, z)
        if not len(known):
            return _nothing(features)
        predicted = self.net(known)[:, 0]
        return F.huber_loss(predicted, (target - self.mean) / self.std)


class MetricLearningLoss(LabelLoss):
    """Supervised contrast between bins of redshift: the same bin attracts, others repel.

    Args:
        edges: Inner edges of the bins in ln(1+z), increasing, (bins - 1,).
        temperature: Temperature of the softmax over cosines.

    References:
        Khosla et al. 2020, arXiv:2004.11362; Musgrave et al. 2020, arXiv:2008.09164.
    """

    edges: Tensor

    def __init__(self, edges: Tensor, *, temperature: float) -> None:
        super().__init__()
        from pytorch_metric_learning.losses import SupConLoss

        self.register_buffer("edges", edges.clone())
        self.loss = SupConLoss(temperature=temperature)

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Loss of features (B, D) for redshifts (B,), NaN where unknown."""
        known, target = labelled(features, z)
        if len(known) < 2:
            return _nothing(features)
        loss: Tensor = self.loss(known, torch.bucketize(target, self.edges))
        return loss


def rank_n_contrast(features: Tensor, target: Tensor, *, temperature: float) -> Tensor:
    """Loss that is low where features are the farther apart, the farther apart the targets are.

    Of every pair (i, j), the likelihood that j is picked from all that are at least as far from
    i in target, with similarity ``-|f_i - f_j| / temperature`` [1].

    Args:
        features: Shape (n, D).
        target: Shape (n,).
        temperature: Temperature of the softmax.

    Returns:
        The mean negative log-likelihood of the n (n - 1) pairs; 0 for fewer than two rows. Time
        grows as n² (D + log n), memory as n².

    References:
        [1] Zha et al. 2023, arXiv:2210.01189, equations 1 and 2.
    """
    n = len(features)
    if n < 2:
        return _nothing(features)
    others = ~torch.eye(n, dtype=torch.bool, device=features.device)
    apart = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    logits = (-apart / temperature)[others].view(n, n - 1)
    gap = (target[:, None] - target).abs()[others].view(n, n - 1)
    ordered, places = gap.sort(dim=1)
    # Entry k: log of the sum over all that are at least as far as the k-th nearest in target.
    beyond = logits.gather(1, places).flip(1).logcumsumexp(dim=1).flip(1)
    at_least_as_far = beyond.gather(1, torch.searchsorted(ordered, gap))
    return (at_least_as_far - logits).mean()


def labelled(features: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Features and ln(1+z) of the galaxies that have a redshift."""
    known = torch.isfinite(z)
    return features[known], torch.log1p(z[known])


def make_label_loss(z: Tensor, config: LabelLossConfig, *, width: int, seed: int) -> LabelLoss:
    """Build the loss that sees labels; its weights depend on the seed alone.

    Args:
        z: Redshifts of all labelled galaxies, (L,); they set the scale or the bins.
        config: The loss.
        width: Number of features.
        seed: Seed of the head's weights.

    Raises:
        DataError: If a redshift is not finite, or there are fewer than two per bin.
    """
    loss = _make(z, config, width=width, seed=seed)
    loss.weight = config.weight
    return loss


def _make(z: Tensor, config: LabelLossConfig, *, width: int, seed: int) -> LabelLoss:
    if not len(z) or not torch.isfinite(z).all():
        raise DataError("got no redshifts, or some that are not finite, to order the features by")
    target = torch.log1p(z.double())
    temperature = config.temperature or TEMPERATURES.get(config.loss, 1.0)
    if config.loss == "rank_n_contrast":
        return RankNContrastLoss(temperature=temperature)
    if config.loss == "metric_learning":
        return MetricLearningLoss(_inner_edges(target, config.bins), temperature=temperature)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mean, std = target.mean().float(), target.std(correction=0).float()
        return RegressionLoss(width, hidden=config.hidden, mean=mean, std=std)


def _inner_edges(target: Tensor, bins: int) -> Tensor:
    if len(target) < 2 * bins:
        raise DataError(
            f"{len(target)} labelled galaxies do not fill {bins} bins with two each; lower "
            f"label_loss.bins, or give more labels"
        )
    shares = torch.linspace(0, 1, bins + 1, dtype=target.dtype)[1:-1]
    return target.quantile(shares).float()


def _nothing(features: Tensor) -> Tensor:
    return features.new_zeros(())
