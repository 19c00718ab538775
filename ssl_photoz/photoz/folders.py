"""What the redshift programs hand back: their folders, opened."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ssl_photoz.core.artefact import Card, CardOf, Fact, Finished, read_json
from ssl_photoz.core.types import Array
from ssl_photoz.photoz.artefact import ProbeCard, read_predictions
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.photoz.estimator import PhotoZ


class _WithMetrics(Finished[CardOf]):
    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of ``metrics.json``."""
        return read_json(self.folder / "metrics.json")

    def __post_init__(self) -> None:
        """Refuse a folder whose metrics cannot be read."""
        _ = self.metrics


class ProbeFolder(_WithMetrics[ProbeCard]):
    """A finished folder of ``probe`` or ``correct``.

    ``metrics`` holds ``probes`` (name to split to metrics), ``versus`` ...
    """

    KIND, CARD = "probe", ProbeCard

    def predictions(self) -> dict[str, Array]:
        """Table of the test split, column by column."""
        return read_predictions(self.folder)

    def photoz(self, which: str | None = None) -> PhotoZ:
        """One of the fitted probes; see `PhotoZ.load`."""
        return PhotoZ.load(self.folder, which)


class DensityCard(Card):
    """What the card of a folder of densities says.

    Attributes:
        rows: Number of densities.
        method: What made them: ``knn`` or ``mlp``.
    """

    rows = Fact(int)
    method = Fact(str)


class DensityFolder(_WithMetrics[DensityCard]):
    """A finished folder of ``probe density=true``.

    ``metrics`` holds ``test``, ``test_uncalibrated`` ...
    """

    KIND, CARD = "densities", DensityCard

    def densities(self) -> tuple[dict[str, Array], Density]:
        """Columns of the table, and the densities of the same galaxies."""
        return read_densities(self.folder / "pdfs.parquet")
