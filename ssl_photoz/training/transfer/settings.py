"""How a training is adapted to another survey; no torch here, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class AdaptationConfig:
    """What makes a network that learns from one survey fit for another.

    Attributes:
        methods: Any of reweight (source galaxies are drawn as often as their like are in the
            target), match (views take PSF, noise and dust from the target's columns), adversarial
            (a discriminator on pairs of like magnitude, gradient reversed). None: no adaptation.
        strength: Factor of the reversed gradient, at the end of the training.
    """

    methods: tuple[Literal["reweight", "match", "adversarial"], ...] = ()
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ConfigError(f"adaptation.strength is {self.strength}, expected >= 0")
