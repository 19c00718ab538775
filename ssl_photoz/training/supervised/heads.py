"""What a network is asked for: ln(1+z), redshift bins, or whether a galaxy is nearby."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.errors import ArtefactError, DataError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.training.supervised.settings import HeadConfig, NearbyConfig

HUBER_BETA = 0.1
NARROWEST = 1e-3


class Head(Protocol):
    """What a network is asked for: its loss, and how its answers are read."""

    @property
    def outputs(self) -> int:
        """Numbers that a network answers for each galaxy; with one, answers are (B,)."""
        ...

    def start(self) -> Tensor:
        """Answer of a network that knows the training redshifts and no pixels."""
        ...

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Mean loss of answers, (B,) or (B, outputs), for redshifts (B,)."""
        ...

    def averaged(self, answers: Tensor) -> Tensor:
        """Mean of answers over the first axis, on the scale where a mean has a meaning."""
        ...

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Estimates of ln(1+z), (N,), from averaged answers."""
        ...


@dataclass(frozen=True)
class RegressionHead:
    """ln(1+z), standardised among the training galaxies.

    Attributes:
        centre: Mean of ln(1+z).
        scale: Standard deviation of ln(1+z).
        low: Least ln(1+z).
        high: Greatest ln(1+z).
    """

    centre: float
    scale: float
    low: float
    high: float

    @classmethod
    def of(cls, z: Array) -> Self:
        """Head for training redshifts, shape (N,)."""
        target = np.log1p(np.asarray(z, dtype=np.float64))
        centre, scale = float(target.mean()), float(target.std()) or 1.0
        return cls(centre, scale, float(target.min()), float(target.max()))

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def start(self) -> Tensor:
        """Zero, which stands for the mean; shape (1,)."""
        return torch.zeros(1)

    def standardised(self, z: Tensor) -> Tensor:
        """Right answers for redshifts of any shape."""
        return (z.log1p() - self.centre) / self.scale

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Huber loss (beta 0.1) of answers (B,) for redshifts (B,)."""
        return F.smooth_l1_loss(answer, self.standardised(z), beta=HUBER_BETA)

    def averaged(self, answers: Tensor) -> Tensor:
        """Mean along the first axis, float64."""
        return answers.double().mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """ln(1+z) of answers, kept within the range of the training galaxies."""
        known = np.asarray(answer, dtype=np.float64) * self.scale + self.centre
        return np.clip(known, self.low, self.high)


@dataclass(frozen=True)
class BinnedHead:
    """Bins of equal width in ln(1+z), whose log-probabilities a network answers.

    Attributes:
        edges: Bin edges in ln(1+z), increasing, K+1.
        shares: Fraction of the training galaxies in each bin, after adding one galaxy to all, K.
        label_width: Standard deviation, in bins, of the Gaussian that a true redshift becomes;
            0: its bin alone.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    label_width: float = 0.0

    @classmethod
    def of(cls, z: Array, config: HeadConfig) -> Self:
        """Bins that span training redshifts, shape (N,)."""
        known = np.log1p(np.asarray(z, dtype=np.float64))
        low, high = float(known.min()), max(float(known.max()), float(known.min()) + NARROWEST)
        edges = np.linspace(low, high, config.bins + 1)
        counts = np.histogram(known, edges)[0] + 1
        shares = counts / counts.sum()
        return cls(tuple(edges.tolist()), tuple(shares.tolist()), config.label_width)

    @property
    def outputs(self) -> int:
        """Number of bins, K."""
        return len(self.shares)

    def start(self) -> Tensor:
        """Logarithms of the training galaxies' shares, (K,)."""
        return torch.tensor(self.shares).log()

    def labels(self, z: Tensor) -> Tensor:
        """Right probabilities, (B, K), for redshifts (B,)."""
        edges = torch.tensor(self.edges, dtype=z.dtype, device=z.device)
        known = z.log1p().clamp(edges[0], edges[-1])
        if not self.label_width:
            number = torch.bucketize(known, edges[1:-1], right=True)
            return F.one_hot(number, self.outputs).to(z.dtype)
        centres, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
        away = (known[:, None] - centres) / (self.label_width * width)
        return torch.softmax(-0.5 * away**2, dim=1)

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Mean cross-entropy of answers (B, K) for redshifts (B,)."""
        return F.cross_entropy(answer.float(), self.labels(z).float())

    def averaged(self, answers: Tensor) -> Tensor:
        """Mean probabilities, float64, of answers (..., K) along the first axis."""
        return answers.double().softmax(dim=-1).mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Medians, (N,), of probabilities (N, K) that are even within a bin."""
        share, edges = np.asarray(answer, dtype=np.float64), np.array(self.edges)
        cdf = np.cumsum(share, axis=1)
        cdf /= cdf[:, -1:]
        number, rows = np.argmax(cdf >= 0.5, axis=1), np.arange(len(share))
        before = np.where(number > 0, cdf[rows, number - 1], 0.0)
        part = (0.5 - before) / (cdf[rows, number] - before)
        return np.asarray(edges[number] + part * (edges[number + 1] - edges[number]))


