"""Probes of small neural networks: a perceptron, and one that answers with a density."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.base import Interval, PointProbe, Probe, Standardise, to_target
from ssl_photoz.photoz.density import Density, DensityProbe, grid_for

MLP_ROWS = 8_192
SMALL_BATCH = 512
HUBER_BETA = 0.1
MIXTURE_ROWS = 2_048
LEAST_WIDTH = 0.05
WRONG_LABELS = 0.01
WRONG_WIDTH = 1.5


class Perceptrons(nn.Module):
    """Perceptrons of two hidden layers that share nothing: (B, D) to (members, B, outputs).

    Args:
        dim: Number of features, D.
        hidden: Width of the hidden layers.
        outputs: Number of outputs.
        members: Number of perceptrons.
        dropout: Dropout after each hidden layer.
    """

    def __init__(
        self, dim: int, *, hidden: int, outputs: int, members: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = (dim, hidden, hidden, outputs)
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (2 / a) ** 0.5 for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """What each member says of each galaxy, shape (members, B, outputs)."""
        hidden = features
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = self.dropout(nn.functional.gelu(hidden @ weight + bias))
        answer: Tensor = hidden @ self.weights[-1] + self.biases[-1]
        return answer

    def arrays(self) -> dict[str, Array]:
        """Weights, as `from_arrays` takes them."""
        return {f"network.{name}": value.numpy() for name, value in self.state_dict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Perceptrons that `arrays` gave, in evaluation mode; other arrays are passed over."""
        state = {
            name.removeprefix("network."): torch.from_numpy(np.array(array))
            for name, array in arrays.items()
            if name.startswith("network.")
        }
        members, dim, hidden = state["weights.0"].shape
        outputs = state["weights.2"].shape[-1]
        network = cls(dim, hidden=hidden, outputs=outputs, members=members)
        network.load_state_dict(state)
        return network.eval()


