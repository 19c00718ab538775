"""Copies of cutouts: another format, cropped, in half precision, some of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.types import PathLike

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts

HDF5 = (".h5", ".hdf5")


def convert(
    data: PathLike | Cutouts,
    out: PathLike,
    *,
    mask: PathLike | None = None,
    where: str | None = None,
    size_px: int | None = None,
    dtype: str | None = None,
    bands: tuple[str, ...] | None = None,
    pixscale_arcsec: float | None = None,
    read_as: str | None = None,
    dust: str = "none",
    shard_rows: int = 4096,
) -> Cutouts:
    """Copy cutouts of any format, or a dataset of several files: exactly, or smaller.

        ssl-photoz convert data=images_npix152_000000000.h5 out=cutouts.h5
        ssl-photoz convert data=surveys.yaml out=cutouts_parquet
        ssl-photoz convert data=cutouts.h5 out=packed.h5 size_px=104 dtype=float16
        ssl-photoz convert data=cutouts.h5 out=with_ebv.h5 dust=auto

    To the challenge's HDF5, or to a folder of Parquet as the Multimodal Universe lays it out. No
    bit is lost unless ``size_px`` or ``dtype`` ask for it; such a packed copy has every column, is
    read faster, and can be used wherever the original can. An HDF5 file appears when it is
    complete; an interrupted folder is continued by the same command.

    Turned views of crop_px shifted by jitter_px need (crop_px + 2 jitter_px) * 1.42 pixels: 104
    for 64 and 4, 126 for 80 and 4. Smaller ones are reflected.

    Args:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: What to write: a file that ends in .h5 or .hdf5, or else a folder of Parquet.
        mask: Mask that `inspect` wrote for these cutouts; what it rejects is left out. HDF5 only.
        where: Condition on the columns that rows must pass, such as z <= 0.4 and mag_r < 18.
        size_px: Side of the central crop that is kept; null: all of it.
        dtype: Type of the pixels, float16 or float32; null: as they are. float16 is off by 0.05 %
            of a pixel or of its noise at most; 8-bit pixels stay 8-bit. HDF5 only.
        bands: Band names, where they are not stated; the copy states them.
        pixscale_arcsec: Pixel scale, where it is not stated; the copy states it.
        read_as: Name of the format, where it is not recognised.
        dust: Source of a column of E(B-V): auto, catalogue (their own columns), sfdmap2, dustmaps;
            none adds nothing. Pixels stay as they are seen.
        shard_rows: Rows of a Parquet file.

    Returns:
        The copy.

    Raises:
        ConfigError: If a setting makes no copy.
        DataError: If the cutouts cannot be read, the crop does not fit, the disk is too small, or
            the pixels are too faint for half precision.
        MismatchError: If another copy is in the way, or the mask was made for other data.
    """
    from ssl_photoz.catalog.where import rows_where
    from ssl_photoz.core import inputs
    from ssl_photoz.cutouts.packing import Packed, kept_size, pack
    from ssl_photoz.cutouts.parquet_out import Parquet, write_parquet
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.cutouts.subset import subset
    from ssl_photoz.fetching.dust import require_dust, with_reddening

    out = Path(out)
    require_dust(dust)
    _require_settings(out, mask=mask, where=where, dtype=dtype, shard_rows=shard_rows)
    about: dict[str, Any] = {"bands": bands, "pixscale_arcsec": pixscale_arcsec, "read_as": read_as}
    made: Packed | Parquet | None
    with Cutouts.open(data, **about, in_order=True) as cutouts:
        source = cutouts.source
        print(f"read as {source.read_as}: {source.recognised}")
        for note in source.notes:
            print(f"  {note}")
        side = kept_size(source, size_px)
        if where is not None:
            cutouts = subset(cutouts, rows_where(where, cutouts.column))
        cutouts = with_reddening(cutouts, dust)
        if dust != "none":
            print(f"  E(B-V)     {cutouts.stored.attributes['ebv_source']}")
        if out.suffix in HDF5:
            dtype = dtype or source.dtype
            made = pack(cutouts, out, size_px=side, dtype=dtype, where=where, mask=mask, dust=dust)
        else:
            config = {"data": source.path, "out": out, "size_px": size_px, "where": where, **about}
            config |= {"shard_rows": shard_rows, **({} if dust == "none" else {"dust": dust})}
            made = write_parquet(cutouts, out, size_px=side, shard_rows=shard_rows, config=config)
    if made is None:
        print(f"{out} is already made")
        return Cutouts.open(out)
    if isinstance(made, Packed) and made.masked:
        print(f"{made.masked} cutouts masked, listed in {out.name}.rejects.parquet")
    if isinstance(made, Packed) and made.saturated:
        print(f"{made.saturated} cutouts had pixels brighter than float16 holds, cut to 65504")
    if made.left_out:
        print(f"left out: {', '.join(made.left_out)}")
    before, after = (inputs.size_bytes(path) / 1e9 for path in (source.path, out))
    print(f"{source.rows} cutouts in, {made.rows} written to {out}, {before:.2f} -> {after:.2f} GB")
    return Cutouts.open(out)


def _require_settings(
    out: Path,
    *,
    mask: PathLike | None,
    where: str | None,
    dtype: str | None,
    shard_rows: int,
) -> None:
    if shard_rows < 1:
        raise ConfigError(f"shard_rows is {shard_rows}, expected at least 1")
    if dtype not in (None, "float16", "float32"):
        raise ConfigError(f"dtype is {dtype!r}, expected float16 or float32")
    if where is not None and mask is not None:
        raise ConfigError("a mask counts the rows of the whole file: give where= or mask=")
    if out.suffix and out.suffix not in (*HDF5, ".parquet"):
        raise ConfigError(
            f"out={out} ends in {out.suffix}, expected {', '.join(HDF5)}, or no "
            f"suffix for a folder of Parquet"
        )
    if out.suffix not in HDF5 and (mask is not None or dtype is not None):
        raise ConfigError(
            f"mask= and dtype= make a copy in HDF5, out={out} would be a folder of Parquet; give "
            f"an out= that ends in {' or '.join(HDF5)}"
        )
