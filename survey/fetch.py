"""Get the cutouts of a catalogue, from the Legacy Surveys' cutout service or from coadds on disk.

    ssl-photoz fetch catalogue=galaxies.fits out=cutouts.h5 service.contact=me@example.edu

Writes a cutout file, ``cutouts.rejects.parquet`` with the reason for every row that is not in
it, and a card. Killed, it goes on where it was when the same command is given again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ssl_photoz.catalog.columns import Roles
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.fetching.settings import ServiceConfig

# Settings that do not change what a cutout is.
PASSING = ("catalogue", "out", "coadds", "service", "workers")


@dataclass(frozen=True)
class Settings:
    """What to fetch, and how politely.

    Attributes:
        catalogue: Table with positions: FITS, CSV, VOTable, Parquet ...
        out: The cutout file to write (HDF5).
        coadds: Folder of a data release on disk, with north/coadd and south/coadd; null: ask the
            service.
        layer: ls-dr9 or ls-dr10, north or south chosen by position; or ls-dr9-north,
            ls-dr9-south, ls-dr10-south.
        bands: One letter each.
        size_px: Side of a cutout.
        pixscale_arcsec: Pixel scale; another than 0.262 is resampled by the service, and the
            file is marked as not calibrated.
        max_blank: Greatest share of a band that may be blank.
        dust: E(B-V) from: auto, catalogue, sfdmap2, dustmaps, none.
        columns: Names of id, ra, dec and z, where the guess would be wrong.
        service: Address and manners.
        workers: Processes that cut coadds.
    """

    catalogue: Path
    out: Path
    coadds: Path | None = None
    layer: str = "ls-dr9"
    bands: tuple[str, ...] = ("g", "r", "z")
    size_px: int = 128
    pixscale_arcsec: float = 0.262
    max_blank: float = 0.1
    dust: str = "auto"
    columns: Roles = field(default_factory=Roles)
    service: ServiceConfig = field(default_factory=ServiceConfig)
    workers: int = 1

    def __post_init__(self) -> None:
        from ssl_photoz.fetching.dust import require_dust
        from ssl_photoz.fetching.regions import require_layer

        require_layer(self.layer, self.bands)
        require_dust(self.dust)
        checks = {
            "bands": (0 < len(self.bands) == len(set(self.bands)), "each band once"),
            "size_px": (1 <= self.size_px <= 3000, "1 to 3000"),
            "pixscale_arcsec": (0.05 <= self.pixscale_arcsec <= 20, "0.05 to 20"),
            "max_blank": (0 <= self.max_blank <= 1, "0 to 1"),
            "workers": (1 <= self.workers <= 1024, "1 to 1024"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected {expected}")


def main(settings: Settings) -> None:
    """Run ``ssl-photoz fetch``."""
    import shutil

    from ssl_photoz.catalog.catalogue import read_catalogue
    from ssl_photoz.core import artefact
    from ssl_photoz.fetching.assembly import assemble, is_made, rejects_path, require_room
    from ssl_photoz.fetching.coadds import require_coadds
    from ssl_photoz.fetching.columns import cutout_columns
    from ssl_photoz.fetching.dust import find_reddening
    from ssl_photoz.fetching.frame import Frame
    from ssl_photoz.fetching.gathering import gather
    from ssl_photoz.fetching.journal import open_journal

    catalogue = read_catalogue(settings.catalogue, settings.columns)
    print(catalogue.as_text())
    ebv_mag, ebv_source = find_reddening(catalogue, settings.dust) or (None, "absent")
    print(f"  E(B-V)     {ebv_source}")
    source = str(settings.coadds or settings.service.url)
    identity = {key: value for key, value in asdict(settings).items() if key not in PASSING}
    identity |= {"source": source, "catalogue_sha256": artefact.sha256_of(settings.catalogue)}
    folder = settings.out.with_name(settings.out.name + ".fetching")
    if is_made(settings.out, identity):
        shutil.rmtree(folder, ignore_errors=True)
        return print(f"{settings.out} is already made")
    frame = Frame(settings.bands, settings.size_px, settings.pixscale_arcsec, settings.max_blank)
    if settings.coadds is not None:
        require_coadds(settings.coadds, frame)
    artefact.begin(folder, "cutouts", config=identity, parents={})
    with open_journal(folder, len(catalogue), frame.shape) as journal:
        require_room(folder, journal)
        gather(
            journal,
            catalogue,
            frame,
            layer=settings.layer,
            coadds=settings.coadds,
            workers=settings.workers,
            service=settings.service,
        )
        attributes = {
            "bands": ",".join(frame.bands),
            "pixscale_arcsec": frame.pixscale_arcsec,
            "calibrated": frame.native,
            "simulated": catalogue.simulated,
            "layer": settings.layer,
            "fetched_from": source,
            "ebv_source": ebv_source,
        }
        columns = cutout_columns(catalogue, frame.bands, ebv_mag)
        assemble(settings.out, journal, columns, attributes, identity)
    shutil.rmtree(folder)
    for reason, count in Counter(journal.reasons.values()).most_common(20):
        print(f"  {count:>9} rejected: {reason}")
    print(
        f"{len(catalogue)} rows in, {len(journal.kept)} cutouts in {settings.out}, "
        f"{len(journal.reasons)} rejects in {rejects_path(settings.out)}"
    )
    if not frame.native:
        print("CAUTION: resampled by the service to another pixel scale; marked as not calibrated")
