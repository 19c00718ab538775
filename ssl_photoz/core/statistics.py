"""Factors between the widths of a Gaussian."""

SIGMA_PER_MAD = 1.4826
"""Standard deviation over median absolute deviation, as sigma_NMAD defines it."""

FWHM_PER_SIGMA = 2.3548
"""Full width at half maximum over standard deviation."""
