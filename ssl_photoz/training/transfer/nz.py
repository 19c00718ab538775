"""How well the redshift distribution of a survey is recovered."""

from __future__ import annotations

import numpy as np

from ssl_photoz.core.types import Array


def compare_nz(z_phot: Array, z_spec: Array) -> dict[str, float]:
    """Compare N(z) of estimates with that of true redshifts.

    Args:
        z_phot: Shape (N,).
        z_spec: Shape (M,).

    Returns:
        ``nz_wasserstein``: area between the cumulative distributions, in redshift;
        ``nz_ks``: their largest distance; ``nz_mean_shift`` and ``nz_width_ratio``: mean less
        mean, and standard deviation over standard deviation.
    """
    from scipy.stats import ks_2samp, wasserstein_distance

    width = float(np.std(z_spec))
    return {
        "nz_wasserstein": float(wasserstein_distance(z_phot, z_spec)),
        "nz_ks": float(ks_2samp(z_phot, z_spec).statistic),
        "nz_mean_shift": float(np.mean(z_phot) - np.mean(z_spec)),
        "nz_width_ratio": float(np.std(z_phot)) / width if width > 0 else float("nan"),
    }
