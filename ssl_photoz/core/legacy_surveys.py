"""Numbers of the DESI Legacy Imaging Surveys, Data Release 9."""

PIXSCALE_ARCSEC = 0.262
"""Pixel scale of the coadds, arcsec/px."""

ZEROPOINT_MAG = 22.5
"""AB magnitude of one nanomaggie."""

EXTINCTION_PER_EBV = {"g": 3.214, "r": 2.165, "i": 1.592, "z": 1.211}
"""A / E(B-V) for SFD98 values, https://www.legacysurvey.org/dr9/catalogs."""

NORTH_DEC_DEG = 32.375
"""Declination that parts BASS and MzLS from DECam, north of the Galactic plane."""
