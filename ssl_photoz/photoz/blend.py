"""The mean of three unlike probes: a line, a kernel, a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.intervals import Interval
from ssl_photoz.photoz.linear import Ridge
from ssl_photoz.photoz.mlp import MLP
from ssl_photoz.photoz.protocol import Prediction, Probe, to_redshift, to_target
from ssl_photoz.photoz.svr import SVR


@dataclass(frozen=True)
class Blend:
    """Ridge, SVR and MLP, averaged in ln(1+z): their errors differ, so the mean has less.

    Attributes:
        parts: Name to fitted probe.
        interval: Calibrated half-widths.
    """

    KINDS: ClassVar[dict[str, type[Probe]]] = {"ridge": Ridge, "svr": SVR, "mlp": MLP}

    parts: Mapping[str, Probe]
    interval: Interval

    @property
    def chosen(self) -> dict[str, float]:
        """What each part chose, such as ``svr_penalty``."""
        return {
            f"{name}_{key}": value
            for name, part in self.parts.items()
            for key, value in part.chosen.items()
        }

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
        """Fit the three; nothing about the mean is fitted. See `Probe.fit`."""
        parts = {
            name: kind.fit(features, z, val_features=val_features, val_z=val_z, ids=ids, seed=seed)
            for name, kind in cls.KINDS.items()
        }
        return cls.of(parts, val_features, val_z)

    @classmethod
    def of(cls, parts: Mapping[str, Probe], val_features: Floats, val_z: Array) -> Self:
        """Blend probes that are fitted already; validation, shape (M, D) and (M,), sets intervals.

        Args:
            parts: One fitted probe under each name of `KINDS`; others are passed over.
            val_features: Validation features.
            val_z: Their redshifts.
        """
        chosen = {name: parts[name] for name in cls.KINDS}
        return cls(chosen, Interval.fit(_mean(chosen, val_features), to_target(val_z)))

    def predict(self, features: Floats, *, ids: Array | None = None) -> Prediction:
        """Average what the parts say; see `Probe.predict`."""
        predicted = _mean(self.parts, features)
        return Prediction(to_redshift(predicted), *self.interval.around(predicted))

    def arrays(self) -> dict[str, Array]:
        """See `Probe.arrays`; those of a part are under its name."""
        own = {"half_widths": self.interval.half_widths, "edges": self.interval.edges}
        theirs = {
            f"{name}/{key}": array
            for name, part in self.parts.items()
            for key, array in part.arrays().items()
        }
        return own | theirs

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """See `Probe.from_arrays`."""
        parts = {
            name: kind.from_arrays(
                {
                    key.removeprefix(f"{name}/"): array
                    for key, array in arrays.items()
                    if key.startswith(f"{name}/")
                }
            )
            for name, kind in cls.KINDS.items()
        }
        return cls(parts, Interval(arrays["edges"], arrays["half_widths"]))


def _mean(parts: Mapping[str, Probe], features: Floats) -> Doubles:
    """Return the mean ln(1+z) of galaxies (M, D), shape (M,)."""
    answers = [to_target(part.predict(features).z_phot) for part in parts.values()]
    return np.asarray(np.mean(answers, axis=0), dtype=np.float64)
