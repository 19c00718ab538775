"""What the trunk of a network makes of its input, seen in passing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ssl_photoz.training.supervised.network import Network


@contextmanager
def captured(trunk: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module gives while this lasts, flattened to (B, F), with its gradients."""
    made: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:  # noqa: ANN401 (torch's own type)
        made.append(output.flatten(1))

    hook = trunk.register_forward_hook(keep)
    try:
        yield made
    finally:
        hook.remove()


@torch.inference_mode()
def width_of(network: Network) -> int:
    """Return how many features F the trunk of a network gives; it ends up in evaluation mode."""
    network.eval()
    with captured(network.trunk) as made:
        network(torch.zeros(1, *network.input_shape, device=next(network.parameters()).device))
    return made[0].shape[1]
