"""How sources are found in an image, and how much of it is looked at at a time."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class DetectionConfig:
    """What a source is, after SExtractor (Bertin & Arnouts 1996, A&AS 117, 393).

    Attributes:
        threshold_sigma: Least signal of a pixel of a source in the smoothed sum of the bands, in
            its noise.
        min_pixels: Fewest neighbouring pixels above the threshold.
        smoothing_arcsec: FWHM of the Gaussian that the image is smoothed with to find sources;
            best that of a star.
        deblend_levels: Number of levels between threshold and peak at which a blend may part.
        deblend_contrast: Least share of a blend's light that is a source of its own; 1: blends
            are left whole.
        mesh_px: Side of the squares in which background and noise are measured; several times that
            of the largest galaxy of interest.
        bands: Bands that sources are looked for in, each in units of its noise; empty: all.
        tile_px: Side of the square that is searched at a time; the memory taken is about
            100 bytes for each of its pixels, and more around very large galaxies.
        overlap_px: Width of its margin; wider than most galaxies.
    """

    threshold_sigma: float = 4.0
    min_pixels: int = 5
    smoothing_arcsec: float = 1.2
    deblend_levels: int = 32
    deblend_contrast: float = 0.005
    mesh_px: int = 128
    bands: tuple[str, ...] = ()
    tile_px: int = 2048
    overlap_px: int = 256

    def __post_init__(self) -> None:
        checks = {
            "threshold_sigma": (0.5 <= self.threshold_sigma <= 1000, "0.5 to 1000"),
            "min_pixels": (1 <= self.min_pixels <= 10_000, "1 to 10000"),
            "smoothing_arcsec": (0 < self.smoothing_arcsec <= 60, "above 0, at most 60"),
            "deblend_levels": (1 <= self.deblend_levels <= 256, "1 to 256"),
            "deblend_contrast": (0 <= self.deblend_contrast <= 1, "0 to 1"),
            "mesh_px": (8 <= self.mesh_px <= 4096, "8 to 4096"),
            "bands": (len(self.bands) == len(set(self.bands)), "each band once"),
            "tile_px": (64 <= self.tile_px <= 16_384, "64 to 16384"),
            "overlap_px": (8 <= self.overlap_px <= 4096, "8 to 4096"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")
