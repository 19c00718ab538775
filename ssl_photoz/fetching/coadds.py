"""Cut cutouts from the coadds of bricks on disk.

Pixels are taken as they are, so that their noise stays uncorrelated: an object is at most half a
pixel off the middle of its cutout. Neighbouring bricks overlap by 82 px on each side; a
cutout that reaches past the edge of its brick is rejected, not filled.
"""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.types import Array, Bools, Doubles, Floats, Ints
from ssl_photoz.cutouts.single import celestial_wcs, pixels_of
from ssl_photoz.fetching.answers import MAX_SCALE_ERROR, Answer, fault_of
from ssl_photoz.fetching.bricks import brick_names, coadd_path
from ssl_photoz.fetching.settings import FrameConfig

AT_ONCE = 128
NANOMAGGIES = re.compile(r"(nano-?magg|nmgy)", re.IGNORECASE)


class Task(NamedTuple):
    """Rows in one brick, at most `AT_ONCE`.

    Attributes:
        coadds: Folder of the data release.
        region: ``north`` or ``south``.
        brick: Its name.
        rows: Rows of the catalogue, (B,).
        ra: Right ascension, degrees, (B,).
        dec: Declination, degrees, (B,).
        frame: What a cutout is to be.
    """

    coadds: Path
    region: str
    brick: str
    rows: Ints
    ra: Doubles
    dec: Doubles
    frame: FrameConfig


Cut = list[tuple[int, Answer]]
Work = TypeVar("Work")


def require_coadds(coadds: Path, frame: FrameConfig) -> None:
    """Refuse a folder that is none, and another pixel scale than that of coadds.

    Raises:
        ConfigError: If so.
    """
    if not frame.native:
        raise ConfigError(f"coadds have 0.262 arcsec/px, asked for {frame.pixscale_arcsec:g}")
    if not coadds.is_dir():
        raise ConfigError(f"coadds={coadds} is no folder; expected one with north/coadd or coadd")


def tasks(
    coadds: Path, frame: FrameConfig, north: Array, ra: Doubles, dec: Doubles, rows: Ints
) -> Iterator[Task]:
    """Sort rows by brick, so that every coadd is opened once.

    Args:
        coadds: Folder of the data release.
        frame: What a cutout is to be.
        north: Whether the northern coadds are meant, (N,).
        ra: Right ascension, degrees, (N,).
        dec: Declination, degrees, (N,).
        rows: Rows to cut.
    """
    bricks = brick_names(ra[rows], dec[rows])
    keys = np.char.add(bricks, np.where(north[rows], "n", "s"))
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
    for group in np.split(order, ends) if len(order) else []:
        for start in range(0, len(group), AT_ONCE):
            some = group[start : start + AT_ONCE]
            region = "north" if north[rows[some[0]]] else "south"
            here = rows[some]
            yield Task(coadds, region, str(bricks[some[0]]), here, ra[here], dec[here], frame)


def cut_all(work: Iterator[Work], workers: int, cut: Callable[[Work], Cut]) -> Iterator[Cut]:
    """Yield the cutouts of every task; with several processes, few tasks are under way at once."""
    if workers == 1:
        yield from map(cut, work)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    with ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        under_way: deque[Future[Cut]] = deque()
        for task in work:
            under_way.append(pool.submit(cut, task))
            if len(under_way) > 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def cut(task: Task) -> Cut:
    """Cut the rows of one brick out of its coadds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of astropy's, about files that are refused anyway
        return _cut_brick(task)


def _cut_brick(task: Task) -> Cut:
    cubes = np.zeros((len(task.rows), *task.frame.shape), np.float32)
    inside = np.ones(len(task.rows), bool)
    for place, band in enumerate(task.frame.bands):
        path = coadd_path(task.coadds, task.region, task.brick, band)
        if path is None:
            return _none(task, f"no coadd of brick {task.brick} in {band} ({task.region})")
        try:
            inside &= _cut_band(path, task, cubes[:, place])
        except Exception as error:  # a damaged file makes the reader raise whatever comes
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the file's
            detail = str(error) if isinstance(error, DataError) else type(error).__name__
            return _none(task, f"damaged coadd {path.name} ({detail})")
    past = f"reaches past the edge of brick {task.brick}"
    reasons = [fault_of(pixels, task.frame) for pixels in cubes]
    reasons = [one if fits else past for one, fits in zip(reasons, inside, strict=True)]
    return [
        (int(row), Answer(None, reason) if reason else Answer(pixels))
        for row, pixels, reason in zip(task.rows, cubes, reasons, strict=True)
    ]


def _none(task: Task, reason: str) -> Cut:
    return [(int(row), Answer(None, reason)) for row in task.rows]


def _cut_band(path: Path, task: Task, pixels: Floats) -> Bools:
    """Fill one band of the cutouts, (B, H, W); return which are inside the brick, (B,)."""
    from astropy.io import fits
    from astropy.wcs.utils import proj_plane_pixel_scales

    side = task.frame.size_px
    with fits.open(path, memmap=False) as hdus:
        hdu = next(one for one in hdus if one.is_image and len(one.shape) == 2)
        unit = str(hdu.header.get("BUNIT", "")).strip()
        if unit and not NANOMAGGIES.match(unit):
            raise DataError(f"BUNIT is {unit!r}, expected nanomaggies per pixel")
        wcs = celestial_wcs(hdu.header)
        scale = 3600 * float(np.mean(proj_plane_pixel_scales(wcs)))
        if not abs(scale / task.frame.pixscale_arcsec - 1) <= MAX_SCALE_ERROR:
            raise DataError(f"pixel scale is {scale:.4g} arcsec")
        middle = np.stack(pixels_of(wcs, task.ra, task.dec), axis=1)
        corner = np.rint(middle - (side - 1) / 2).astype(np.int64)  # of each cutout: x, y
        last = np.array(hdu.shape[::-1]) - side
        inside: Bools = np.all((corner >= 0) & (corner <= last), axis=1)
        for i in np.flatnonzero(inside).tolist():
            left, low = corner[i].tolist()
            pixels[i] = hdu.section[low : low + side, left : left + side]
    return inside
