"""What training and prediction need of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_photoz.training.supervised.heads import Head


class Network(nn.Module):
    """Flux (B, C, size, size) in; the answers that its head asked for out, (B,) or (B, outputs).

    Attributes:
        input_shape: (C, size, size).
        trunk: The part whose learning rate may differ.
        plan: What `build` builds it from, but for its weights.
        seen: Whether it sees each band; None: all. `build` blanks the others in front of the
            stretch; who reads flux elsewhere blanks it there.
    """

    input_shape: tuple[int, int, int]
    trunk: nn.Module
    plan: dict[str, Any]
    seen: Sequence[bool] | None = None

    def loss(self, flux: Tensor, z: Tensor, head: Head) -> Tensor:
        """Return the mean loss for redshifts (B,), those that are NaN left out.

        A network may add terms of its own.
        """
        answer, known = self(flux), z.isfinite()
        return head.loss(answer[known], z[known])


def blank(flux: Tensor, seen: Sequence[bool] | None) -> Tensor:
    """Set to zero the bands of flux (B, C, H, W) that are not seen; None: all are."""
    return flux if seen is None else flux * torch.tensor(seen).to(flux)[:, None, None]
