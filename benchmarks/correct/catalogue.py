"""A SIMULATED catalogue in the form of embeddings: magnitudes with noise, mixed at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_photoz.core.types import Doubles, Floats
from ssl_photoz.embeddings.store import Embeddings, write_embeddings
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.population import Universe

R_LIMIT_MAG = 19.5
NOISE_MAG, LIMIT_NOISE_MAG = 0.03, 0.08
DIM = 64


def make_embeddings(folder: Path, galaxies: int, *, seed: int, labelled: float = 0.7) -> Embeddings:
    """Write embeddings of galaxies of a flux-limited sky, without drawing any image.

    What an encoder would see is stood in for by g, r, z magnitudes and a radius, with noise that
    grows towards the limit; a random two-layer network mixes them. So the redshift that features
    can tell is known: it is degenerate in colour and magnitude, and most galaxies lie at z = 0.1 to
    0.3, few at either end.

    Args:
        folder: Folder to write to.
        galaxies: Number of galaxies.
        seed: Seed for everything drawn.
        labelled: Part of the galaxies with a redshift.
    """
    rng = np.random.default_rng(seed)
    z, mag, radius = _draw(rng, galaxies)
    noise = np.hypot(NOISE_MAG, LIMIT_NOISE_MAG * 10 ** (0.4 * (mag[:, 1] - R_LIMIT_MAG)))
    seen = mag + noise[:, None] * rng.standard_normal(mag.shape)
    size = np.log10(radius) + noise * rng.standard_normal(galaxies)
    columns = {
        "id": np.arange(galaxies) + (seed << 32),
        "ra": rng.uniform(0, 360, galaxies),
        "dec": rng.uniform(-30, 30, galaxies),
        "z": np.where(rng.random(galaxies) < labelled, z, np.nan).astype(np.float32),
        "split": rng.choice(["train", "val", "test"], galaxies, p=[0.6, 0.2, 0.2]),
        "mag_r": seen[:, 1].astype(np.float32),
    }
    colours = [seen[:, 0] - seen[:, 1], seen[:, 1] - seen[:, 2], seen[:, 1], size]
    features = _mixed(rng, np.stack(colours, axis=1))
    return write_embeddings(folder, columns, features, encoder="f" * 64, simulated=True)


def _draw(rng: np.random.Generator, galaxies: int) -> tuple[Doubles, Doubles, Doubles]:
    """Redshifts, (N,), magnitudes, (N, 3), and radii, arcsec, of galaxies to the limit."""
    universe = Universe(ColourTable.build(), r_limit_mag=R_LIMIT_MAG)
    found: list[tuple[Doubles, ...]] = []
    while sum(len(part[0]) for part in found) < galaxies:
        some = universe.propose(rng)
        seen = some.mag[:, 1] < R_LIMIT_MAG
        found.append((some.redshift[seen], some.mag[seen], some.radius_arcsec[seen]))
    z, mag, radius = (np.concatenate(parts)[:galaxies] for parts in zip(*found, strict=True))
    return z, mag, radius


def _mixed(rng: np.random.Generator, seen: Doubles) -> Floats:
    standard = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    hidden = np.tanh(standard @ rng.normal(size=(standard.shape[1], DIM)) + rng.normal(size=DIM))
    return (hidden @ rng.normal(size=(DIM, DIM)) / np.sqrt(DIM)).astype(np.float32)
