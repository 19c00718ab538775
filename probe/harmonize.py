"""Bring frozen embeddings of one survey to those of another, so that its probe can be applied.

    ssl-photoz adapt embeddings=runs/north/embeddings reference=runs/south/embeddings \
        out=runs/north/adapted
    ssl-photoz predict embeddings=runs/north/adapted probe=runs/south/probe out=photoz.parquet

For those who cannot train an encoder again. Both folders are of one encoder. The map is linear, and
fitted to the galaxies outside the test skies, without redshifts; the card says what was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Settings of adapt.

    Attributes:
        embeddings: Embeddings folder of the target survey.
        reference: Embeddings folder of the survey that a probe was fitted to.
        out: Embeddings folder to write.
        method: shift (means), coral (means and covariances), or procrustes (a rotation, from
            galaxies that are in both folders).
        ridge: Of coral, in units of the mean variance: larger, and directions with little scatter
            are left more as they are.
    """

    embeddings: Path
    reference: Path
    out: Path
    method: Literal["shift", "coral", "procrustes"] = "coral"
    ridge: float = 0.01

    def __post_init__(self) -> None:
        """Refuse a ridge below zero."""
        if self.ridge < 0:
            raise ConfigError(f"ridge is {self.ridge}, expected 0 or more")


def main(settings: Settings) -> None:
    """Fit the map and write the folder, or say that it has been done."""
    from ssl_photoz.embeddings.adapt import fit, require_same_encoder, write_mapped
    from ssl_photoz.embeddings.store import Embeddings

    target = Embeddings.open(settings.embeddings)
    reference = Embeddings.open(settings.reference)
    require_same_encoder(target, reference)
    parents = {"embeddings": target.sha256, "reference": reference.sha256}
    paths = ("out", "embeddings", "reference")
    if not artefact.begin(
        settings.out, "embeddings", config=settings, parents=parents, ignore=paths
    ):
        return print(f"{settings.out} is already made")
    mapped = fit(target, reference, method=settings.method, ridge=settings.ridge)
    card = write_mapped(
        settings.out,
        target,
        mapped,
        config=settings,
        parents=parents,
        adapted={"method": settings.method, "reference": reference.sha256},
    )
    simulated = "SIMULATED: " if card.get("simulated") else ""
    print(
        f"{simulated}{card['rows_written']} embeddings brought to those of {settings.reference} by "
        f"{settings.method}: {settings.out}"
    )
