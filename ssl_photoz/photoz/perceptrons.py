"""Small perceptrons side by side, and how they are trained; MLP and mixture probes share them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm


class Perceptrons(nn.Module):
    """Perceptrons of two hidden layers that share nothing: (B, D) to (members, B, outputs)."""

    def __init__(
        self, dim: int, *, hidden: int, outputs: int, members: int, dropout: float
    ) -> None:
        super().__init__()
        widths = (dim, hidden, hidden, outputs)
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (2 / a) ** 0.5 for a, b in itertools.pairwise(widths)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Return what each member says of each galaxy, shape (members, B, outputs)."""
        hidden = features
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = self.dropout(nn.functional.gelu(hidden @ weight + bias))
        answer: Tensor = hidden @ self.weights[-1] + self.biases[-1]
        return answer


def train_perceptrons(
    network: Perceptrons,
    features: Tensor,
    target: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    score: Callable[[], float],
    learning_rate: float,
    weight_decay: float,
    steps: int,
) -> int:
    """Train with AdamW on a cosine schedule; leave the network at its best epoch, return that.

    It ends early when a third of the epochs, and at least five, have brought nothing.

    Args:
        network: Trained in place; it ends in evaluation mode.
        features: Shape (N, D), standardised.
        target: Shape (N,), standardised.
        loss: From the answers, (members, B, outputs), and the target, (B,). It is a sum over
            members, so that each learns as if it were alone.
        score: Called after each epoch, the network in evaluation mode; the lower the better.
        learning_rate: At its peak.
        weight_decay: Of AdamW.
        steps: Of the optimiser, about; see `schedule`.
    """
    n = len(features)
    epochs, batch = schedule(n, steps)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=weight_decay, fused=True)
    cosine = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=learning_rate,
        total_steps=epochs * -(-n // batch),
        pct_start=0.1,
        cycle_momentum=False,
    )
    best, kept, best_epoch = float("inf"), network.state_dict(), 0
    for epoch in tqdm(range(1, epochs + 1), desc="probe epochs", leave=False, mininterval=0.5):
        network.train()
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


def schedule(n: int, steps: int) -> tuple[int, int]:
    """Return epochs and batch size for n training galaxies.

    About sixteen steps to an epoch for small sets, and so many steps in all that time hardly
    depends on n; at least four epochs for large ones.
    """
    batch = int(np.clip(2 ** round(np.log2(n / 16)), 32, 1024))
    return int(np.clip(steps * batch // n, 4, 80)), batch
