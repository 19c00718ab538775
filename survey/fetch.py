"""Cutouts of a catalogue, from the Legacy Surveys' service, coadds on disk, or an image."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import PathLike
from ssl_photoz.fetching.settings import FrameConfig, ImageConfig, ServiceConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts


def fetch(
    catalogue: PathLike,
    out: PathLike,
    coadds: PathLike | None = None,
    *,
    image: tuple[PathLike, ...] | PathLike | None = None,
    layer: str = "ls-dr9",
    frame: FrameConfig = FrameConfig(),
    dust: str = "auto",
    columns: Roles = Roles(),
    service: ServiceConfig = ServiceConfig(),
    reading: ImageConfig = ImageConfig(),
    workers: int = 1,
) -> Cutouts:
    """Get the cutouts of a catalogue, from the Legacy Surveys' service, coadds or an image.

        ssl-photoz fetch catalogue=galaxies.fits out=cutouts.h5 service.contact=me@example.edu
        ssl-photoz fetch catalogue=sources.parquet out=cutouts.h5 image=coadd.fits

    Writes a cutout file, ``cutouts.rejects.parquet`` with the reason for every row that is not in
    it, and a card. The same command continues an interrupted run.

    Args:
        catalogue: Table with positions: FITS, CSV, VOTable, Parquet ...
        out: The cutout file to write (HDF5).
        coadds: Folder of a data release on disk, with north/coadd and south/coadd; null: ask the
            service.
        image: Image to cut from instead, as `detect` takes it: a FITS file, one file a band, or
            the folder of a brick.
        layer: Layer of the survey: ls-dr9 or ls-dr10, north or south chosen by position; or
            ls-dr9-north, ls-dr9-south, ls-dr10-south.
        frame: What a cutout is to be.
        dust: Source of E(B-V): auto, catalogue, sfdmap2, dustmaps, none.
        columns: Names of id, ra, dec and z, where the guess would be wrong.
        service: Address and manners.
        reading: What the files do not state of the image.
        workers: Processes that cut coadds, or the image.

    Returns:
        The cutouts.

    Raises:
        ConfigError: If a setting makes no cutouts.
        DataError: If the catalogue cannot be used, or the service fails; what was fetched is kept.
        MismatchError: If a file fetched otherwise is in the way.
    """
    import shutil
    from contextlib import ExitStack

    from ssl_photoz.catalog.catalogue import read_catalogue
    from ssl_photoz.core import artefact, inputs, workplace
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.fetching.assembly import assemble, is_made, rejects_path, require_room
    from ssl_photoz.fetching.coadds import require_coadds
    from ssl_photoz.fetching.columns import cutout_columns
    from ssl_photoz.fetching.dust import find_reddening, require_dust
    from ssl_photoz.fetching.gathering import gather
    from ssl_photoz.fetching.image_cutouts import require_image
    from ssl_photoz.fetching.journal import open_journal
    from ssl_photoz.fetching.regions import require_layer
    from ssl_photoz.fetching.sky_image import open_image

    if image is None:
        require_layer(layer, frame.bands)
    elif coadds is not None:
        raise ConfigError("cutouts come from coadds= or from image=; give one of them")
    require_dust(dust)
    if not 1 <= workers <= 1024:
        raise ConfigError(f"workers is {workers!r}, expected 1 to 1024")
    out, coadds = Path(out), None if coadds is None else Path(coadds)
    table = read_catalogue(Path(catalogue), columns)
    print(table.as_text())
    ebv_mag, ebv_source = find_reddening(table, dust) or (None, "absent")
    print(f"  E(B-V)     {ebv_source}")
    images = () if image is None else (image,) if isinstance(image, str | Path) else image
    paths = [Path(one) for one in images]
    if absent := [str(one) for one in paths if not one.exists()]:
        raise DataError(f"no image {', '.join(absent)}")
    source = str(coadds or (paths[0] if paths else service.url))
    identity = {
        **{"layer": layer, **asdict(frame), "dust": dust, "columns": asdict(columns)},
        **{"source": source, "catalogue_sha256": artefact.sha256_of(Path(catalogue))},
    }
    if paths:
        identity |= {"layer": "", "image": [inputs.fingerprint(one) for one in paths]}
        identity |= {"reading": asdict(reading)}
    columns_out = cutout_columns(table, frame.bands, ebv_mag)
    workplace.require_place(out, folder=False)
    folder = out.with_name(out.name + ".fetching")
    if is_made(out, identity):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{out} is already made")
        return Cutouts.open(out)
    if coadds is not None:
        require_coadds(coadds, frame)
    with ExitStack() as stack:
        opened = stack.enter_context(open_image(paths, reading)) if paths else None
        if opened is not None:
            print(opened.as_text())
            require_image(opened, frame)
        calibrated = frame.native if opened is None else opened.calibrated
        attributes = {
            "bands": ",".join(frame.bands),
            "pixscale_arcsec": frame.pixscale_arcsec,
            "calibrated": calibrated,
            "simulated": table.simulated,
            "layer": identity["layer"],
            "fetched_from": source,
            "ebv_source": ebv_source,
        }
        stack.enter_context(workplace.claimed(folder))
        if is_made(out, identity):  # by a process that was at work in the folder until now
            shutil.rmtree(folder)
            return Cutouts.open(out)
        artefact.begin(folder, "cutouts", config=identity, parents={})
        with open_journal(folder, len(table), frame.shape) as journal:
            require_room(folder, journal)
            gather(
                journal,
                table,
                frame,
                layer=layer,
                coadds=coadds,
                image=opened,
                workers=workers,
                service=service,
            )
            assemble(out, journal, columns_out, attributes, identity)
        shutil.rmtree(folder)
    for reason, count in Counter(journal.reasons.values()).most_common(20):
        print(f"  {count:>9} rejected: {reason}")
    print(
        f"{len(table)} rows in, {len(journal.kept)} cutouts in {out}, "
        f"{len(journal.reasons)} rejects in {rejects_path(out)}"
    )
    if not calibrated and not paths:
        print("CAUTION: resampled by the service to another pixel scale; marked as not calibrated")
    return Cutouts.open(out)
