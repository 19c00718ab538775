"""Fetch what a journal has not yet, from the service, coadds or an image, with a progress bar."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_photoz.catalog.catalogue import Catalogue
from ssl_photoz.core import extras
from ssl_photoz.core.signals import stopping_when_asked
from ssl_photoz.core.types import Array, Ints
from ssl_photoz.cutouts.quality import BAD_POSITION
from ssl_photoz.fetching.coadds import Cut, cut, cut_all, tasks
from ssl_photoz.fetching.image_cutouts import cut_from_image, image_tasks
from ssl_photoz.fetching.journal import Journal
from ssl_photoz.fetching.regions import layers_of, on_the_sky
from ssl_photoz.fetching.settings import FrameConfig, ServiceConfig
from ssl_photoz.fetching.sky_image import SkyImage

MANY = 100_000


def gather(
    journal: Journal,
    catalogue: Catalogue,
    frame: FrameConfig,
    *,
    layer: str,
    coadds: Path | None,
    image: SkyImage | None,
    workers: int,
    service: ServiceConfig,
) -> None:
    """Fetch or reject every row of a catalogue that is not done yet.

    Args:
        journal: Journal of the catalogue's rows.
        catalogue: Positions.
        frame: What a cutout is to be.
        layer: ``ls-dr9`` and the like.
        coadds: Folder of a data release to cut from, or None.
        image: Image to cut from, or None; without either the service is asked.
        workers: Processes that cut coadds, or the image.
        service: Whom to ask, and how.

    Raises:
        DataError: If the service fails; what was fetched is kept.
    """
    ra, dec = catalogue.ra, catalogue.dec
    for row in np.flatnonzero(~on_the_sky(ra, dec) & ~journal.done).tolist():
        journal.reject(row, BAD_POSITION)
    rows, layers = np.flatnonzero(~journal.done), layers_of(layer, ra, dec)
    cuts: Iterator[Cut] | None = None
    if image is not None:
        cuts = cut_all(image_tasks(image, frame, ra, dec, rows), workers, cut_from_image)
    elif coadds is not None:
        north = np.char.endswith(layers, "north")
        cuts = cut_all(tasks(coadds, frame, north, ra, dec, rows), workers, cut)
    else:
        print(advice(len(rows), service))
    done = len(catalogue) - len(rows)
    with tqdm(total=len(catalogue), initial=done, desc="fetch", unit="cutout") as bar:
        if cuts is None:
            _download(journal, catalogue, frame, layers, rows, service, bar)
            return
        for some in cuts:
            for row, answer in some:
                journal.take(row, answer.pixels, answer.reason)
            bar.update(len(some))


def advice(rows: int, service: ServiceConfig) -> str:
    """Say how long the network will take, what is missing for good manners, what is better."""
    hours = rows / service.per_second / 3600
    lines = [f"{rows} cutouts from {service.url}, at least {hours:.1f} h"]
    if not service.contact:
        lines.append("please say who asks: service.contact=you@example.edu")
    if rows > MANY:
        lines.append(
            f"CAUTION: for more than {MANY} cutouts use coadds on disk, as at NERSC: coadds=; "
            f"docs/fetch.md says how"
        )
    return "\n".join(lines)


def _download(
    journal: Journal,
    catalogue: Catalogue,
    frame: FrameConfig,
    layers: Array,
    rows: Ints,
    config: ServiceConfig,
    bar: tqdm,
) -> None:
    extras.require("fetch", "asking a service")
    from ssl_photoz.fetching.downloading import Download
    from ssl_photoz.fetching.service import Service

    download = Download(
        Service(config, frame), journal, layers, catalogue.ra, catalogue.dec, tick=bar.update
    )
    with stopping_when_asked() as stop:
        asyncio.run(download.run(rows, connections=config.connections, stop=stop))
