"""Redshift as a choice between bins: a probability density for every galaxy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_photoz.core.types import Array, Doubles

NARROWEST = 1e-3


@dataclass(frozen=True)
class RedshiftBins:
    """Bins of equal width in ln(1+z); a network answers the logarithms of their odds.

    Attributes:
        edges: Of ln(1+z), increasing, K+1.
        shares: Part of the training galaxies in each bin, after adding one galaxy to all, K.
        label_width: Sigma of the Gaussian that a true redshift becomes, in bins; 0: its bin alone.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    label_width: float = 0.0

    @classmethod
    def of(cls, z: Array, *, bins: int, label_width: float = 0.0) -> Self:
        """Span the training redshifts, shape (N,)."""
        known = np.log1p(np.asarray(z, dtype=np.float64))
        low, high = float(known.min()), max(float(known.max()), float(known.min()) + NARROWEST)
        edges = np.linspace(low, high, bins + 1)
        counts = np.histogram(known, edges)[0] + 1
        return cls(tuple(edges.tolist()), tuple((counts / counts.sum()).tolist()), label_width)

    @property
    def outputs(self) -> int:
        """The number of bins, K."""
        return len(self.shares)

    def start(self) -> Tensor:
        """Return the logarithms of the training galaxies' shares, (K,)."""
        return torch.tensor(self.shares).log()

    def labels(self, z: Tensor) -> Tensor:
        """Return the probabilities that a network should answer for redshifts (B,); (B, K)."""
        edges = torch.tensor(self.edges, dtype=z.dtype, device=z.device)
        known = z.log1p().clamp(edges[0], edges[-1])
        if not self.label_width:
            number = torch.bucketize(known, edges[1:-1], right=True)
            return F.one_hot(number, self.outputs).to(z.dtype)
        centres, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
        away = (known[:, None] - centres) / (self.label_width * width)
        return torch.softmax(-0.5 * away**2, dim=1)

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Return the mean cross-entropy of answers (B, K) for redshifts (B,)."""
        return F.cross_entropy(answer.float(), self.labels(z).float())

    def averaged(self, answers: Tensor) -> Tensor:
        """Return mean probabilities, float64, of answers (..., K) along the first axis."""
        return answers.double().softmax(dim=-1).mean(dim=0)

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Return the medians, (N,), of probabilities (N, K) that are even within a bin."""
        share, edges = np.asarray(answer, dtype=np.float64), np.array(self.edges)
        cdf = np.cumsum(share, axis=1)
        cdf /= cdf[:, -1:]
        number, rows = np.argmax(cdf >= 0.5, axis=1), np.arange(len(share))
        before = np.where(number > 0, cdf[rows, number - 1], 0.0)
        part = (0.5 - before) / (cdf[rows, number] - before)
        return np.asarray(edges[number] + part * (edges[number + 1] - edges[number]))
