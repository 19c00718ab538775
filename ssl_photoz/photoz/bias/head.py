"""A classifier over redshift bins, its soft labels, and how step 3 widens and moves these.

Its output layer can be fitted again, the rest fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.base import Standardise
from ssl_photoz.photoz.bias.cells import Bins
from ssl_photoz.photoz.networks import MLP, Perceptrons

HARD = 0.1  # bins; a narrower label is that of one bin


@dataclass(frozen=True)
class Labels:
    """Labels of N galaxies in K channels.

    Attributes:
        centre: Where the label of each channel lies, in bins, shape (N, K).
        member: Which channels a galaxy teaches, 0 or 1, shape (N, K).
        weight: How much a galaxy counts, shape (N,).
    """

    centre: Doubles
    member: Doubles
    weight: Doubles

    @classmethod
    def plain(cls, place: Array, member: Doubles, weight: Doubles | None = None) -> Labels:
        """Labels that lie where the redshifts do.

        Args:
            place: Places of the spectroscopic redshifts, in bins, shape (N,).
            member: See `Labels`.
            weight: See `Labels`; 1 if None.
        """
        centre = np.repeat(np.asarray(place, dtype=np.float64)[:, None], member.shape[1], axis=1)
        return cls(centre, member, np.ones(len(centre)) if weight is None else weight)

    def take(self, rows: Array) -> Labels:
        """Those of some galaxies."""
        return Labels(self.centre[rows], self.member[rows], self.weight[rows])

    def tensor(self) -> Tensor:
        """All of it, shape (N, 2K + 1), float32."""
        together = [self.centre, self.member, self.weight[:, None]]
        return torch.from_numpy(np.concatenate(together, axis=1)).float()


def soft(centre: Tensor, width: Tensor, count: int) -> Tensor:
    """Gaussians over bins, normalised, shape (..., K, G); one bin where width is < 0.1.

    Args:
        centre: Centres in bins, shape (..., K); one beyond the bins falls in the outermost.
        width: Standard deviation in bins, shape (K,).
        count: G.
    """
    nearest = torch.where(width < HARD, centre.round().clamp(0, count - 1), centre)[..., None]
    off = (torch.arange(count, dtype=centre.dtype) - nearest) / width.clamp(min=HARD)[:, None]
    return torch.softmax(-0.5 * off**2, dim=-1)


def cross_entropy(answers: Tensor, labels: Tensor, *, width: Tensor) -> Tensor:
    """Loss of a multi-channel head, summed over members, a mean over galaxies.

    Each channel of which a galaxy is a member is taught its soft label, every other channel to
    answer evenly over bins; the last K outputs are taught which channels those are [1].

    Args:
        answers: Logits, shape (members, B, K G + K).
        labels: `Labels.tensor`, shape (B, 2K + 1).
        width: Width of the soft labels, bins, shape (K,).

    References:
        [1] Lin et al. 2022, A&A 662, A36, sec. 3, and their published code.
    """
    channels = len(width)
    in_bins, in_channels = split_logits(answers, channels)
    centre, member, weight = torch.split(labels, [channels, channels, 1], dim=1)
    count = in_bins.shape[-1]
    one = member[..., None]
    wanted = one * soft(centre, width, count) + (1 - one) / count
    lost = -(wanted * torch.log_softmax(in_bins, dim=-1)).sum(dim=(-2, -1))
    shares = member / member.sum(dim=1, keepdim=True)
    lost = lost - (shares * torch.log_softmax(in_channels, dim=-1)).sum(dim=-1)
    total: Tensor = (weight[:, 0] * lost).mean(dim=1).sum()
    return total


def split_logits(answers: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Logits over bins, (..., K, G), and over channels, (..., K)."""
    in_bins = answers[..., :-channels].reshape(*answers.shape[:-1], channels, -1)
    return in_bins, answers[..., -channels:]


LEAST = 1e-5


