"""Copy cutouts cropped, in half precision, and in one piece: smaller, and read faster.

    ssl-photoz pack data=cutouts.h5 out=packed.h5 size_px=104

The copy has every column, and every row but those that a mask rejects, and can be used wherever the
original can.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Settings of pack.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: The packed cutout file to write.
        mask: Mask that `clean` wrote for these cutouts; what it rejects is left out.
        size_px: Side of the central crop that is kept; null: all of it.
        dtype: float16 or float32; 8-bit pixels stay 8-bit.
        bands: Band names, for a file that does not state them; the copy does.
        pixscale_arcsec: Pixel scale, for a file that does not state it; the copy does.
        read_as: Name of the format, where it is not recognised.
        where: Keep the rows whose columns pass this alone, such as z <= 0.4 and mag_r < 18.
    """

    data: Path
    out: Path
    mask: Path | None = None
    size_px: int | None = None
    dtype: str = "float16"
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    read_as: str | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise ConfigError(f"dtype is {self.dtype!r}, expected float16 or float32")
        if self.where is not None and self.mask is not None:
            raise ConfigError("a mask counts the rows of the whole file: give where= or mask=")


def main(settings: Settings) -> None:
    """Pack, or say that it has been done."""
    from ssl_photoz.catalog.where import rows_where
    from ssl_photoz.core import inputs
    from ssl_photoz.cutouts.chosen import choose
    from ssl_photoz.cutouts.packing import pack
    from ssl_photoz.cutouts.reader import Cutouts

    with Cutouts.open(
        settings.data,
        bands=settings.bands,
        pixscale_arcsec=settings.pixscale_arcsec,
        read_as=settings.read_as,
        in_order=True,
    ) as cutouts:
        if settings.where is not None:
            cutouts = choose(cutouts, rows_where(settings.where, cutouts.column))
        packed = pack(
            cutouts,
            settings.out,
            size_px=settings.size_px,
            dtype=settings.dtype,
            where=settings.where,
            mask=settings.mask,
        )
    if packed is None:
        return print(f"{settings.out} is already made")
    before, after = (inputs.size_bytes(path) / 1e9 for path in (settings.data, settings.out))
    if packed.masked:
        print(f"{packed.masked} cutouts masked, listed in {settings.out.name}.rejects.parquet")
    if packed.saturated:
        print(f"{packed.saturated} cutouts had pixels brighter than float16 holds, cut to 65504")
    if packed.left_out:
        print(f"left out: {', '.join(packed.left_out)}")
    print(f"{packed.rows} cutouts, {before:.2f} GB -> {after:.2f} GB in {settings.out}")
