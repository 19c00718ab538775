"""Which of the two halves of the Legacy Surveys covers a position."""

from __future__ import annotations

import numpy as np

from ssl_photoz.catalog.sky import in_north
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import Array, Bools

# The north was not observed again after DR9: DR10 shows the same images there.
LAYERS = {
    "ls-dr9": ("ls-dr9-north", "ls-dr9-south"),
    "ls-dr10": ("ls-dr9-north", "ls-dr10-south"),
}
BANDS = {"ls-dr9-north": "grz", "ls-dr9-south": "grz", "ls-dr10-south": "griz"}


def on_the_sky(ra_deg: Array, dec_deg: Array) -> Bools:
    """Whether there is a position to fetch: RA in 0 to 360, Dec in -90 to 90 degrees, (N,)."""
    inside: Bools = (ra_deg >= 0) & (ra_deg <= 360) & (np.abs(dec_deg) <= 90)
    return inside


def layers_of(layer: str, ra_deg: Array, dec_deg: Array) -> Array:
    """Layer that shows each position, text, (N,).

    Args:
        layer: ``ls-dr9`` or ``ls-dr10``; one that ends in -north or -south is used everywhere.
        ra_deg: Right ascension, (N,).
        dec_deg: Declination, (N,).
    """
    if layer in BANDS:
        return np.full(len(ra_deg), layer)
    north, south = LAYERS[layer]
    return np.where(in_north(ra_deg, dec_deg), north, south)


def require_layer(layer: str, bands: tuple[str, ...]) -> None:
    """Refuse a layer that is not known, or bands that it has not everywhere.

    Raises:
        ConfigError: If so.
    """
    if layer not in (*LAYERS, *BANDS):
        raise ConfigError(f"layer is {layer!r}, expected {', '.join((*LAYERS, *BANDS))}")
    for half in LAYERS.get(layer, (layer,)):
        lacking = [band for band in bands if band not in BANDS[half]]
        if lacking:
            raise ConfigError(
                f"{half} has bands {','.join(BANDS[half])}, asked for {','.join(bands)}; leave "
                f"{','.join(lacking)} out, or give one layer of {', '.join(BANDS)}"
            )
