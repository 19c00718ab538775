"""What a fetched cutout is to be, how an image is read, and how a cutout service is asked."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC

FLOAT_BYTES = 4


@dataclass(frozen=True)
class FrameConfig:
    """Bands, size and pixel scale of a cutout.

    Attributes:
        bands: Band names, one letter each.
        size_px: Side of a cutout.
        pixscale_arcsec: Pixel scale; another than 0.262 is resampled by the service, and the
            file is marked as not calibrated.
        max_blank: Greatest share of a band's pixels that may be exactly zero; a cutout with more
            is rejected.
    """

    bands: tuple[str, ...] = ("g", "r", "z")
    size_px: int = 128
    pixscale_arcsec: float = PIXSCALE_ARCSEC
    max_blank: float = 0.1

    def __post_init__(self) -> None:
        checks = {
            "bands": (0 < len(self.bands) == len(set(self.bands)), "each band once"),
            "size_px": (1 <= self.size_px <= 3000, "1 to 3000"),
            "pixscale_arcsec": (0.05 <= self.pixscale_arcsec <= 20, "0.05 to 20"),
            "max_blank": (0 <= self.max_blank <= 1, "0 to 1"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a cutout, (C, H, W)."""
        return len(self.bands), self.size_px, self.size_px

    @property
    def nbytes(self) -> int:
        """Bytes of a cutout in float32."""
        return FLOAT_BYTES * len(self.bands) * self.size_px**2

    @property
    def native(self) -> bool:
        """Whether pixels are those of the coadds, so that their unit is nanomaggies per pixel."""
        return abs(self.pixscale_arcsec / PIXSCALE_ARCSEC - 1) < 1e-3


@dataclass(frozen=True)
class ImageConfig:
    """What the files of a large image do not state of it, or state wrongly.

    Attributes:
        band_names: Names of its bands, in the order of files, extensions or planes; null: as the
            files state them.
        extensions: Names or numbers of the extensions that are its bands, where a file has several
            images; null: those that state different bands.
        zeropoint_mag: AB magnitude of one unit of its pixels; null: as BUNIT says, for
            nanomaggies and janskys.
        saturation: Level, in units of its pixels, from which these are saturated; null: SATURATE
            of each header, or none.
        mask: FITS image of the same size, in which bad pixels are not zero; null: the maskbits
            of a brick, or none.
    """

    band_names: tuple[str, ...] | None = None
    extensions: tuple[str, ...] | None = None
    zeropoint_mag: float | None = None
    saturation: float | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        checks = {
            "band_names": (
                self.band_names is None
                or (0 < len(self.band_names) == len(set(self.band_names)) and all(self.band_names)),
                "each band once",
            ),
            "extensions": (
                self.extensions is None or 0 < len(self.extensions) == len(set(self.extensions)),
                "each extension once",
            ),
            "zeropoint_mag": (
                self.zeropoint_mag is None or -50 <= self.zeropoint_mag <= 100,
                "-50 to 100",
            ),
            "saturation": (self.saturation is None or self.saturation > 0, "above 0"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")


@dataclass(frozen=True)
class ServiceConfig:
    """Address of a cutout service, and the manners it is asked with.

    Attributes:
        url: Address of the service, up to the question mark.
        contact: Your e-mail address or page, for those who run the service.
        per_second: Greatest number of requests per second.
        connections: Number of connections at the same time.
        tries: Number of times that each cutout is asked for.
        timeout_s: Longest wait for the last byte of an answer.
        back_off_s: First wait after a failure; doubles each time.
        longest_wait_s: Longest wait that the service may ask for.
    """

    url: str = "https://www.legacysurvey.org/viewer/fits-cutout"
    contact: str = ""
    per_second: float = 4.0
    connections: int = 2
    tries: int = 6
    timeout_s: float = 60.0
    back_off_s: float = 1.0
    longest_wait_s: float = 600.0

    def __post_init__(self) -> None:
        checks = {
            "url": (self.url.startswith(("http://", "https://")), "http://... or https://..."),
            "contact": (self.contact.isascii() and self.contact.isprintable(), "plain ASCII"),
            "per_second": (0 < self.per_second <= 1000, "above 0, at most 1000"),
            "connections": (1 <= self.connections <= 16, "1 to 16"),
            "tries": (1 <= self.tries <= 100, "1 to 100"),
            "timeout_s": (0 < self.timeout_s <= 3600, "above 0, at most 3600"),
            "back_off_s": (0 < self.back_off_s <= 3600, "above 0, at most 3600"),
            "longest_wait_s": (self.longest_wait_s >= 0, "0 or more"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"service.{name} is {getattr(self, name)!r}, expected {expected}")
