"""A large image of the sky: its bands, world coordinates and unit; read a window at a time.

One file a band, a cube, several extensions of one file, or the folder of a Legacy Surveys brick;
plain, or packed (``.gz``, ``.fz``).
"""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssl_photoz.catalog.sky import arcsec_of, sphere_points
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.legacy_surveys import ZEROPOINT_MAG
from ssl_photoz.core.types import Array, Bools, Doubles, Floats
from ssl_photoz.cutouts.colour import BLUE_TO_RED
from ssl_photoz.cutouts.formats.fits_image import GZIP, MOST_RATIO
from ssl_photoz.cutouts.schema import parse_bands, split_bands
from ssl_photoz.cutouts.single import celestial_wcs, pixels_of, positions_of
from ssl_photoz.fetching.settings import ImageConfig

SUFFIXES = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz", ".fit.fz")
OF_BRICK = re.compile(r"-image-(\w+)\.fits(\.fz|\.gz)?$")
BAND_AT_END = re.compile(r"[-_.]([ugrizy])\.fits?(\.fz|\.gz)?$")
LEAST_PX, MOST_PX = 16, 200_000
SAME_PLACE_PX = 0.1
ROOM_BYTES = 1 << 30  # that unpacking leaves on the disk
PIECE_BYTES = 1 << 24
NANOMAGGY = re.compile(r"(nano-?magg(y|ie)s?|nmgy)\b", re.IGNORECASE)
AB_ZEROPOINT_MAG = {"jy": 8.9, "mjy": 16.4, "ujy": 23.9, "njy": 31.4}
# Bits of a brick's maskbits, legacysurvey.org/dr10/bitmasks.
SATURATED_BITS = sum(1 << bit for bit in (2, 3, 4, 14))
MASKED_BITS = sum(1 << bit for bit in (5, 6, 7, 10, 15))


class Plane(NamedTuple):
    """Where one band lies.

    Attributes:
        path: FITS file, without gzip.
        hdu: Number of the HDU.
        layer: Plane of a cube; None: the HDU is the band.
        factor: Nanomaggies per unit of the file; 1 where it is not calibrated.
        saturation: Level, in units of the file, from which pixels are saturated.
    """

    path: Path
    hdu: int
    layer: int | None = None
    factor: float = 1.0
    saturation: float = float("inf")