@dataclass(frozen=True)
class LabelChange:
    """What is done to the labels of every channel.

    Attributes:
        width: Width of the soft labels, bins, shape (K,).
        drawn: How far estimates are drawn off, at every bin, bins, shape (K, G).
    """

    width: Doubles
    drawn: Doubles

    @classmethod
    def measure(cls, phot: Array, asked: Labels, taught: Labels, count: int) -> Self:
        """Measure it on galaxies that the estimates were not fitted to.

        Args:
            phot: Places of their estimates, bins, shape (N,).
            asked: Their labels, where their redshifts are.
            taught: Labels of the galaxies that the head is taught by.
            count: Bins, G.
        """
        widths, drawn = [], []
        for k in range(asked.member.shape[1]):
            spec, weight = asked.centre[:, k], asked.weight * asked.member[:, k]
            width = label_width(phot, spec, weight, count)
            density = distribution(taught.centre[:, k], taught.member[:, k], count)
            widths.append(width)
            drawn.append(pull(density, scatter(phot, spec, weight, width, count)))
        return cls(np.array(widths), np.stack(drawn))

    def apply(self, labels: Labels, *, offset: float) -> Labels:
        """Move labels as far the other way, and by an offset in bins, that of an extended head."""
        moved = [
            place - np.interp(place, np.arange(len(drawn)), drawn) + offset
            for place, drawn in zip(labels.centre.T, self.drawn, strict=True)
        ]
        return Labels(np.stack(moved, axis=1), labels.member, labels.weight)


def label_width(phot: Array, spec: Array, weight: Array, count: int) -> float:
    """Gaussian width, in bins, that brings estimates to the distribution of truths.

    Estimates that crowd into favourite bins are spread until their distribution is likeliest to
    have given that of the spectroscopic redshifts [1].

    Args:
        phot: Places of the estimates, bins, shape (N,).
        spec: Places of the truths, shape (N,).
        weight: Weights of galaxies, shape (N,).
        count: Bins, G.

    References:
        [1] Lin et al. 2022, A&A 662, A36, sec. 3, and their published code.
    """
    given, wanted = (distribution(some, weight, count) for some in (phot, spec))

    def unlikely(width: float) -> float:
        spread = given @ gaussians(np.full(count, width))
        return -float(wanted @ np.log(np.clip(spread, LEAST, None)))

    found = minimize_scalar(
        lambda log_width: unlikely(float(np.exp(log_width))),
        bounds=(np.log(0.05), np.log(count / 4)),
        method="bounded",
    )
    return float(np.exp(found.x))


def scatter(phot: Array, spec: Array, weight: Array, width: float, count: int) -> Doubles:
    """How far estimates lie from the truth, bins, at every bin of the truth; shape (G,).

    The mean size of residuals, as if they were Gaussian, in a Gaussian window with a sigma of a
    tenth of the range; the labels' own width is added in quadrature.

    Args:
        phot: Places of the estimates, shape (N,).
        spec: Places of the truths, shape (N,).
        weight: Weights of galaxies, shape (N,).
        width: Width of the labels, bins.
        count: G.
    """
    off = (np.arange(count)[:, None] - spec) / (0.1 * count)
    near = np.exp(-0.5 * off**2) * weight + 1e-12
    mean = near @ np.abs(phot - spec) / near.sum(axis=1)
    return np.asarray(np.hypot(np.sqrt(np.pi / 2) * mean, width))


def pull(density: Array, scatter_bins: Array) -> Doubles:
    """How far the mean of what looks alike lies from each bin, bins, shape (G,).

    Galaxies of one redshift are taken for those that lie within their scatter, of which there are
    as many as the density says: an estimate is drawn to where there are more, at the ends inwards.

    Args:
        density: Densities of the galaxies that the head is taught by, shape (G,).
        scatter_bins: See `scatter`, shape (G,).
    """
    place = np.arange(len(density))
    likely = gaussians(scatter_bins) * (np.asarray(density, dtype=np.float64) + 1e-12)
    return np.asarray(likely @ place / likely.sum(axis=1) - place)


def distribution(place: Array, weight: Array, count: int) -> Doubles:
    """Part of all weight in each bin, shape (G,)."""
    held = np.histogram(place, count, (-0.5, count - 0.5), weights=weight)[0]
    return np.asarray(held / max(float(held.sum()), 1e-300))


def gaussians(width: Array) -> Doubles:
    """Gaussian around each bin, normalised over the bins; widths (G,), result (G, G)."""
    place = np.arange(len(width))
    off = (place - place[:, None]) / np.maximum(width, 0.05)[:, None]
    values = np.exp(-0.5 * off**2)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


