"""The mean of unlike probes: a kernel, a network, and a line if asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Floats
from ssl_photoz.photoz.base import Interval, PointProbe, Probe, to_target
from ssl_photoz.photoz.networks import MLP
from ssl_photoz.photoz.regressors import SVR, Ridge


class Blend(PointProbe):
    """SVR and MLP, averaged in ln(1+z): their errors differ, so the mean has less.

    Nothing about the mean is fitted. A straight line beside them (ridge) helps features of a
    network's stages, and hurts measurements.

    Args:
        parts: Names of the probes that are averaged: ridge, svr, mlp.
        seed: Seed of them all.

    Attributes:
        parts_: Name to fitted probe.
    """

    KINDS: ClassVar[dict[str, type[Probe]]] = {"ridge": Ridge, "svr": SVR, "mlp": MLP}

    def __init__(self, *, parts: tuple[str, ...] = ("svr", "mlp"), seed: int = 0) -> None:
        self.parts = parts
        self.seed = seed

    @property
    def chosen_(self) -> dict[str, float]:  # type: ignore[override]
        """What each part chose, such as ``svr_penalty``."""
        return {
            f"{name}_{key}": value
            for name, part in self.parts_.items()
            for key, value in part.chosen_.items()
        }

    def _fit(
        self,
        X: Floats,
        z: Doubles,
        val_X: Floats,
        val_z: Doubles,
        ids: Array | None,
        sample_weight: Doubles | None = None,
    ) -> None:
        parts = {
            name: self.KINDS[name](seed=self.seed).fit(
                X, z, validation=(val_X, val_z), ids=ids, sample_weight=sample_weight
            )
            for name in self.parts
        }
        self._take(parts, val_X, val_z)

    @classmethod
    def of(cls, parts: Mapping[str, Probe], validation: tuple[Array, Array]) -> Self:
        """Blend of probes that are fitted already.

        Args:
            parts: One fitted probe under each name that is averaged; others are passed over.
            validation: Features (M, D) and redshifts (M,) to calibrate intervals on.
        """
        blend = cls()
        blend._take({name: parts[name] for name in blend.parts}, *validation)
        return blend

    def _take(self, parts: dict[str, Probe], val_X: Array, val_z: Array) -> None:
        self.parts_ = parts
        self.n_features_in_ = next(iter(parts.values())).n_features_in_
        self.interval_ = Interval.fit(self._answer(val_X), to_target(val_z))

    def _stored(self) -> dict[str, Array]:
        theirs = {
            f"{name}/{key}": array
            for name, part in self.parts_.items()
            for key, array in part.arrays().items()
        }
        return theirs

    def _restore(self, arrays: Mapping[str, Array]) -> None:
        names = [name for name in self.KINDS if any(key.startswith(f"{name}/") for key in arrays)]
        self.parts_ = {
            name: self.KINDS[name].from_arrays(
                {
                    key.removeprefix(f"{name}/"): array
                    for key, array in arrays.items()
                    if key.startswith(f"{name}/")
                }
            )
            for name in names
        }
        self.n_features_in_ = self.parts_[names[0]].n_features_in_

    def _answer(self, X: Floats) -> Doubles:
        """Mean ln(1+z) of galaxies (M, D), shape (M,)."""
        answers = [to_target(part.predict(X)) for part in self.parts_.values()]
        return np.asarray(np.mean(answers, axis=0), dtype=np.float64)
