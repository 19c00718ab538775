"""The program that brings frozen embeddings of one survey to those of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike

if TYPE_CHECKING:
    from ssl_photoz.embeddings.store import Embeddings


def harmonize(
    embeddings: PathLike | Embeddings,
    reference: PathLike | Embeddings,
    out: PathLike,
    *,
    method: Literal["shift", "coral", "procrustes"] = "coral",
    ridge: float = 0.01,
) -> Embeddings:
    """Bring embeddings of one survey to those of another, so that its probe can be applied.

        ssl-photoz harmonize embeddings=runs/north/embeddings reference=runs/south/embeddings \
            out=runs/north/harmonized
        ssl-photoz predict embeddings=runs/north/harmonized probe=runs/south/probe \
            out=photoz.parquet

    For those who cannot train an encoder again. Both folders are of one encoder. The map is linear,
    and fitted to the galaxies outside the test skies, without redshifts; the card says so.

    Args:
        embeddings: Embeddings of the target survey.
        reference: Embeddings of the survey that a probe was fitted to.
        out: Folder to write.
        method: shift (means), coral (means and covariances), or procrustes (a rotation, from
            galaxies that are in both folders).
        ridge: Ridge of coral, in units of the mean variance: larger, and directions with little
            scatter are left more as they are.

    Returns:
        The mapped embeddings.

    Raises:
        ConfigError: If ridge is negative.
        MismatchError: If the two were not made alike, or are harmonized already.
        DataError: If there are too few galaxies, or pairs.
    """
    if ridge < 0:
        raise ConfigError(f"ridge is {ridge}, expected 0 or more")
    from ssl_photoz.embeddings.linear_map import fit_map, require_same_encoder, write_mapped
    from ssl_photoz.embeddings.store import Embeddings

    out, target, goal = Path(out), Embeddings.open(embeddings), Embeddings.open(reference)
    require_same_encoder(target, goal)
    config = {
        **{"embeddings": target.folder, "reference": goal.folder},
        **{"method": method, "ridge": ridge},
    }
    parents = {"embeddings": target.sha256, "reference": goal.sha256}
    made: dict[str, Any] = {"config": config, "parents": parents}
    if not artefact.begin(out, "embeddings", ignore=("embeddings", "reference"), **made):
        print(f"{out} is already made")
        return Embeddings.open(out)
    card = write_mapped(
        out,
        target,
        fit_map(target, goal, method=method, ridge=ridge),
        harmonized={"method": method, "reference": goal.sha256},
        **made,
    )
    simulated = "SIMULATED: " if card.simulated else ""
    print(
        f"{simulated}{card.rows_written} embeddings brought to those of {goal.folder} by "
        f"{method}: {out}"
    )
    return Embeddings.open(out)