@dataclass(frozen=True)
class NearbyHead:
    """The logit of z < z_max, where few galaxies are that near.

    Attributes:
        z_max: Redshift below which a galaxy is nearby.
        share: Fraction of the training galaxies that are nearby.
        near: Mean ln(1+z) of the nearby training galaxies.
        far: Mean ln(1+z) of the others.
        balance: How the few are balanced with the many: ``focal`` turns down the loss of galaxies
            that are classified rightly [1], ``weighted`` gives both kinds the same weight in sum,
            ``none`` is the plain cross-entropy.
        gamma: Exponent of ``focal``: the power of one minus the probability of the right answer.

    References:
        [1] Lin et al. 2017, arXiv:1708.02002.
    """

    z_max: float
    share: float
    near: float
    far: float
    balance: str
    gamma: float

    @classmethod
    def of(cls, z: Array, config: NearbyConfig) -> Self:
        """Head for training redshifts, shape (N,).

        Raises:
            DataError: If all or none of them are nearby.
        """
        known = np.asarray(z, dtype=np.float64)
        inside = known < config.z_max
        if inside.all() or not inside.any():
            raise DataError(
                f"{int(inside.sum())} of {len(known)} training galaxies have z < "
                f"{config.z_max:g}: expected some, not all; change z_max or give more labelled "
                f"cutouts"
            )
        near, far = (float(np.log1p(known[some]).mean()) for some in (inside, ~inside))
        share = float(inside.mean())
        return cls(config.z_max, share, near, far, config.balance, config.gamma)

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def start(self) -> Tensor:
        """Log-odds of the training galaxies; those of even odds where kinds are weighted evenly."""
        odds = 1.0 if self.balance == "weighted" else self.share / (1 - self.share)
        return torch.tensor([math.log(odds)])

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Mean loss of answers (B,) for redshifts (B,)."""
        wanted = (z < self.z_max).float()
        answer = answer.float()
        each = F.binary_cross_entropy_with_logits(answer, wanted, reduction="none")
        if self.balance == "focal":
            each = (1 - torch.exp(-each)) ** self.gamma * each
        if self.balance == "weighted":
            each = each * torch.where(wanted > 0, 0.5 / self.share, 0.5 / (1 - self.share))
        return each.mean()

    def averaged(self, answers: Tensor) -> Tensor:
        """Mean probabilities over the first axis of answers, float64."""
        return answers.double().sigmoid().mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Mean ln(1+z) of galaxies, (N,), of which a fraction ``answer`` are nearby."""
        share = np.asarray(answer, dtype=np.float64)
        return share * self.near + (1 - share) * self.far


HEADS: dict[str, type[RegressionHead | BinnedHead | NearbyHead]] = {
    "regression": RegressionHead,
    "bins": BinnedHead,
    "nearby": NearbyHead,
}


def head_for(z: Array, config: HeadConfig) -> Head:
    """Head of a training on redshifts, shape (N,)."""
    if config.kind == "bins":
        return BinnedHead.of(z, config)
    return NearbyHead.of(z, config.nearby) if config.kind == "nearby" else RegressionHead.of(z)


def edges_of(head: Head) -> Doubles | None:
    """Redshifts of a head's bin edges, (K+1,); None if it has no bins."""
    return np.expm1(head.edges) if isinstance(head, BinnedHead) else None


def describe(head: Head) -> dict[str, Any]:
    """All that `head_from` needs, ready for JSON."""
    (kind,) = (name for name, made in HEADS.items() if isinstance(head, made))
    return {"kind": kind, **asdict(head)}  # type: ignore[call-overload]


def head_from(description: Mapping[str, Any]) -> Head:
    """Rebuild a head.

    Raises:
        ArtefactError: If it is no description of a head.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description.items()
    }
    try:
        return HEADS[values.pop("kind")](**values)
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"not a description of a head: {dict(description)} ({error})") from None
