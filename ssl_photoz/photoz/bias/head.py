"""A classifier over redshift bins whose output layer can be fitted again, the rest fixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ssl_photoz.core.types import Doubles, Floats
from ssl_photoz.photoz.bias.cells import Bins
from ssl_photoz.photoz.bias.labels import Labels, cross_entropy, split_logits
from ssl_photoz.photoz.features import Standardise
from ssl_photoz.photoz.networks import MLP, Perceptrons

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
        """Fit all layers to labels of one bin, keep the epoch that is best on other galaxies.

        Args:
            train: Galaxies to fit to.
            val: Galaxies to stop by.
            bins: Bins of redshift.
            seed: Seed of weights, order and dropout.
        """
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
