"""What every redshift probe can do, whatever is inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.metrics import residuals, sigma_nmad


@dataclass(frozen=True)
class Prediction:
    """Redshifts of N galaxies.

    Attributes:
        z_phot: Estimates, shape (N,).
        z_lo: Lower end of the central 68 % interval, shape (N,).
        z_hi: Upper end, shape (N,).
        neighbours: Ids of the labelled galaxies used, nearest first, shape (N, K); None for
            probes that use none.
    """

    z_phot: Doubles
    z_lo: Doubles
    z_hi: Doubles
    neighbours: Array | None = None


class Probe(Protocol):
    """A fitted redshift estimator on frozen features.

    Every probe regresses ln(1+z), because residuals count relative to 1+z, chooses its own
    settings on the validation galaxies, and scales its intervals on them.

    Attributes:
        chosen: What was chosen on the validation galaxies.
    """

    @property
    def chosen(self) -> dict[str, float]:
        """What was chosen on the validation galaxies."""
        ...

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
    ) -> Self:
        """Fit to labelled galaxies.

        Args:
            features: Shape (N, D).
            z: Spectroscopic redshifts, shape (N,).
            val_features: Features of other galaxies, to choose and calibrate on.
            val_z: Their redshifts.
            ids: Identifiers of the N galaxies, shape (N,); row numbers if None.
            seed: Of every random choice.
        """
        ...

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Estimate redshifts.

        Args:
            features: Shape (M, D).
            ids: Identifiers, shape (M,); a galaxy is never its own neighbour.

        Raises:
            ShapeError: If D is not what the probe was fitted with.
        """
        ...

    def arrays(self) -> dict[str, Array]:
        """Return all that `from_arrays` needs."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Rebuild a probe from its arrays."""
        ...


def to_target(z: Array) -> Doubles:
    """Return ln(1+z)."""
    return np.log1p(np.asarray(z, dtype=np.float64))


def to_redshift(target: Array) -> Doubles:
    """Return z of ln(1+z)."""
    return np.expm1(np.asarray(target, dtype=np.float64))


def tuning_score(target: Array, truth: Array) -> float:
    """Score predicted ln(1+z) for choosing settings; lower is better.

    The width of the core, sigma_NMAD, plus the mean size of dz, so that the tails count too.
    """
    dz = residuals(to_redshift(target), to_redshift(truth))
    return sigma_nmad(dz) + float(np.mean(np.abs(dz)))
