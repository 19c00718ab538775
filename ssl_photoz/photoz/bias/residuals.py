"""Mean residuals against redshift, and one number for how far they are from none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssl_photoz.core.types import Array, Doubles
from ssl_photoz.photoz.metrics import residuals

BINS = 15
LEAST = 10


def curve(z_phot: Array, z_spec: Array, by: Array, edges: Array) -> list[dict[str, float]]:
    """Return the mean of dz in bins of a redshift.

    Args:
        z_phot: Estimates, shape (N,).
        z_spec: Truth, shape (N,).
        by: Either of them, shape (N,).
        edges: Increasing, in ``by``; bins of fewer than ten galaxies are left out.

    Returns:
        Per bin: ``centre`` (mean of ``by``), ``n``, ``bias`` and its standard ``error``.
    """
    dz, which = residuals(z_phot, z_spec), np.digitize(by, edges) - 1
    rows = []
    for number in range(len(edges) - 1):
        some = dz[which == number]
        if len(some) >= LEAST:
            rows.append(
                {
                    "centre": float(by[which == number].mean()),
                    "n": len(some),
                    "bias": float(some.mean()),
                    "error": float(some.std(ddof=1) / np.sqrt(len(some))),
                }
            )
    return rows


def size(bins: list[dict[str, float]]) -> float:
    """Return the root mean square of the biases of a curve, each bin counting the same.

    What the errors of the biases alone would give is subtracted in quadrature.
    """
    if not bins:
        return float("nan")
    square = np.mean([b["bias"] ** 2 - b["error"] ** 2 for b in bins])
    return float(np.sqrt(max(0.0, float(square))))


def total_variation(z_phot: Array, z_spec: Array, edges: Array) -> float:
    """Return half the summed difference of the two distributions over bins, 0 to 1.

    Large where estimates crowd into some bins and shun others (mode collapse); scatter and chance
    give some too. Estimates beyond the edges count.
    """
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    phot, spec = (np.histogram(z, bounds)[0] / len(z) for z in (z_phot, z_spec))
    return float(0.5 * np.abs(phot - spec).sum())


def edges_for(z_spec: Array, bins: int = BINS) -> Doubles:
    """Return edges of equal width over the redshifts."""
    return np.linspace(float(np.min(z_spec)), float(np.nextafter(np.max(z_spec), np.inf)), bins + 1)


def describe(estimates: Mapping[str, Array], z_spec: Array) -> dict[str, Any]:
    """Return the curves of every estimate against z_spec and z_phot, ready for JSON.

    Args:
        estimates: Name to z_phot, shape (N,).
        z_spec: Shape (N,).

    Returns:
        Per name: ``z_spec`` and ``z_phot`` (curves), ``size_z_spec`` and ``size_z_phot`` (see
        `size`) and ``total_variation`` in bins a fourth as wide.
    """
    edges, fine = edges_for(z_spec), edges_for(z_spec, 4 * BINS)
    said: dict[str, Any] = {}
    for name, z_phot in estimates.items():
        curves = {"z_spec": z_spec, "z_phot": z_phot}
        drawn = {kind: curve(z_phot, z_spec, by, edges) for kind, by in curves.items()}
        said[name] = {
            **drawn,
            **{f"size_{kind}": size(bins) for kind, bins in drawn.items()},
            "total_variation": total_variation(z_phot, z_spec, fine),
        }
    return said
