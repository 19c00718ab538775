"""A small perceptron, several times over, that reads redshifts off an embedding."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ssl_photoz.redshift.features import Standardise
from ssl_photoz.redshift.intervals import Interval
from ssl_photoz.redshift.protocol import Prediction, to_redshift, to_target
from ssl_photoz.types import Array, Doubles, Floats

ROWS_AT_ONCE = 8_192
HUBER_BETA = 0.1


class Ensemble(nn.Module):
    """Perceptrons of two hidden layers side by side: (B, D) to (members, B)."""

    def __init__(self, dim: int, *, hidden: int, members: int, dropout: float) -> None:
        super().__init__()
        widths = (dim, hidden, hidden, 1)
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (2 / a) ** 0.5 for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return one standardised target per member and galaxy, shape (members, B)."""
        hidden = features
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = self.dropout(nn.functional.gelu(hidden @ weight + bias))
        out: Tensor = hidden @ self.weights[-1] + self.biases[-1]
        return out.squeeze(-1)


@dataclass(frozen=True)
class MLP:
    """A non-linear probe; answers stay within the range of its training redshifts.

    Attributes:
        standardise: What features go through first.
        network: The fitted ensemble.
        centre: Mean ln(1+z) of the training galaxies.
        scale: Its standard deviation.
        bounds: Its least and greatest value.
        epochs: Passes over the training galaxies until validation was best.
        interval: Calibrated half-widths.
    """

    standardise: Standardise
    network: Ensemble
    centre: float
    scale: float
    bounds: tuple[float, float]
    epochs: int
    interval: Interval

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
        ids: Array | None = None,
        seed: int = 0,
        hidden: int = 128,
        members: int = 3,
        dropout: float = 0.2,
        weight_decay: float = 0.1,
        learning_rate: float = 3e-3,
        steps: int = 700,
    ) -> Self:
        """Train with AdamW on a cosine schedule, keep the best epoch; see `Probe.fit`.

        Args:
            features: Shape (N, D).
            z: Redshifts, shape (N,).
            val_features: Validation features.
            val_z: Validation redshifts.
            ids: Not used.
            seed: Of weights, order and dropout.
            hidden: Width of the hidden layers.
            members: Networks that are averaged.
            dropout: After each hidden layer.
            weight_decay: Of AdamW.
            learning_rate: At its peak.
            steps: Of the optimiser, about; see `schedule`.
        """
        standardise = Standardise.fit(features)
        target, truth = to_target(z), to_target(val_z)
        centre, scale = float(target.mean()), float(target.std()) or 1.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Ensemble(features.shape[1], hidden=hidden, members=members, dropout=dropout)
            epochs = _train(
                network,
                _tensors(standardise.apply(features), (target - centre) / scale),
                _tensors(standardise.apply(val_features), (truth - centre) / scale),
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                steps=steps,
            )
        probe = cls(
            standardise=standardise,
            network=network,
            centre=centre,
            scale=scale,
            bounds=(float(target.min()), float(target.max())),
            epochs=epochs,
            interval=Interval(np.empty(0), np.ones(1)),
        )
        return replace(probe, interval=Interval.fit(probe._answer(val_features), truth))

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Average the members; see `Probe.predict`."""
        predicted = self._answer(features)
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`."""
        network = {f"network.{k}": v.numpy() for k, v in self.network.state_dict().items()}
        return {
            **network,
            "mean": self.standardise.mean,
            "standard_deviation": self.standardise.scale,
            "scalars": np.array([self.centre, self.scale, *self.bounds, self.epochs]),
            "half_widths": self.interval.half_widths,
            "edges": self.interval.edges,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        members, dim, hidden = arrays["network.weights.0"].shape
        network = Ensemble(dim, hidden=hidden, members=members, dropout=0.0)
        network.load_state_dict(
            {
                name.removeprefix("network."): torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith("network.")
            }
        )
        centre, scale, low, high, epochs = (float(value) for value in arrays["scalars"])
        return cls(
            standardise=Standardise(arrays["mean"], arrays["standard_deviation"]),
            network=network.eval(),
            centre=centre,
            scale=scale,
            bounds=(low, high),
            epochs=int(epochs),
            interval=Interval(arrays["edges"], arrays["half_widths"]),
        )

    def _answer(self, features: Floats) -> Doubles:
        """Return predicted ln(1+z), shape (M,)."""
        standardised = torch.from_numpy(self.standardise.apply(features))
        return np.clip(
            _mean_of(self.network, standardised) * self.scale + self.centre, *self.bounds
        )


def _train(
    network: Ensemble,
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
    best, kept, best_epoch = float("inf"), {}, 0
    for epoch in tqdm(range(1, epochs + 1), desc="MLP epochs", leave=False, mininterval=0.5):
        network.train()
        for rows in torch.split(torch.randperm(n), batch):
            features, target = train[0][rows], train[1][rows]
            answer = network(features)
            loss = len(answer) * nn.functional.smooth_l1_loss(
                answer, target.expand_as(answer), beta=HUBER_BETA
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cosine.step()
        score = float(np.abs(_mean_of(network, val[0]) - val[1].numpy()).mean())
        if score < best:
            best, best_epoch = score, epoch
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best_epoch >= max(5, epochs // 3):
            break
    network.load_state_dict(kept)
    network.eval()
    return best_epoch


def schedule(n: int, steps: int) -> tuple[int, int]:
    """Return epochs and batch size for n training galaxies.

    About sixteen steps to an epoch for small sets, and so many steps in all that time hardly
    depends on n; at least four epochs for large ones.
    """
    batch = int(np.clip(2 ** round(np.log2(n / 16)), 32, 1024))
    return int(np.clip(steps * batch // n, 4, 80)), batch


def _mean_of(network: Ensemble, standardised: Tensor) -> Doubles:
    """Return the members' mean, standardised target, shape (M,)."""
    network.eval()
    with torch.no_grad():
        parts = [network(rows).mean(dim=0) for rows in torch.split(standardised, ROWS_AT_ONCE)]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)


def _tensors(features: Floats, target: Doubles) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(features), torch.from_numpy(target).float()