ROWS_AT_ONCE = 4_096
PERCEPTRONS = MLP()  # heads are perceptrons of the same size, trained in the same way


@dataclass(frozen=True)
class Sample:
    """Galaxies to teach a head, or to stop its training by.

    Attributes:
        features: Shape (N, D).
        labels: Labels of the same galaxies.
    """

    features: Floats
    labels: Labels


@dataclass(frozen=True)
class Head:
    """Perceptrons on frozen features: hidden layers, then an output per bin and channel.

    Attributes:
        standardise: What features go through first.
        network: Its hidden layers are the representation; outputs as in `labels.cross_entropy`.
        bins: Bins of redshift.
        channels: K.
    """

    standardise: Standardise
    network: Perceptrons
    bins: Bins
    channels: int

    @classmethod
    def fit(cls, train: Sample, val: Sample, *, bins: Bins, seed: int) -> Self:
        """Fit all layers to labels of one bin; keep the epoch that is best on ``val``."""
        standardise = Standardise.fit(train.features)
        channels = train.labels.member.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(train.features.shape[1], bins, channels)
            head = cls(standardise, network, bins, channels)
            head._train(train, val, width=np.zeros(channels))
        return head

    def refit(self, train: Sample, val: Sample, *, width: Doubles, seed: int) -> Head:
        """Go on fitting the output layer alone to other labels; see `fit`.

        Args:
            train: Galaxies to fit to.
            val: Galaxies to stop by.
            width: Width of the soft labels, bins, shape (K,).
            seed: Seed of order and dropout.

        Returns:
            Another head that shares the representation.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = replace(self, network=self._copy(self.bins))
            head._train(train, val, width=width)
        return head

    def extended(self) -> Head:
        """Head with bins beyond both ends and an output layer that has learnt nothing."""
        bins = self.bins.extended()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return replace(self, network=self._copy(bins), bins=bins)

    def probabilities(self, features: Floats) -> Doubles:
        """Probability of each bin, shape (N, G): channels weighted as it sees fit."""
        given = torch.from_numpy(self.standardise.apply(features))
        with torch.no_grad():
            parts = [self._read(rows) for rows in torch.split(given, ROWS_AT_ONCE)]
        return torch.cat(parts).double().numpy() if parts else np.empty((0, self.bins.count))

    def _read(self, rows: Tensor) -> Tensor:
        in_bins, in_channels = split_logits(self.network(rows), self.channels)
        shares = torch.softmax(in_channels, dim=-1)[..., None]
        return (shares * torch.softmax(in_bins, dim=-1)).sum(dim=-2).mean(dim=0)

    def _train(self, train: Sample, val: Sample, *, width: Doubles) -> None:
        widths = torch.from_numpy(width).float()
        asked = torch.from_numpy(self.standardise.apply(val.features))
        wanted = val.labels.tensor()

        def loss(answers: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(answers, labels, width=widths)

        def score() -> float:
            parts = zip(
                torch.split(asked, ROWS_AT_ONCE), torch.split(wanted, ROWS_AT_ONCE), strict=True
            )
            return sum(float(loss(self.network(rows), some)) * len(rows) for rows, some in parts)

        PERCEPTRONS.train(
            self.network,
            torch.from_numpy(self.standardise.apply(train.features)),
            train.labels.tensor(),
            loss=loss,
            score=score,
        )

    def _copy(self, bins: Bins) -> Perceptrons:
        """Network with its hidden layers fixed, and a new output layer for new bins."""
        old = self.network.state_dict()
        last = len(self.network.weights) - 1
        outputs = (f"weights.{last}", f"biases.{last}")
        network = _network(old["weights.0"].shape[1], bins, self.channels)
        kept = {k: v.clone() for k, v in old.items() if bins == self.bins or k not in outputs}
        network.load_state_dict({**network.state_dict(), **kept})
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in outputs)
        return network


def _network(dim: int, bins: Bins, channels: int) -> Perceptrons:
    network = PERCEPTRONS.networks(dim, outputs=channels * (bins.count + 1))
    with torch.no_grad():
        nn.init.zeros_(network.weights[-1])
    return network
