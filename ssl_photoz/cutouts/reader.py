"""Read cutout files lazily: only the rows asked for, and only their central pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ssl_photoz.core.errors import ConfigError, DataError, SslPhotozError
from ssl_photoz.core.statistics import FWHM_PER_SIGMA
from ssl_photoz.core.types import Array, Doubles, Floats, Ints, PathLike
from ssl_photoz.cutouts.formats import registry
from ssl_photoz.cutouts.formats.hdf5 import damaged
from ssl_photoz.cutouts.formats.stored import KnowsFaults, Stored
from ssl_photoz.cutouts.schema import Overrides, Source

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_photoz.encoders.readout import Conditions

__all__ = ["Cutouts", "Source", "open_cutouts"]

ALWAYS = ("id", "ra", "dec", "z")


class Cutouts:
    """Cutouts of any format, with their catalogue columns.

    Pixels are read when asked for; files are opened again in every process that reads, so
    an instance can be pickled and survives a fork. Slicing reads whole cutouts as an array:
    ``cutouts[10:20]``, ``cutouts[cutouts.z > 0.3]`` and ``cutouts[[4, 1]]`` are (B, C, H, W),
    ``cutouts[4]`` is (C, H, W).

    Args:
        stored: The cutouts as their format stores them.

    Attributes:
        source: What they are.
        stored: The stored cutouts underneath.
        columns: Names of the columns; ``id``, ``ra``, ``dec`` and ``z`` are always there.
        ids_are_rows: Whether ``id`` is the row number, for want of one in the file.
        feeds_gpu: Whether `tensor` gives pixels on their way to a GPU, in half precision.
    """

    feeds_gpu: ClassVar[bool] = False

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.source = stored.source
        self._cache: dict[str, Array] = {}
        self.ids_are_rows = "id" not in stored.columns
        derived = ["noise"] if "noise" not in stored.columns and self._has_depth else []
        others = [name for name in stored.columns if name not in ALWAYS and name.isprintable()]
        self.columns = (*ALWAYS, *others, *derived)
        if stored.left_out:
            some = ", ".join(ascii(name)[1:-1][:100] for name in stored.left_out[:8])
            note = f"not read, {len(stored.left_out)}: {some}"
            self.source = replace(self.source, notes=(*self.source.notes, note))
        if odd := [name for name in stored.columns if not name.isprintable()]:
            note = f"left out: {len(odd)} columns with unprintable names, such as {odd[0][:40]!a}"
            self.source = replace(self.source, notes=(*self.source.notes, note))

    @classmethod
    def open(
        cls,
        path: PathLike | Cutouts,
        *,
        bands: Sequence[str] | None = None,
        pixscale_arcsec: float | None = None,
        read_as: str | None = None,
        in_order: bool = False,
    ) -> Cutouts:
        """Open cutouts and check their layout.

        Args:
            path: A file or folder in one of the formats of ``docs/formats.md``; or cutouts, which
                are given back.
            bands: Band names, for a file that does not state them. By default ``g,r,z`` for
                three bands, ``g,r,i,z`` for four and ``u,g,r,i,z`` for five.
            pixscale_arcsec: Pixel scale, arcsec/px, for a file that does not state it. By
                default that of the survey, where the format or the bands tell; else NaN.
            read_as: Name of the format; recognised by default.
            in_order: Rows will be asked for in increasing order only. Files that can be read in
                no other way are refused without it.

        Raises:
            ConfigError: If something is stated of cutouts that are open.
            DataError: If it cannot be used; the message says why.
        """
        if isinstance(path, Cutouts):
            if (bands, pixscale_arcsec, read_as) != (None, None, None):
                raise ConfigError(
                    f"{path.source.path} is open: bands, pixscale_arcsec and read_as are stated "
                    f"when it is opened"
                )
            return path
        overrides = Overrides(None if bands is None else tuple(bands), pixscale_arcsec, in_order)
        with damage_reported(Path(path)):
            return cls(registry.open_stored(Path(path), overrides, read_as=read_as))

    def __len__(self) -> int:
        return self.source.rows

    def __repr__(self) -> str:
        source = self.source
        return (
            f"Cutouts({source.path}: {len(self)} of {source.size_px} px in {','.join(source.bands)}"
            f", {source.pixscale_arcsec:g} arcsec/px, {source.dtype}"
            f"{'' if source.calibrated else ', display values'}"
            f"{', corrected for extinction' if source.extinction_corrected else ''}"
            f"{', SIMULATED' if source.simulated else ''})"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:  # noqa: ANN401
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: int | slice | Sequence[int] | Array) -> Array:
        if isinstance(rows, Sequence):
            rows = np.asarray(rows, None if rows else np.int64)
        wanted: Array = np.arange(len(self))[rows]
        pixels = self.read(np.atleast_1d(wanted))
        return pixels if wanted.ndim else pixels[0]

    @property
    def is_subset(self) -> bool:
        """Whether these are some of the rows of what ``source.path`` names."""
        return bool(getattr(self.stored, "is_subset", False))

    @property
    def id(self) -> Array:
        """Identifiers, integers or strings, shape (N,); row numbers where the file has none."""
        return self.column("id")

    @property
    def ra(self) -> Doubles:
        """Right ascension, degrees, shape (N,); NaN where unknown."""
        return self.column("ra")

    @property
    def dec(self) -> Doubles:
        """Declination, degrees, shape (N,); NaN where unknown."""
        return self.column("dec")

    @property
    def z(self) -> Array:
        """Spectroscopic redshifts, shape (N,); NaN where unknown."""
        return self.column("z")

    def column(self, name: str) -> Array:
        """Column of any name, shape (N,) or (N, M), in the byte order of this machine.

        Without a stored one, ``id`` is the row number, ``ra``, ``dec`` and ``z`` are NaN, and
        ``noise`` is derived from depth and width of the PSF where only they are there.

        Raises:
            DataError: If there is no such column, or it cannot be read.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.source.path} has no column {name!r}; it has {', '.join(self.columns)}"
            )
        if name not in self._cache:
            self._cache[name] = self._make_column(name)
        return self._cache[name]

    def column_or_nan(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Column as float32, or NaN of the given shape where the file lacks it.

        Raises:
            DataError: If the column is there but has another shape.
        """
        if name not in self.columns:
            return np.full(shape, np.nan, np.float32)
        values = self.column(name)
        if values.shape != shape:
            raise DataError(
                f"{self.source.path}: column {name!r} has shape {values.shape}, expected {shape}"
            )
        return values.astype(np.float32)

    def read(self, rows: Ints | Sequence[int], *, size_px: int | None = None) -> Array:
        """Read cutouts in the order asked for; rows may repeat.

        Args:
            rows: Row numbers, shape (B,).
            size_px: Side of the central crop; the whole cutout by default.

        Returns:
            Pixels, shape (B, C, size_px, size_px), of the stored type.

        Raises:
            DataError: If a row is not in the file, the crop is larger than the cutout, or the
                pixels cannot be read.
        """
        rows = np.asarray(rows, np.int64)
        side = self.source.size_px if size_px is None else size_px
        if not 0 < side <= self.source.size_px:
            raise DataError(
                f"{self.source.path}: asked for {side} px, cutouts have {self.source.size_px} px"
            )
        if rows.size and not (0 <= rows.min() and rows.max() < len(self)):
            raise DataError(
                f"{self.source.path} has rows 0 to {len(self) - 1}, asked for rows "
                f"{rows.min()} to {rows.max()}"
            )
        low = (self.source.size_px - side) // 2
        crop = slice(low, low + side)
        pixels = np.empty((len(rows), len(self.source.bands), side, side), self.source.dtype)
        with damage_reported(self.source.path):
            self.stored.read(rows, pixels, crop)
        return pixels

    def tensor(self, rows: Ints | Sequence[int], *, size_px: int | None = None) -> Tensor:
        """Pixels as `read` gives them, as a tensor (B, C, size_px, size_px).

        Raises:
            DataError: If they cannot be read.
        """
        import torch

        return torch.from_numpy(self.read(rows, size_px=size_px))

    def conditions(self, rows: Ints) -> Conditions:
        """E(B-V), PSF and noise of rows (B,), as the columns ``ebv``, ``psfsize`` and ``noise``."""
        import torch

        from ssl_photoz.encoders.readout import Conditions

        def known(name: str, *shape: int) -> Tensor:
            if name not in self.columns:
                return torch.full(shape, torch.nan)
            return torch.from_numpy(self.column(name)[rows].astype(np.float32))

        count, bands = len(rows), len(self.source.bands)
        return Conditions(
            ebv_mag=known("ebv", count),
            psf_fwhm_arcsec=known("psfsize", count, bands),
            noise=known("noise", count, bands),
        )

    def dereddened(self, *, otherwise_mag: float | None = None) -> Cutouts:
        """Cutouts with flux and noise corrected for Galactic extinction.

        Each band is divided by ``10**(-0.4 * r_band * ebv)`` of the galaxy's own ``ebv``. Where
        that is not known, or is outside 0 to 5 mag, the median of the file stands in;
        ``source.notes`` says of how many. Cutouts that are corrected already are given back.

        Args:
            otherwise_mag: E(B-V) to take for all, mag, if the file states none.

        Raises:
            DataError: If no E(B-V) is known, a band has no known extinction, or pixels are display
                values.
        """
        from ssl_photoz.cutouts.extinction import Dereddened

        if self.source.extinction_corrected:
            return self
        return Cutouts(Dereddened(self.stored, otherwise_mag=otherwise_mag))

    def faults(self, rows: Ints) -> dict[int, str]:
        """Say which of the rows their source holds to be useless, and why.

        Ask after reading them: some faults show only then.

        Args:
            rows: Row numbers, shape (B,).
        """
        if not isinstance(self.stored, KnowsFaults):
            return {}
        with damage_reported(self.source.path):
            return self.stored.faults(rows)

    def close(self) -> None:
        """Close what is open; the next read opens it again."""
        self.stored.close()

    def __enter__(self) -> Cutouts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    @property
    def _has_depth(self) -> bool:
        return {"psfdepth", "psfsize"} <= set(self.stored.columns)

    def _make_column(self, name: str) -> Array:
        if name in self.stored.columns:
            return self._stored_column(name)
        if name == "id":
            return np.arange(len(self), dtype=np.int64)
        if name in ALWAYS:
            return np.full(len(self), np.nan, np.float32 if name == "z" else np.float64)
        return noise_from_depth(
            self.column("psfdepth"),
            self.column("psfsize"),
            pixscale_arcsec=self.source.pixscale_arcsec,
        )

    def _stored_column(self, name: str) -> Array:
        with damage_reported(self.source.path):
            return self.stored.column(name)


open_cutouts = Cutouts.open


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn whatever a decoder says of bytes that it does not understand into one line.

    Raises:
        DataError: Instead.
    """
    try:
        yield
    except SslPhotozError:
        raise
    except Exception as error:
        raise damaged(path, error) from error


def noise_from_depth(psfdepth: Array, psfsize: Array, *, pixscale_arcsec: float) -> Floats:
    """Per-pixel noise from the depth of a point source.

    A Gaussian PSF of width s pixels spreads a point source over 4 pi s² pixels of noise, so
    ``1 / noise² = psfdepth * 4 pi s²`` [1].

    Args:
        psfdepth: Inverse variance of a point source's flux, 1/nanomaggies², shape (N, C).
        psfsize: FWHM of the PSF, arcsec, shape (N, C).
        pixscale_arcsec: Pixel scale, arcsec/px.

    Returns:
        Standard deviation, nanomaggies/px, shape (N, C); NaN where depth or size is not positive.

    References:
        [1] Stein et al. 2022, ApJ 932, 107, and its code (ssl-legacysurvey).
    """
    sigma_px = np.asarray(psfsize, np.float64) / FWHM_PER_SIGMA / pixscale_arcsec
    inverse_variance = np.asarray(psfdepth, np.float64) * 4 * np.pi * sigma_px**2
    usable = np.isfinite(inverse_variance) & (inverse_variance > 0)
    return np.where(usable, 1 / np.sqrt(np.where(usable, inverse_variance, 1)), np.nan).astype("f4")


open_cutouts = Cutouts.open
