"""Perceptrons that answer with a mixture of Gaussians: a mixture density network."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ssl_photoz.redshift.density import Density, grid_for
from ssl_photoz.redshift.features import Standardise
from ssl_photoz.redshift.mlp import schedule
from ssl_photoz.redshift.protocol import to_target
from ssl_photoz.types import Array, Doubles, Floats

ROWS_AT_ONCE = 2_048
LEAST_WIDTH = 0.05
WRONG_LABELS = 0.01
WRONG_WIDTH = 1.5


class MixtureNetwork(nn.Module):
    """Perceptrons of two hidden layers side by side, each with a mixture at its end."""

    def __init__(
        self, dim: int, *, hidden: int, members: int, components: int, dropout: float
    ) -> None:
        super().__init__()
        widths = (dim, hidden, hidden, 3 * components)
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (2 / a) ** 0.5 for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.weights[-1].mul_(0.1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logarithms of weights, centres and widths, shape (members, B, K) each."""
        hidden = features
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = self.dropout(nn.functional.gelu(hidden @ weight + bias))
        logits, centres, raw = (hidden @ self.weights[-1] + self.biases[-1]).chunk(3, dim=-1)
        # A network that may shrink a width to nothing gains without end from one galaxy.
        widths = LEAST_WIDTH + nn.functional.softplus(raw)
        return torch.log_softmax(logits, dim=-1), centres, widths


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
    network: MixtureNetwork
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
            steps: Of the optimiser, about; see `mlp.schedule`.
        """
        standardise = Standardise.fit(features)
        target = to_target(z)
        centre, scale = float(target.mean()), float(target.std()) or 1.0

        def tensors(some: Floats, redshifts: Array) -> tuple[Tensor, Tensor]:
            standardised = torch.from_numpy((to_target(redshifts) - centre) / scale).float()
            return torch.from_numpy(standardise.apply(some)), standardised

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = MixtureNetwork(
                features.shape[1],
                hidden=hidden,
                members=members,
                components=components,
                dropout=dropout,
            )
            epochs = _train(
                network,
                tensors(features, z),
                tensors(val_features, val_z),
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
                part = self.network(standardised[start : start + ROWS_AT_ONCE])
                # One point of the grid at a time keeps (members, B, K) from growing by G.
                columns = [_log_density(part, point).exp().mean(dim=0) for point in at]
                values[start : start + ROWS_AT_ONCE] = torch.stack(columns, dim=1).numpy()
        return Density.of(self.grid, values / (1 + self.grid))


def _log_density(mixture: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Return the log of each member's density at the target, (B,) or one; (members, B)."""
    log_weights, centres, widths = mixture
    gaussians = torch.distributions.Normal(centres, widths, validate_args=False)
    answer = torch.logsumexp(log_weights + gaussians.log_prob(target[..., None]), dim=-1)  # type: ignore[no-untyped-call]
    wide = torch.distributions.Normal(0.0, WRONG_WIDTH).log_prob(target)  # type: ignore[no-untyped-call]
    sure = answer + np.log(1 - WRONG_LABELS)
    return torch.logaddexp(sure, (wide + np.log(WRONG_LABELS)).expand_as(sure))


def _train(
    network: MixtureNetwork,
    train: tuple[Tensor, Tensor],
    val: tuple[Tensor, Tensor],
    *,
    learning_rate: float,
    weight_decay: float,
    steps: int,
) -> int:
    """Fit in place; leave the network at its best epoch and return that."""
    n = len(train[0])
    epochs, batch = schedule(n, steps)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=weight_decay)
    cosine = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=learning_rate,
        total_steps=epochs * -(-n // batch),
        pct_start=0.1,
        cycle_momentum=False,
    )
    best, kept, best_epoch = float("inf"), network.state_dict(), 0
    for epoch in tqdm(range(1, epochs + 1), desc="mixture epochs", leave=False, mininterval=0.5):
        network.train()
        for rows in torch.split(torch.randperm(n), batch):
            # Summed over members: each learns as if it were alone.
            loss = -_log_density(network(train[0][rows]), train[1][rows]).mean(dim=1).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cosine.step()
        score = _negative_log_likelihood(network, *val)
        if score < best:
            best, best_epoch = score, epoch
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= max(5, epochs // 3):
            break
    network.load_state_dict(kept)
    network.eval()
    return best_epoch


def _negative_log_likelihood(network: MixtureNetwork, features: Tensor, target: Tensor) -> float:
    """Return that of the members' mean density, per galaxy."""
    network.eval()
    with torch.no_grad():
        members = torch.cat(
            [
                _log_density(network(rows), truth)
                for rows, truth in zip(
                    torch.split(features, ROWS_AT_ONCE),
                    torch.split(target, ROWS_AT_ONCE),
                    strict=True,
                )
            ],
            dim=1,
        )
        return -float((torch.logsumexp(members, dim=0) - np.log(len(members))).mean())
