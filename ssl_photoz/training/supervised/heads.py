"""What a network can be asked for: ln(1+z), redshift bins, or whether a galaxy is nearby."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.training.supervised.bins import RedshiftBins
from ssl_photoz.training.supervised.nearby import Nearby
from ssl_photoz.training.supervised.target import Target

HEADS: dict[str, type[Target | RedshiftBins | Nearby]] = {
    "regression": Target,
    "bins": RedshiftBins,
    "nearby": Nearby,
}


class Head(Protocol):
    """How to ask a network, to teach it, and to read its answers."""

    @property
    def outputs(self) -> int:
        """Numbers that a network answers for each galaxy; with one, answers are (B,)."""
        ...

    def start(self) -> Tensor:
        """Return the answer of a network that knows nothing but the training redshifts."""
        ...

    def loss(self, answer: Tensor, z: Tensor) -> Tensor:
        """Return the mean loss of answers, (B,) or (B, outputs), for redshifts (B,)."""
        ...

    def averaged(self, answers: Tensor) -> Tensor:
        """Average answers over the first axis, in the scale where that has a meaning."""
        ...

    def ln_one_plus_z(self, answer: Array) -> Doubles:
        """Return the estimates, (N,), of averaged answers."""
        ...


def head_for(z: Array, *, kind: str, **settings: Any) -> Head:  # noqa: ANN401 - of any head
    """Make the head of a training.

    Args:
        z: The training redshifts, shape (N,).
        kind: A name of `HEADS`.
        **settings: Keywords of `RedshiftBins.of` or `Nearby.of`; a regression has none.
    """
    if kind == "bins":
        return RedshiftBins.of(z, **settings)
    return Nearby.of(z, **settings) if kind == "nearby" else Target.of(z)


def edges_of(head: Head) -> Doubles | None:
    """Return the redshifts between which a head tells bins apart, (K+1,); None for another."""
    return np.expm1(head.edges) if isinstance(head, RedshiftBins) else None


def describe(head: Head) -> dict[str, Any]:
    """Return all that `head_from` needs, ready for JSON."""
    (kind,) = (name for name, made in HEADS.items() if isinstance(head, made))
    return {"kind": kind, **asdict(head)}  # type: ignore[call-overload]


def head_from(description: Mapping[str, Any]) -> Head:
    """Rebuild a head.

    Raises:
        ArtefactError: If it is no description of a head.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description.items()
    }
    try:
        return HEADS[values.pop("kind")](**values)
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"not a description of a head: {dict(description)} ({error})") from None
