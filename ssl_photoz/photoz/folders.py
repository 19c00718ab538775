"""What the redshift programs hand back: their folders, opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from ssl_photoz.core.artefact import Card, read_card, read_json
from ssl_photoz.core.types import Array, PathLike
from ssl_photoz.photoz.artefact import ProbeCard, read_predictions
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import read_densities
from ssl_photoz.photoz.estimator import PhotoZ

CardOf = TypeVar("CardOf", bound=Card)


@dataclass(frozen=True)
class _Finished(Generic[CardOf]):
    """A finished folder.

    Attributes:
        folder: Where it is.
        card: Its card.
        metrics: Content of ``metrics.json``.
    """

    folder: Path
    card: CardOf
    metrics: dict[str, Any]
    _kind: ClassVar[str]
    _card: ClassVar[type[Card]]

    @classmethod
    def open(cls, folder: PathLike) -> Self:
        """Open a finished folder.

        Raises:
            ArtefactError: If it is unfinished or damaged.
        """
        folder = Path(folder)
        card: Any = cls._card(read_card(folder, cls._kind))
        return cls(folder, card, read_json(folder / "metrics.json"))


class ProbeFolder(_Finished[ProbeCard]):
    """A finished folder of ``probe`` or ``correct``.

    ``metrics`` holds ``probes`` (name to split to metrics), ``versus`` ...
    """

    _kind, _card = "probe", ProbeCard

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


class DensityFolder(_Finished[DensityCard]):
    """A finished folder of ``probe density=true``.

    ``metrics`` holds ``test``, ``test_uncalibrated`` ...
    """

    _kind, _card = "densities", DensityCard

    def densities(self) -> tuple[dict[str, Array], Density]:
        """Columns of the table, and the densities of the same galaxies."""
        return read_densities(self.folder / "pdfs.parquet")
