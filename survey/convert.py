"""Copy cutouts of any format, or a dataset of several files, without losing a bit.

    ssl-photoz convert data=images_npix152_000000000.h5 out=cutouts.h5
    ssl-photoz convert data=surveys.yaml out=cutouts_parquet

To the challenge's HDF5, or to a folder of Parquet as the Multimodal Universe lays it out. An HDF5
file appears when it is complete; a folder, interrupted, is gone on with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core.errors import ConfigError

HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True)
class Settings:
    """Settings of convert.

    Attributes:
        data: Cutouts: a file or folder of any format, or a dataset YAML.
        out: What to write: a file that ends in .h5 or .hdf5, or else a folder of Parquet.
        size_px: Side of the central crop that is kept; null: all of it.
        read_as: Name of the format, where it is not recognised.
        bands: Band names, where they are not stated; the copy states them.
        pixscale_arcsec: Pixel scale, where it is not stated; the copy states it.
        shard_rows: Rows of a Parquet file.
    """

    data: Path
    out: Path
    size_px: int | None = None
    read_as: str | None = None
    bands: tuple[str, ...] | None = None
    pixscale_arcsec: float | None = None
    shard_rows: int = 4096

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise ConfigError(f"shard_rows is {self.shard_rows}, expected at least 1")
        if self.out.suffix and self.out.suffix not in (*HDF5, ".parquet"):
            raise ConfigError(
                f"out={self.out} ends in {self.out.suffix}, expected {', '.join(HDF5)}, or no "
                f"suffix for a folder of Parquet"
            )


def main(settings: Settings) -> None:
    """Convert, or say that it has been done."""
    from ssl_photoz.cutouts.packing import Packed, kept_size, pack
    from ssl_photoz.cutouts.parquet_out import Parquet, write_parquet
    from ssl_photoz.cutouts.reader import Cutouts

    with Cutouts.open(
        settings.data,
        bands=settings.bands,
        pixscale_arcsec=settings.pixscale_arcsec,
        read_as=settings.read_as,
        in_order=True,
    ) as cutouts:
        source = cutouts.source
        print(f"read as {source.read_as}: {source.recognised}")
        for note in source.notes:
            print(f"  {note}")
        size_px = kept_size(source, settings.size_px)
        made: Packed | Parquet | None
        if settings.out.suffix in HDF5:
            made = pack(cutouts, settings.out, size_px=size_px, dtype=source.dtype)
        else:
            made = write_parquet(
                cutouts,
                settings.out,
                size_px=size_px,
                shard_rows=settings.shard_rows,
                config=settings,
            )
    if made is None:
        return print(f"{settings.out} is already made")
    if made.left_out:
        print(f"left out: {', '.join(made.left_out)}")
    print(f"{source.rows} cutouts in, {made.rows} written to {settings.out}")
