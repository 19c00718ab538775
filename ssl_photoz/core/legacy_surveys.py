"""Numbers of the DESI Legacy Imaging Surveys, Data Release 9."""

PIXSCALE_ARCSEC = 0.262
"""Pixel scale of the coadds, arcsec/px."""

ZEROPOINT_MAG = 22.5
"""AB magnitude of one nanomaggie."""

NORTH_DEC_DEG = 32.375
"""Declination that parts BASS and MzLS from DECam, north of the Galactic plane."""
