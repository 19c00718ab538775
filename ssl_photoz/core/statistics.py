"""Factors between the widths of a Gaussian."""

import math

SIGMA_PER_MAD = 1.4826
"""Standard deviation over median absolute deviation, as sigma_NMAD defines it."""

FWHM_PER_SIGMA = math.sqrt(8 * math.log(2))
"""Full width at half maximum over standard deviation, 2.35482."""
