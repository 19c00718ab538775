"""What is known of stored cutouts, and one clear message for each way it can contradict itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC

SDSS_PIXSCALE_ARCSEC = 0.396
DEFAULT_BANDS = {3: ("g", "r", "z"), 4: ("g", "r", "i", "z"), 5: ("u", "g", "r", "i", "z")}
FLUX_DTYPES = ("float16", "float32", "float64")
PER_BAND = ("psfsize", "psfdepth", "noise")
MOST_BANDS, MOST_SIDE_PX = 64, 8192
LONGEST_BAND = 40
DEGREES = ("", "deg", "degs", "degree", "degrees", "deg.", "d", "\N{DEGREE SIGN}", "none")
TRUE, FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")


@dataclass(frozen=True)
class Source:
    """What a cutout file is.

    Attributes:
        path: The file, or the folder.
        rows: Number of cutouts.
        bands: Band names, in the order of the file.
        size_px: Side of a cutout, pixels.
        pixscale_arcsec: Pixel scale, arcsec/px; NaN if it is unknown or varies from row to row.
        calibrated: Whether pixels are linear flux, nanomaggies/px; if not, display units.
        simulated: Whether the galaxies are simulated.
        dtype: Type of the stored pixels.
        read_as: Name of the format that it was read as.
        recognised: Clause that says how that format was recognised.
        notes: Whatever else a user should know of how it was read.
        extinction_corrected: Whether flux is corrected for Galactic extinction, see
            `ssl_photoz.cutouts.extinction`.
    """

    path: Path
    rows: int
    bands: tuple[str, ...]
    size_px: int
    pixscale_arcsec: float
    calibrated: bool
    simulated: bool
    dtype: str
    read_as: str = ""
    recognised: str = ""
    notes: tuple[str, ...] = ()
    extinction_corrected: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """Bands, pixel scale and calibration, as keyword arguments of what measures pixels."""
        return {
            "bands": self.bands,
            "pixscale_arcsec": self.pixscale_arcsec,
            "calibrated": self.calibrated,
        }

    @property
    def kind(self) -> dict[str, Any]:
        """What cutouts have to be alike in for one network: ``about``, and the correction."""
        return {**self.about, "extinction_corrected": self.extinction_corrected}


@dataclass(frozen=True)
class Overrides:
    """What a user states of cutouts that do not say it themselves.

    Attributes:
        bands: Band names.
        pixscale_arcsec: Pixel scale, arcsec/px.
        in_order: Whether rows will be read in increasing order only, which lets files be read
            that have no other.
    """

    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    in_order: bool = False


def describe(
    path: Path,
    overrides: Overrides,
    *,
    shape: tuple[int, int, int],
    dtype: str,
    bands: Sequence[str] | None = None,
    pixscale_arcsec: float | None = None,
    usual_pixscale_arcsec: float | None = None,
    calibrated: bool,
    simulated: bool = False,
    notes: tuple[str, ...] = (),
) -> Source:
    """Settle what a file states of its cutouts, what the user does, and what is usual.

    Args:
        path: The file or folder.
        overrides: What the user states.
        shape: Number of cutouts, number of bands, and side in pixels.
        dtype: Type of the stored pixels.
        bands: Band names that the file states.
        pixscale_arcsec: Pixel scale that the file states, arcsec/px; NaN if it varies.
        usual_pixscale_arcsec: Pixel scale where nobody states one; by default that of the Legacy
            Surveys for flux in some of g, r, i and z, else NaN.
        calibrated: Whether pixels are flux.
        simulated: Whether the galaxies are simulated.
        notes: Whatever else a user should know.

    Raises:
        DataError: If the file and the user state different things, or the number of bands is
            another.
    """
    rows, count, size_px = shape
    settled = settle_bands(path, count, bands, overrides.bands)
    if usual_pixscale_arcsec is None:
        legacy_surveys = calibrated and set(settled) <= set("griz")
        usual_pixscale_arcsec = PIXSCALE_ARCSEC if legacy_surveys else math.nan
    return Source(
        path=path,
        rows=rows,
        bands=settled,
        size_px=size_px,
        pixscale_arcsec=settle_pixscale(
            path, pixscale_arcsec, overrides.pixscale_arcsec, usual=usual_pixscale_arcsec
        ),
        calibrated=calibrated,
        simulated=simulated,
        dtype=dtype,
        notes=notes,
    )


def require_images(path: Path, shape: Sequence[int], dtype: np.dtype[Any], name: str) -> None:
    """Refuse pixels of another rank, shape or type than cutouts have.

    Args:
        path: The file, for messages.
        shape: (rows, bands, side, side).
        dtype: Type of the pixels.
        name: What they are called in the file.

    Raises:
        DataError: If they are not cutouts, or there are none.
    """
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape[1:]:
        raise DataError(
            f"{path}: `{name}` has shape {tuple(shape)}, expected (rows, bands, side, side)"
        )
    if shape[1] > MOST_BANDS or shape[2] > MOST_SIDE_PX:
        raise DataError(
            f"{path}: `{name}` has shape {tuple(shape)}, expected at most {MOST_BANDS} bands of "
            f"{MOST_SIDE_PX} px a side"
        )
    if shape[0] == 0:
        raise DataError(f"{path} holds zero cutouts (`{name}` has shape {tuple(shape)})")
    if dtype.name not in (*FLUX_DTYPES, "uint8"):
        raise DataError(
            f"{path}: `{name}` is {dtype}, expected {', '.join(FLUX_DTYPES)} "
            f"(nanomaggies/px) or uint8 (display values)"
        )


def require_degrees(path: Path, name: str, unit: object) -> None:
    """Refuse a position whose stated unit is no degree; nothing stated means degrees.

    Args:
        path: The file, for messages.
        name: Name of the column.
        unit: What the file states as its unit, if anything.

    Raises:
        DataError: If it states another one, such as ``rad`` or ``hourangle``.
    """
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit or "")
    if text.strip().lower() not in DEGREES:
        raise DataError(
            f"{path}: `{name}` is in {text[:40]!a}, expected degrees; convert it, or mend its unit"
        )


def settle_bands(
    path: Path, count: int, stated: Sequence[str] | None, asked: Sequence[str] | None
) -> tuple[str, ...]:
    """Name the bands: as stated in the file, as asked for, or as usual for their number.

    Raises:
        DataError: If the file states others than were asked for, or another number.
    """
    asked = None if asked is None else split_bands(asked, count)
    stated = None if stated is None else split_bands(stated, count)
    if asked is not None and stated is not None and asked != stated:
        raise DataError(
            f"{path} states bands {','.join(stated)}, asked for {','.join(asked)}; "
            f"leave bands out, or mend the file"
        )
    names = asked or stated or DEFAULT_BANDS.get(count)
    if names is None:
        raise DataError(f"{path} has {count} bands and does not name them; give bands=")
    if odd := [name for name in names if len(name) > LONGEST_BAND or not name.isprintable()]:
        raise DataError(f"{path} states a band {odd[0][:LONGEST_BAND]!a}..., expected short names")
    if len(names) != count or len(set(names)) != count:
        raise DataError(
            f"{path}: `images` has {count} bands, expected {len(names)} ({','.join(names)})"
        )
    return tuple(names)


def settle_pixscale(
    path: Path, stated: float | None, asked: float | None, *, usual: float = math.nan
) -> float:
    """Pixel scale, arcsec/px: as stated, as asked for, or as usual.

    Raises:
        DataError: If the file states another than was asked for.
    """
    if asked is None:
        return usual if stated is None else stated
    if stated is not None and not math.isclose(stated, asked, rel_tol=1e-3):
        raise DataError(
            f"{path} states a pixel scale of {stated:g} arcsec, asked for {asked:g}; "
            f"leave pixscale_arcsec out, or mend the file"
        )
    return asked


def parse_bands(stated: object) -> tuple[str, ...]:
    """Read ``"g,r,z"``, an array of names, or a legend such as ``"R,G,B = SDSS i,r,g"``.

    A text without a comma is one name here; `split_bands` takes it apart once their number is
    known.

    >>> parse_bands("R,G,B = SDSS i,r,g")
    ('i', 'r', 'g')
    >>> parse_bands("g r z")
    ('g r z',)
    """
    parts = [stated] if isinstance(stated, str | bytes) else np.ravel(np.asarray(stated)).tolist()
    text = ",".join(part.decode() if isinstance(part, bytes) else str(part) for part in parts)
    words = [word.strip() for word in text.rpartition("=")[2].split(",") if word.strip()]
    return tuple(words if len(words) == 1 else (word.split()[-1] for word in words))


def split_bands(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Take the one text ``"g r z"`` or ``"grz"`` apart into as many bands as there are.

    >>> split_bands(["grz"], 3), split_bands(["g r z"], 3), split_bands(["SDSS g"], 1)
    (('g', 'r', 'z'), ('g', 'r', 'z'), ('g',))
    """
    if len(names) != 1:
        return tuple(names)
    words = names[0].split()
    if count == 1 and words:
        return (words[-1],)
    if len(words) == count:
        return tuple(words)
    return tuple(words[0]) if len(words) == 1 and len(words[0]) == count else tuple(names)


def stated_truth(path: Path, stated: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """What a file states of itself as true or false: as such, as 0 or 1, or in words.

    Args:
        path: The file, for messages.
        stated: Its attributes, by name in lower case.
        name: ``calibrated`` or ``simulated``.
        default: What holds where it states nothing.

    Raises:
        DataError: If it states anything else.
    """
    if name not in stated:
        return default
    values = np.ravel(np.asarray(stated[name]))
    value = values[0].item() if values.size == 1 else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and value.strip().lower() in (*TRUE, *FALSE):
        return value.strip().lower() in TRUE
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    said = repr(stated[name])[:60]
    raise DataError(f"{path}: `{name}` is {said}, expected true or false; mend the attribute")