class PerceptronProbe(Probe):
    """What probes of perceptrons share: they train with AdamW on a cosine schedule.

    Args:
        hidden: Width of the hidden layers.
        members: Number of networks that are averaged.
        dropout: Dropout after each hidden layer.
        weight_decay: AdamW weight decay.
        learning_rate: Peak learning rate.
        steps: Optimiser steps, about; see `schedule`.
        seed: Seed of weights, order and dropout.
    """

    def __init__(
        self,
        *,
        hidden: int = 128,
        members: int = 3,
        dropout: float = 0.2,
        weight_decay: float = 0.1,
        learning_rate: float = 3e-3,
        steps: int = 700,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.members = members
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.steps = steps
        self.seed = seed

    def networks(self, dim: int, outputs: int) -> Perceptrons:
        """Untrained perceptrons, weights drawn from torch's generator."""
        return Perceptrons(
            dim, hidden=self.hidden, outputs=outputs, members=self.members, dropout=self.dropout
        )

    def train(
        self,
        network: Perceptrons,
        features: Tensor,
        target: Tensor,
        *,
        loss: Callable[[Tensor, Tensor], Tensor],
        score: Callable[[], float],
    ) -> int:
        """Train perceptrons and leave them at their best epoch, in evaluation mode.

        It ends early when a third of the epochs, and at least five, have brought nothing.

        Args:
            network: Perceptrons, trained in place.
            features: Standardised features, shape (N, D).
            target: What the loss is given of each galaxy, shape (N, ...).
            loss: Loss of the answers, (members, B, outputs), and the targets of these rows. It is
                a sum over members, so that each learns as if it were alone.
            score: Score after an epoch; the lower the better.

        Returns:
            Number of the best epoch.
        """
        n = len(features)
        epochs, batch = schedule(n, self.steps)
        optimiser = torch.optim.AdamW(
            network.parameters(), weight_decay=self.weight_decay, fused=True
        )
        cosine = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=self.learning_rate,
            total_steps=epochs * -(-n // batch),
            pct_start=0.1,
            cycle_momentum=False,
        )
        best, kept, best_epoch = float("inf"), network.state_dict(), 0
        for epoch in tqdm(range(1, epochs + 1), desc="probe epochs", leave=False, mininterval=0.5):
            network.train()
            with threads_for(batch):
                for rows in torch.split(torch.randperm(n), batch):
                    optimiser.zero_grad(set_to_none=True)
                    loss(network(features[rows]), target[rows]).backward()  # type: ignore[no-untyped-call]
                    optimiser.step()
                    cosine.step()
            network.eval()
            with torch.no_grad():
                now = score()
            if now < best:
                best, best_epoch = now, epoch
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            elif epoch - best_epoch >= max(5, epochs // 3):
                break
        network.load_state_dict(kept)
        return best_epoch


@contextmanager
def threads_for(batch: int) -> Iterator[None]:
    """One thread for small batches while this lasts: on these, several wait more than they work.

    Measured by benchmarks/busy; beside another program, waiting threads cost several times as much.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if batch <= SMALL_BATCH else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class MLP(PointProbe, PerceptronProbe):
    """Perceptrons that are averaged; answers stay within the training redshifts.

    The best epoch on validation is kept. Hyper-parameters are those of `PerceptronProbe`.

    Attributes:
        standardise_: Standardisation of the features.
        network_: The fitted networks.
        centre_: Mean ln(1+z) of the training galaxies.
        scale_: Its standard deviation.
        bounds_: Its least and greatest value.
    """

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        self.standardise_ = Standardise.fit(X)
        target, truth = to_target(z), to_target(val_z)
        self.centre_, self.scale_ = float(target.mean()), float(target.std()) or 1.0
        self.bounds_ = float(target.min()), float(target.max())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.network_ = self.networks(X.shape[1], outputs=1)
            asked, wanted = self._tensor(val_X), (truth - self.centre_) / self.scale_
            epochs = self.train(
                network,
                self._tensor(X),
                _targets((target - self.centre_) / self.scale_, sample_weight),
                loss=_huber,
                score=lambda: float(np.abs(_mean_of(network, asked) - wanted).mean()),
            )
        self.chosen_ = {"epochs": float(epochs)}
        self.interval_ = Interval.fit(self._answer(val_X), truth)

    def _stored(self) -> dict[str, Array]:
        epochs = self.chosen_["epochs"]
        return {
            **self.network_.arrays(),
            "mean": self.standardise_.mean,
            "standard_deviation": self.standardise_.scale,
            "scalars": np.array([self.centre_, self.scale_, *self.bounds_, epochs]),
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        values = (float(value) for value in arrays["scalars"])
        self.centre_, self.scale_, low, high, epochs = values
        self.network_ = Perceptrons.from_arrays(arrays)
        self.standardise_ = Standardise(arrays["mean"], arrays["standard_deviation"])
        self.bounds_, self.chosen_ = (low, high), {"epochs": epochs}
        self.n_features_in_ = len(self.standardise_.mean)

    def _tensor(self, X: Floats) -> Tensor:
        return torch.from_numpy(self.standardise_.apply(X))

    def _answer(self, X: Floats) -> Doubles:
        mean = _mean_of(self.network_, self._tensor(X))
        return np.clip(mean * self.scale_ + self.centre_, *self.bounds_)


class Mixture(DensityProbe, PerceptronProbe):
    """A mixture density network: perceptrons that answer with Gaussians in standardised ln(1+z).

    They maximise the likelihood of the labels with AdamW; the best epoch on validation is kept.
    One part in a hundred of every answer is as wide as the training sample, so that a wrong label
    costs a bounded amount and bends nothing.

    Args:
        components: Number of Gaussians of each network.
        grid: Redshifts of the densities, shape (G,); from 0 to beyond the greatest labelled one
            by default.
        **perceptrons: Hyper-parameters of `PerceptronProbe`.

    Attributes:
        standardise_: Standardisation of the features.
        network_: The fitted networks.
        centre_: Mean ln(1+z) of the training galaxies.
        scale_: Its standard deviation.
        grid_: Redshifts of the densities, shape (G,).

    References:
        Bishop 1994, Mixture Density Networks, NCRG/94/004; D'Isanto & Polsterer 2018,
        A&A 609, A111, for redshifts.
    """

    def __init__(
        self, *, components: int = 4, grid: Doubles | None = None, **perceptrons: float
    ) -> None:
        super().__init__(**perceptrons)  # type: ignore[arg-type]
        self.components = components
        self.grid = grid

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # scikit-learn looks at the signature of this class alone
        return sorted(["components", "grid", *PerceptronProbe._get_param_names()])

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
        z_error: Doubles | None = None,
    ) -> None:
        self.standardise_ = Standardise.fit(X)
        target = to_target(z)
        self.centre_, self.scale_ = float(target.mean()), float(target.std()) or 1.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = self.network_ = self.networks(X.shape[1], outputs=3 * self.components)
            with torch.no_grad():
                network.weights[-1].mul_(0.1)
            asked = self._tensors(val_X, val_z)
            error = None if z_error is None else z_error / (1 + z) / self.scale_
            features, standardised = self._tensors(X, z)
            epochs = self.train(
                network,
                features,
                _targets(standardised.numpy(), sample_weight, error),
                loss=_loss,
                score=lambda: _negative_log_likelihood(network, *asked),
            )
        self.chosen_ = {"epochs": float(epochs)}
        self.grid_ = grid_for(z) if self.grid is None else self.grid

    def _density(self, X: Floats, ids: Array | None) -> Density:
        at = torch.from_numpy((to_target(self.grid_) - self.centre_) / self.scale_).float()
        standardised = torch.from_numpy(self.standardise_.apply(X))
        values = np.empty((len(X), len(self.grid_)))
        step = MIXTURE_ROWS
        with torch.no_grad():
            for start in range(0, len(X), step):
                part = _mixture(self.network_(standardised[start : start + step]))
                # One point of the grid at a time keeps (members, B, K) from growing by G.
                columns = [_log_density(part, point).exp().mean(dim=0) for point in at]
                values[start : start + step] = torch.stack(columns, dim=1).numpy()
        return Density.of(self.grid_, values / (1 + self.grid_))

    def _stored(self) -> dict[str, Array]:
        epochs = self.chosen_["epochs"]
        return {
            **self.network_.arrays(),
            **self.standardise_.arrays(),
            "scalars": np.array([self.centre_, self.scale_, epochs]),
            "grid": self.grid_,
        }

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        self.centre_, self.scale_, epochs = (float(value) for value in arrays["scalars"])
        self.network_, self.grid_ = Perceptrons.from_arrays(arrays), arrays["grid"]
        self.standardise_ = Standardise.from_arrays(arrays)
        self.chosen_ = {"epochs": epochs}
        self.n_features_in_ = len(self.standardise_.mean)

    def _tensors(self, X: Floats, z: Doubles) -> tuple[Tensor, Tensor]:
        target = torch.from_numpy((to_target(z) - self.centre_) / self.scale_).float()
        return torch.from_numpy(self.standardise_.apply(X)), target


def schedule(n: int, steps: int) -> tuple[int, int]:
    """Number of epochs and batch size for n training galaxies.

    About sixteen steps to an epoch for small sets, and so many steps in all that time hardly
    depends on n; at least four epochs for large ones.
    """
    batch = int(np.clip(2 ** round(np.log2(n / 16)), 32, 1024))
    return int(np.clip(steps * batch // n, 4, 80)), batch


def _targets(target: Array, weight: Doubles | None, error: Doubles | None = None) -> Tensor:
    """What a loss is given of each label: target, weight of mean 1, maybe variance, (N, 2 or 3)."""
    weight = np.ones(len(target)) if weight is None else weight / weight.mean()
    known = [target, weight] if error is None else [target, weight, error**2]
    return torch.from_numpy(np.stack(known, axis=1)).float()


def _huber(answer: Tensor, targets: Tensor) -> Tensor:
    """Huber loss of answers (members, B, 1) for `_targets`, summed over members."""
    target, weight = targets.unbind(dim=1)
    wanted = target.expand(len(answer), -1)
    each = nn.functional.smooth_l1_loss(
        answer.squeeze(-1), wanted, beta=HUBER_BETA, reduction="none"
    )
    return len(answer) * (weight * each).mean()


def _mean_of(network: Perceptrons, standardised: Tensor) -> Doubles:
    """Mean of the members, a standardised target, shape (M,)."""
    with torch.no_grad():
        parts = [network(rows).mean(dim=(0, 2)) for rows in torch.split(standardised, MLP_ROWS)]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)


def _mixture(answer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, centres and widths, (members, B, K) each, of (members, B, 3 K)."""
    logits, centres, raw = answer.chunk(3, dim=-1)
    # A network that may shrink a width to nothing gains without end from one galaxy.
    widths = LEAST_WIDTH + nn.functional.softplus(raw)
    return torch.log_softmax(logits, dim=-1), centres, widths


def _log_density(
    mixture: tuple[Tensor, Tensor, Tensor], target: Tensor, variance: Tensor | None = None
) -> Tensor:
    """Log of each member's density at the target, (B,) or one; (members, B).

    With the variance of each label, (B,), that of the density smoothed by a Gaussian of it: what a
    label of such an error is drawn from.
    """
    log_weights, centres, widths = mixture
    if variance is not None:
        widths = (widths**2 + variance[:, None]).sqrt()
    gaussians = torch.distributions.Normal(centres, widths, validate_args=False)
    answer = torch.logsumexp(log_weights + gaussians.log_prob(target[..., None]), dim=-1)  # type: ignore[no-untyped-call]
    wide = torch.distributions.Normal(0.0, WRONG_WIDTH).log_prob(target)  # type: ignore[no-untyped-call]
    sure = answer + np.log(1 - WRONG_LABELS)
    return torch.logaddexp(sure, (wide + np.log(WRONG_LABELS)).expand_as(sure))


def _loss(answer: Tensor, targets: Tensor) -> Tensor:
    """Negative log likelihood of `_targets` per galaxy, summed over members."""
    target, weight, *variance = targets.unbind(dim=1)
    return -(weight * _log_density(_mixture(answer), target, *variance)).mean(dim=1).sum()


def _negative_log_likelihood(network: Perceptrons, features: Tensor, target: Tensor) -> float:
    """Negative log likelihood of the members' mean density, per galaxy."""
    parts = zip(
        torch.split(features, MIXTURE_ROWS),
        torch.split(target, MIXTURE_ROWS),
        strict=True,
    )
    members = torch.cat(
        [_log_density(_mixture(network(rows)), truth) for rows, truth in parts], dim=1
    )
    return -float((torch.logsumexp(members, dim=0) - np.log(len(members))).mean())