@dataclass(frozen=True)
class SkyImage:
    """An image of the sky that stays on disk; made by `open_image`.

    Attributes:
        path: What it was opened from.
        bands: Names of its bands.
        shape: Height and width, pixels.
        wcs: Celestial world coordinates (astropy), distortion included.
        pixscale_arcsec: Pixel scale, arcsec/px, mean of both axes.
        calibrated: Whether `read` gives nanomaggies per pixel.
        planes: Where each band lies.
        mask: Where the mask lies; None: there is none.
        maskbits: Whether the mask is a brick's, with bits of the Legacy Surveys.
    """

    path: Path
    bands: tuple[str, ...]
    shape: tuple[int, int]
    wcs: Any
    pixscale_arcsec: float
    calibrated: bool
    planes: tuple[Plane, ...]
    mask: Plane | None = None
    maskbits: bool = False

    def as_text(self) -> str:
        """Say how the image was read."""
        unit = "nanomaggies" if self.calibrated else "NOT calibrated, units of its own"
        height, width = self.shape
        masked = "" if self.mask is None else f", masked by {self.mask.path.name}"
        return (
            f"{self.path}: {width} x {height} px of {self.pixscale_arcsec:.4g} arcsec, bands "
            f"{','.join(self.bands)}, {unit}{masked}"
        )

    def read(self, rows: slice, columns: slice, bands: Sequence[str] | None = None) -> Floats:
        """Pixels of a window, float32 (C, h, w).

        Args:
            rows: Rows, inside the image.
            columns: Columns, inside the image.
            bands: Bands wanted, in their order; None: all.
        """
        planes = [self.planes[self.bands.index(band)] for band in bands or self.bands]
        pixels = [_section(one, rows, columns).astype(np.float32) for one in planes]
        factors = np.array([one.factor for one in planes], np.float32)
        return np.stack(pixels) * factors[:, None, None]

    def flagged(self, rows: slice, columns: slice, pixels: Floats) -> tuple[Bools, Bools]:
        """Which pixels of a window are saturated, and which are masked, (h, w) each.

        Args:
            rows: Rows.
            columns: Columns.
            pixels: Result of `read` for this window, all bands.
        """
        levels = np.array([one.saturation * one.factor for one in self.planes], np.float32)
        saturated: Bools = np.any(pixels >= levels[:, None, None], axis=0)
        if self.mask is None:
            return saturated, np.zeros(saturated.shape, bool)
        bits = _section(self.mask, rows, columns)
        if not self.maskbits:
            return saturated, np.not_equal(bits, 0)
        bits = bits.astype(np.int64)
        return saturated | (bits & SATURATED_BITS != 0), np.asarray(bits & MASKED_BITS != 0)

    def positions(self, x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
        """Right ascension and declination, ICRS degrees, of places in pixels from 0, (N,)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return positions_of(self.wcs, x, y)

    def places(self, ra: Doubles, dec: Doubles) -> tuple[Doubles, Doubles]:
        """Places, pixels from 0, of ICRS positions, (N,); NaN far outside the image."""
        height, width = self.shape
        corners = np.array([[0, 0, width - 1, width - 1], [0, height - 1, 0, height - 1]], float)
        middle = self.positions(np.array([(width - 1) / 2]), np.array([(height - 1) / 2]))
        reach_deg = 1.1 * _separation_deg(middle, self.positions(*corners)).max()
        near = _separation_deg(middle, (ra, dec)) <= reach_deg  # further out, SIP has no inverse
        x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
        if near.any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                x[near], y[near] = pixels_of(self.wcs, ra[near], dec[near])
        return x, y


@contextmanager
def open_image(
    image: Path | Sequence[Path], config: ImageConfig = ImageConfig()
) -> Iterator[SkyImage]:
    """Open an image of the sky; a gzipped one is unpacked to the disk until it is closed.

    Args:
        image: FITS file, one file a band, or the folder of a Legacy Surveys brick.
        config: What the files do not state.

    Raises:
        ConfigError: If what is stated of it does not fit.
        DataError: If there is no such image, it is damaged, or has no bands, no world coordinates
            or none that fit together.
    """
    given = [Path(one) for one in ([image] if isinstance(image, str | Path) else image)]
    if not given:
        raise ConfigError("image= names no file")
    path, found_mask = given[0], None
    if len(given) == 1 and path.is_dir():
        given, found_mask = _brick_files(path)
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of astropy's, about headers that are checked here
        found = [plane for one in given for plane in _planes(one, _plain_path(one, stack), config)]
        mask_path = found_mask if config.mask is None else Path(config.mask)
        mask = None if mask_path is None else _mask_plane(mask_path, _plain_path(mask_path, stack))
        yield _together(path, found, config, mask, maskbits=config.mask is None)


class _Found(NamedTuple):
    """A plane, and what its header says."""

    plane: Plane
    band: str | None
    shape: tuple[int, int]
    wcs: Any
    calibrated: bool
    name: str


def _brick_files(folder: Path) -> tuple[list[Path], Path | None]:
    found = {
        match[1]: path for path in sorted(folder.iterdir()) if (match := OF_BRICK.search(path.name))
    }
    if not found:
        raise DataError(
            f"{folder} holds no image of a brick, expected legacysurvey-BRICK-image-g.fits.fz and "
            f"its like; name the folder of one brick, or the FITS files"
        )
    bricks = {OF_BRICK.sub("", path.name) for path in found.values()}
    if len(bricks) > 1:
        raise DataError(f"{folder} holds images of several bricks; give one folder a brick")
    order = sorted(found, key=lambda band: (BLUE_TO_RED.find(band), band))
    masks = sorted(folder.glob("*-maskbits.fits*"))
    return [found[band] for band in order], masks[0] if masks else None


def _plain_path(path: Path, stack: ExitStack) -> Path:
    """The file, or a copy without gzip that is removed when the stack is closed."""
    if not path.is_file():
        raise DataError(f"no image {path}")
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path} ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    with path.open("rb") as file:
        head = file.read(6)
    if head[:2] != GZIP:
        if head != b"SIMPLE":
            raise DataError(f"{path} is no FITS file; copy it again")
        return path
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssl-photoz-image-")))
    plain = folder / path.name.lower().removesuffix(".gz")
    _gunzip(path, plain)
    return plain


def _gunzip(path: Path, plain: Path) -> None:
    unpack, most = zlib.decompressobj(31), path.stat().st_size * MOST_RATIO
    written = 0
    try:
        with path.open("rb") as source, plain.open("wb") as target:
            while content := unpack.unconsumed_tail or source.read(PIECE_BYTES):
                piece = unpack.decompress(content, PIECE_BYTES)
                written += target.write(piece)
                if written > most or shutil.disk_usage(plain.parent).free < ROOM_BYTES:
                    raise DataError(
                        f"{path} has {written >> 20} MiB and more when unpacked, too much for the "
                        f"disk of {plain.parent}; unpack it elsewhere, or set TMPDIR"
                    )
                if unpack.eof:
                    return
    except zlib.error as error:
        raise DataError(f"{path} is damaged ({error}); copy it again") from None
    raise DataError(f"{path} is cut short; copy it again")


def _planes(path: Path, plain: Path, config: ImageConfig) -> list[_Found]:
    from astropy.io import fits

    try:
        with fits.open(plain, memmap=False) as hdus:
            images = [
                (number, hdu)
                for number, hdu in enumerate(hdus)
                if hdu.is_image and len(hdu.shape) >= 2
            ]
            for _, hdu in images:
                _require_behind(hdu, plain.stat().st_size)
            chosen = _chosen(path, images, config)
            return [
                plane
                for number, hdu in chosen
                for plane in _of_hdu(path, plain, number, hdu, config)
            ]
    except (DataError, ConfigError):
        raise
    except Exception as error:  # a damaged header makes the reader raise whatever comes
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(f"{path} is damaged ({detail}); copy it again") from None


def _require_behind(hdu: Any, size: int) -> None:  # noqa: ANN401 - astropy
    info = hdu.fileinfo()
    ends = info["datLoc"] + hdu.size
    claimed, packed = int(np.prod(hdu.shape)), hasattr(hdu, "tile_shape")
    if (ends > size and not packed) or (packed and claimed > MOST_RATIO * size):
        raise DataError(
            f"{hdu.name or 'the image'} claims {claimed} pixels, its file has {size} bytes: "
            f"truncated; copy it again"
        )


def _chosen(
    path: Path, images: list[tuple[int, Any]], config: ImageConfig
) -> list[tuple[int, Any]]:
    """The extensions that are asked for, or those that can be meant."""
    listed = ", ".join(
        f"{number} {hdu.name or '(no name)'} {'x'.join(map(str, hdu.shape))}"
        for number, hdu in images
    )
    if not images:
        raise DataError(f"{path} holds no image")
    if config.extensions is not None:
        by_name = {str(key): one for one in images for key in (one[0], one[1].name)}
        lacking = [name for name in config.extensions if name not in by_name]
        if lacking:
            raise ConfigError(f"{path} has no image {', '.join(lacking)}; it holds {listed}")
        return [by_name[name] for name in config.extensions]
    bands = [_stated_band(hdu) for _, hdu in images]
    if len(images) == 1 or (None not in bands and len({*bands}) == len(bands)):
        return images
    raise DataError(
        f"{path} holds several images: {listed}; say which are the bands with extensions="
    )


def _of_hdu(path: Path, plain: Path, number: int, hdu: Any, config: ImageConfig) -> list[_Found]:  # noqa: ANN401
    shape = tuple(hdu.shape)
    if len(shape) > 3 or not all(LEAST_PX <= side <= MOST_PX for side in shape[-2:]):
        raise DataError(
            f"{path} holds an array of shape {shape}, expected (height, width) or (bands, height, "
            f"width) of {LEAST_PX} to {MOST_PX} px a side"
        )
    header = hdu.header
    wcs = celestial_wcs(header)
    if not wcs.has_celestial:
        raise DataError(
            f"{path} has no world coordinates (CTYPE, CRVAL, CD), which positions come from; add "
            f"them to its header, by astrometry.net for example"
        )
    factor = _nanomaggies(header, config)
    level = float(header.get("SATURATE", "inf")) if config.saturation is None else config.saturation
    plane = Plane(plain, number, None, factor or 1.0, level)
    if len(shape) == 2:
        band = _stated_band(hdu) or _band_of_name(path)
        return [_Found(plane, band, shape, wcs, factor is not None, path.name)]
    stated = header.get("BANDS")
    names: Sequence[str | None] = [None] * shape[0]
    if isinstance(stated, str) and stated.strip():
        names = split_bands(parse_bands(stated), shape[0]) or names
    return [
        _Found(plane._replace(layer=layer), name, shape[1:], wcs, factor is not None, path.name)
        for layer, name in enumerate(names)
    ]


def _stated_band(hdu: Any) -> str | None:  # noqa: ANN401 - astropy
    for key in ("BAND", "FILTER", "FILTNAM", "BANDS"):
        stated = hdu.header.get(key)
        if isinstance(stated, str) and stated.strip():
            return stated.split()[0]
    name = str(hdu.name).strip().lower()
    return name if name and name in BLUE_TO_RED and len(name) == 1 else None


def _band_of_name(path: Path) -> str | None:
    found = OF_BRICK.search(path.name) or BAND_AT_END.search(path.name)
    return found[1] if found else None


def _nanomaggies(header: Any, config: ImageConfig) -> float | None:  # noqa: ANN401 - astropy
    """Nanomaggies per unit of the file; None where that is not known."""
    unit = str(header.get("BUNIT", "")).strip()
    zeropoint = config.zeropoint_mag
    if zeropoint is None:
        if NANOMAGGY.match(unit):
            return 1.0
        zeropoint = AB_ZEROPOINT_MAG.get(unit.lower())
    return None if zeropoint is None else float(10 ** (0.4 * (ZEROPOINT_MAG - zeropoint)))


def _mask_plane(path: Path, plain: Path) -> Plane:
    from astropy.io import fits

    try:
        with fits.open(plain, memmap=False) as hdus:
            for number, hdu in enumerate(hdus):
                if hdu.is_image and len(hdu.shape) == 2:
                    _require_behind(hdu, plain.stat().st_size)
                    return Plane(plain, number)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"mask {path} is damaged ({type(error).__name__}); copy it again") from None
    raise DataError(f"mask {path} holds no image of two axes")


def _together(
    path: Path, found: list[_Found], config: ImageConfig, mask: Plane | None, *, maskbits: bool
) -> SkyImage:
    from astropy.wcs.utils import proj_plane_pixel_scales

    first = found[0]
    for one in found[1:]:
        if one.shape != first.shape or not _same_grid(first, one):
            raise DataError(
                f"{one.name} and {first.name} have not the same pixels ({_size(one.shape)} and "
                f"{_size(first.shape)}, or other world coordinates); resample one to the other, by "
                f"reproject for example"
            )
    if mask is not None:
        _require_mask(mask, first.shape)
    positions_of(first.wcs, np.zeros(1), np.zeros(1))  # refuses a frame that cannot be converted
    return SkyImage(
        path=path,
        bands=_band_names(path, [one.band for one in found], config),
        shape=first.shape,
        wcs=first.wcs,
        pixscale_arcsec=3600 * float(np.mean(proj_plane_pixel_scales(first.wcs))),
        calibrated=all(one.calibrated for one in found),
        planes=tuple(one.plane for one in found),
        mask=mask,
        maskbits=maskbits,
    )


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]} px"


def _same_grid(first: _Found, other: _Found) -> bool:
    height, width = first.shape
    x = np.array([0.0, width - 1, 0, width - 1, width / 2])
    y = np.array([0.0, 0, height - 1, height - 1, height / 2])
    try:
        at = pixels_of(other.wcs, *positions_of(first.wcs, x, y))
    except Exception:  # no inverse: another piece of sky
        return False
    return bool(np.hypot(at[0] - x, at[1] - y).max() < SAME_PLACE_PX)


def _band_names(path: Path, found: list[str | None], config: ImageConfig) -> tuple[str, ...]:
    names = list(found) if config.band_names is None else list(config.band_names)
    if len(names) != len(found):
        raise ConfigError(f"{path} has {len(found)} bands, band_names has {len(names)}")
    stated = [name for name in names if name]
    if len(stated) < len(names):
        raise DataError(
            f"{path} has {len(names)} band{'s' * (len(names) > 1)} and does not state "
            f"{'their names' if len(names) > 1 else 'its name'}; give band_names="
        )
    if len({*stated}) < len(stated):
        raise DataError(f"{path} has bands {', '.join(stated)}, expected each once")
    return tuple(stated)


def _require_mask(mask: Plane, shape: tuple[int, int]) -> None:
    from astropy.io import fits

    with fits.open(mask.path, memmap=False) as hdus:
        found = tuple(hdus[mask.hdu].shape)
    if found != shape:
        raise DataError(f"mask {mask.path.name} is {_size(found)}, the image {_size(shape)}")


def _section(plane: Plane, rows: slice, columns: slice) -> Array:
    from astropy.io import fits

    with warnings.catch_warnings(), fits.open(plane.path, memmap=False) as hdus:
        warnings.simplefilter("ignore")
        section = hdus[plane.hdu].section
        try:
            cut = (
                section[rows, columns]
                if plane.layer is None
                else section[plane.layer, rows, columns]
            )
        except OSError:
            raise
        except Exception as error:  # damaged tiles make the reader raise whatever comes
            raise DataError(
                f"{plane.path.name} is damaged ({type(error).__name__}); copy it again"
            ) from None
    return np.asarray(cut)


def _separation_deg(one: tuple[Array, Array], other: tuple[Array, Array]) -> Doubles:
    return arcsec_of(np.linalg.norm(sphere_points(*one) - sphere_points(*other), axis=-1)) / 3600
