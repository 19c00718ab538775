"""What the redshift programs hand back: their folders, opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ssl_photoz.core.artefact import Card, read_card, read_json
from ssl_photoz.core.types import Array, PathLike
from ssl_photoz.photoz.artefact import ProbeCard, read_predictions, read_probe_card
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.photoz.estimator import PhotoZ


@dataclass(frozen=True)
class ProbeFolder:
    """A finished folder of ``probe`` or ``correct``.

    Attributes:
        folder: Where it is.
        card: Its card.
        metrics: Content of ``metrics.json``: ``probes`` (name to split to metrics), ``versus`` ...
    """

    folder: Path
    card: ProbeCard
    metrics: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike) -> Self:
        """Open a finished folder.

        Raises:
            ArtefactError: If it is unfinished or damaged.
        """
        folder = Path(folder)
        return cls(folder, read_probe_card(folder), read_json(folder / "metrics.json"))

    def predictions(self) -> dict[str, Array]:
        """Table of the test split, column by column."""
        return read_predictions(self.folder)

    def photoz(self, which: str | None = None) -> PhotoZ:
        """One of the fitted probes; see `PhotoZ.load`."""
        return PhotoZ.load(self.folder, which)


class DensityCard(Card):
    """What the card of a folder of densities says."""

    @property
    def rows(self) -> int:
        """Number of densities."""
        return int(self["rows"])

    @property
    def method(self) -> str:
        """What made them: ``knn`` or ``mlp``."""
        return str(self["method"])


@dataclass(frozen=True)
class DensityFolder:
    """A finished folder of ``probe density=true``.

    Attributes:
        folder: Where it is.
        card: Its card.
        metrics: Content of ``metrics.json``: ``test``, ``test_uncalibrated`` ...
    """

    folder: Path
    card: DensityCard
    metrics: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike) -> Self:
        """Open a finished folder.

        Raises:
            ArtefactError: If it is unfinished or damaged.
        """
        folder = Path(folder)
        card = DensityCard(read_card(folder, "pdf"))
        return cls(folder, card, read_json(folder / "metrics.json"))

    def densities(self) -> tuple[dict[str, Array], Density]:
        """Columns of the table, and the densities of the same galaxies."""
        return read_densities(self.folder / "pdfs.parquet")
