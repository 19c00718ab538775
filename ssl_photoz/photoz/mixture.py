"""Perceptrons that answer with a mixture of Gaussians: a mixture density network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.density import Density, grid_for
from ssl_photoz.photoz.features import Standardise
from ssl_photoz.photoz.perceptrons import Perceptrons, train_perceptrons
from ssl_photoz.photoz.protocol import to_target

ROWS_AT_ONCE = 2_048
LEAST_WIDTH = 0.05
WRONG_LABELS = 0.01
WRONG_WIDTH = 1.5


@dataclass(frozen=True)
class Mixture:
    """A mixture density network on standardised ln(1+z).

    One part in a hundred of every answer is as wide as the training sample, so that a wrong label
    costs a bounded amount and bends nothing.

    Attributes:
        standardise: What features go through first.
        network: The fitted ensemble.
        centre: Mean ln(1+z) of the training galaxies.
        scale: Its standard deviation.
        epochs: Passes over the training galaxies until validation was best.
        grid: Redshifts, shape (G,).

    References:
        Bishop 1994, Mixture Density Networks, NCRG/94/004; D'Isanto & Polsterer 2018,
        A&A 609, A111, for redshifts.
    """

    standardise: Standardise
    network: Perceptrons
    centre: float
    scale: float
    epochs: int
    grid: Doubles

    @property
    def chosen(self) -> dict[str, float]:
        """The epoch at which training was stopped."""
        return {"epochs": float(self.epochs)}

    @classmethod
    def fit(
        cls,
        features: Floats,
        z: Array,
        *,
        val_features: Floats,
        val_z: Array,
        grid: Doubles | None = None,
        seed: int = 0,
        hidden: int = 128,
        members: int = 3,
        components: int = 4,
        dropout: float = 0.2,
        weight_decay: float = 0.1,
        learning_rate: float = 3e-3,
        steps: int = 700,
    ) -> Self:
        """Maximise the likelihood of labels with AdamW, keep the epoch best on validation.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features; they decide when to stop.
            val_z: Validation redshifts.
            grid: Redshifts, (G,); from 0 to beyond the greatest labelled one if None.
            seed: Of weights, order and dropout.
            hidden: Width of the hidden layers.
            members: Networks whose densities are averaged.
            components: Gaussians of each.
            dropout: After each hidden layer.
            weight_decay: Of AdamW.
            learning_rate: At its peak.
            steps: Of the optimiser, about; see `perceptrons.schedule`.
        """
        standardise = Standardise.fit(features)
        target = to_target(z)
        centre, scale = float(target.mean()), float(target.std()) or 1.0

        def tensors(some: Floats, redshifts: Array) -> tuple[Tensor, Tensor]:
            standardised = torch.from_numpy((to_target(redshifts) - centre) / scale).float()
            return torch.from_numpy(standardise.apply(some)), standardised

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Perceptrons(
                features.shape[1],
                hidden=hidden,
                outputs=3 * components,
                members=members,
                dropout=dropout,
            )
            with torch.no_grad():
                network.weights[-1].mul_(0.1)
            asked = tensors(val_features, val_z)
            epochs = train_perceptrons(
                network,
                *tensors(features, z),
                loss=_loss,
                score=lambda: _negative_log_likelihood(network, *asked),
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                steps=steps,
            )
        grid = grid_for(z) if grid is None else grid
        return cls(standardise, network, centre, scale, epochs, grid)

    def density(self, features: Floats, *, ids: Array | None = None) -> Density:
        """Return the density of each galaxy, the mean of the members'.

        Args:
            features: Shape (M, D).
            ids: Not used.
        """
        at = torch.from_numpy((to_target(self.grid) - self.centre) / self.scale).float()
        standardised = torch.from_numpy(self.standardise.apply(features))
        values = np.empty((len(features), len(self.grid)))
        with torch.no_grad():
            for start in range(0, len(features), ROWS_AT_ONCE):
                part = _mixture(self.network(standardised[start : start + ROWS_AT_ONCE]))
                # One point of the grid at a time keeps (members, B, K) from growing by G.
                columns = [_log_density(part, point).exp().mean(dim=0) for point in at]
                values[start : start + ROWS_AT_ONCE] = torch.stack(columns, dim=1).numpy()
        return Density.of(self.grid, values / (1 + self.grid))


def _mixture(answer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log weights, centres and widths, (members, B, K) each, of (members, B, 3 K)."""
    logits, centres, raw = answer.chunk(3, dim=-1)
    # A network that may shrink a width to nothing gains without end from one galaxy.
    widths = LEAST_WIDTH + nn.functional.softplus(raw)
    return torch.log_softmax(logits, dim=-1), centres, widths


def _log_density(mixture: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Return the log of each member's density at the target, (B,) or one; (members, B)."""
    log_weights, centres, widths = mixture
    gaussians = torch.distributions.Normal(centres, widths, validate_args=False)
    answer = torch.logsumexp(log_weights + gaussians.log_prob(target[..., None]), dim=-1)  # type: ignore[no-untyped-call]
    wide = torch.distributions.Normal(0.0, WRONG_WIDTH).log_prob(target)  # type: ignore[no-untyped-call]
    sure = answer + np.log(1 - WRONG_LABELS)
    return torch.logaddexp(sure, (wide + np.log(WRONG_LABELS)).expand_as(sure))


def _loss(answer: Tensor, target: Tensor) -> Tensor:
    """Return the negative log likelihood per galaxy, summed over members."""
    return -_log_density(_mixture(answer), target).mean(dim=1).sum()


def _negative_log_likelihood(network: Perceptrons, features: Tensor, target: Tensor) -> float:
    """Return that of the members' mean density, per galaxy."""
    parts = zip(torch.split(features, ROWS_AT_ONCE), torch.split(target, ROWS_AT_ONCE), strict=True)
    members = torch.cat(
        [_log_density(_mixture(network(rows)), truth) for rows, truth in parts], dim=1
    )
    return -float((torch.logsumexp(members, dim=0) - np.log(len(members))).mean())
