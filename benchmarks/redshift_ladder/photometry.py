"""What a catalogue knows of a galaxy: magnitudes, colours and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.labels import Labelled

FLOOR_MAG = 0.02
RADIUS_ERROR = 0.05
PIXSCALE_ARCSEC = 0.262
MAG_PER_LN = 2.5 / np.log(10)


def photometry(
    embeddings: Embeddings, like: dict[str, Labelled], columns: Sequence[str], *, seed: int
) -> dict[str, Labelled]:
    """Labelled galaxies with catalogue photometry as their features.

    Measured magnitudes are taken as they are. A simulation's true ones get realistic errors:
    0.02 mag of calibration, and the noise of the pixels within twice the half-light radius
    widened by the seeing; its radii get 5 %. That is the bound: what perfect photometry in
    these bands and this survey would know.

    Args:
        embeddings: Holds the columns.
        like: The splits to follow.
        columns: Magnitudes from blue to red, then, if the catalogue has it, a radius in arcsec.
        seed: Seed for the errors.
    """
    values = {name: np.asarray(embeddings.column(name), np.float64) for name in columns}
    radius = values.pop(columns[-1]) if "radius" in columns[-1] else None
    mags = np.stack(list(values.values()), axis=1)
    if columns[0].startswith("true_"):
        assert radius is not None
        rng = np.random.default_rng([seed, 7])
        mags = mags + rng.normal(size=mags.shape) * _mag_error(mags, radius, embeddings)
        radius = radius * np.exp(RADIUS_ERROR * rng.normal(size=len(radius)))
    features = [mags, mags[:, :-1] - mags[:, 1:]]
    if radius is not None:
        features.append(np.log(radius)[:, None])
    known = np.concatenate(features, axis=1).astype(np.float32)
    return {
        split: replace(some, features=known[rows_of(embeddings, some)])
        for split, some in like.items()
    }


def rows_of(embeddings: Embeddings, galaxies: Labelled) -> Ints:
    """Where galaxies stand in the embeddings, by their ids; shape (N,)."""
    ids = embeddings.column("id")
    order = np.argsort(ids)
    return order[np.searchsorted(ids[order], galaxies.id)]


def _mag_error(mags: Doubles, radius_arcsec: Array, embeddings: Embeddings) -> Doubles:
    seeing_arcsec = np.asarray(embeddings.column("psfsize"), np.float64)
    aperture_arcsec = 2 * np.hypot(radius_arcsec[:, None], seeing_arcsec / 2)
    pixels = np.pi * (aperture_arcsec / PIXSCALE_ARCSEC) ** 2
    noise_nmgy = np.asarray(embeddings.column("noise"), np.float64) * np.sqrt(pixels)
    flux_nmgy = 10 ** (0.4 * (22.5 - mags))
    error: Doubles = np.hypot(FLOOR_MAG, MAG_PER_LN * noise_nmgy / flux_nmgy)
    return error
