"""The sources of an image: positions, fluxes and shapes, for images without a catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike
from ssl_photoz.detection.settings import DetectionConfig
from ssl_photoz.fetching.settings import ImageConfig


@needs("detect")
def detect(
    image: tuple[PathLike, ...] | PathLike,
    out: PathLike,
    *,
    detection: DetectionConfig = DetectionConfig(),
    reading: ImageConfig = ImageConfig(),
    simulated: bool = False,
    overlay: bool = True,
) -> Path:
    """Find the sources of an image: a catalogue of positions, fluxes and shapes.

        ssl-photoz detect image=coadd.fits out=sources.parquet
        ssl-photoz detect image=[g.fits,r.fits,z.fits] out=sources.fits
        ssl-photoz fetch catalogue=sources.parquet image=coadd.fits out=cutouts.h5

    Writes the table, and beside it ``sources.reg`` (regions of DS9), ``sources.png`` (the image
    with an ellipse around each source) and ``sources.parquet.card.json``. docs/detect.md describes
    the columns.

    Args:
        image: FITS file of one or several bands, one file a band, or the folder of a brick of the
            Legacy Surveys; also packed (.gz, .fz). Of any size: it is read tile by tile.
        out: The table to write: .parquet, .fits, .csv or .vot.
        detection: What a source is.
        reading: What the files do not state of the image.
        simulated: Whether the image is simulated; every table says so of its rows.
        overlay: Whether to write the PNG and the regions.

    Returns:
        The path of the table.

    Raises:
        ConfigError: If a setting finds no sources, or does not fit the image.
        DataError: If the image cannot be used, is empty, or has no source.
    """
    from tqdm import tqdm

    from ssl_photoz.catalog.tables import require_suffix, write_table
    from ssl_photoz.core import artefact, inputs, version
    from ssl_photoz.core.version import __version__
    from ssl_photoz.detection.overlay import Overview, write_overlay
    from ssl_photoz.detection.table import FLAGS, columns_of, regions_of
    from ssl_photoz.detection.tiles import Tile, detect_sources, indices_of
    from ssl_photoz.fetching.sky_image import open_image

    out, paths = Path(out), [image] if isinstance(image, str | Path) else list(image)
    require_suffix(out)
    with open_image([Path(one) for one in paths], reading) as opened:
        indices_of(opened, detection.bands)
        print(opened.as_text())
        overview = Overview(opened)

        def progress(tiles: list[Tile]) -> Iterator[Tile]:
            return iter(tqdm(tiles, desc="detect", unit="tile"))

        sources = detect_sources(opened, detection, seen=overview.add, progress=progress)
        columns = columns_of(sources, opened)
    write_table(out, columns, simulated=simulated)
    if overlay:
        write_overlay(out.with_suffix(".png"), overview, sources)
        with artefact.atomic_path(out.with_suffix(".reg")) as scratch:
            scratch.write_text(regions_of(sources, columns["id"].tolist()), encoding="ascii")
    flags = {flag: int(columns[flag].sum()) for flag in FLAGS}
    card = {
        "schema_version": artefact.SCHEMA_VERSION,
        "kind": "sources",
        "made_by": f"ssl_photoz {__version__}",
        "revision": version.git_revision(),
        "versions": version.versions(),
        "config": {"image": paths, "detection": asdict(detection), "reading": asdict(reading)},
        "parents": {f"image {n}": inputs.fingerprint(Path(one)) for n, one in enumerate(paths)},
        "bands": opened.bands,
        "pixscale_arcsec": opened.pixscale_arcsec,
        "calibrated": opened.calibrated,
        "simulated": simulated,
        "rows": len(sources.x),
        **flags,
    }
    artefact.write_json(out.with_name(out.name + ".card.json"), card)
    print(f"{len(sources.x)} sources in {out}: " + ", ".join(f"{n} {f}" for f, n in flags.items()))
    return out
