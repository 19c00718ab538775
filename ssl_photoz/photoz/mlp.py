"""A small perceptron, several times over, that reads redshifts off an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.features import Standardise
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.perceptrons import Perceptrons, train_perceptrons
from ssl_photoz.photoz.protocol import Prediction, to_redshift, to_target

ROWS_AT_ONCE = 8_192
HUBER_BETA = 0.1


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
    network: Perceptrons
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
            steps: Of the optimiser, about; see `perceptrons.schedule`.
        """
        standardise = Standardise.fit(features)
        target, truth = to_target(z), to_target(val_z)
        centre, scale = float(target.mean()), float(target.std()) or 1.0

        def standardised(some: Floats) -> Tensor:
            return torch.from_numpy(standardise.apply(some))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Perceptrons(
                features.shape[1], hidden=hidden, outputs=1, members=members, dropout=dropout
            )
            asked, wanted = standardised(val_features), (truth - centre) / scale
            epochs = train_perceptrons(
                network,
                standardised(features),
                torch.from_numpy((target - centre) / scale).float(),
                loss=_huber,
                score=lambda: float(np.abs(_mean_of(network, asked) - wanted).mean()),
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
        network = Perceptrons(dim, hidden=hidden, outputs=1, members=members, dropout=0.0)
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


def _huber(answer: Tensor, target: Tensor) -> Tensor:
    """Return Huber's loss of answers (members, B, 1), summed over members."""
    wanted = target.expand(len(answer), -1)
    one = nn.functional.smooth_l1_loss(answer.squeeze(-1), wanted, beta=HUBER_BETA)
    return len(answer) * one


def _mean_of(network: Perceptrons, standardised: Tensor) -> Doubles:
    """Return the members' mean, standardised target, shape (M,)."""
    with torch.no_grad():
        parts = [network(rows).mean(dim=(0, 2)) for rows in torch.split(standardised, ROWS_AT_ONCE)]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)
