"""A simulated survey: each row a pure function of the seed and its number; the file, whole or not.

The file has the challenge's layout and may be made by several processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from ssl_photoz.core.artefact import SCHEMA_VERSION, atomic_path, write_json
from ssl_photoz.core.errors import DataError, MismatchError
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.core.version import __version__
from ssl_photoz.core.workplace import require_place
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import (
    BANDS,
    SURVEYS,
    Conditions,
    draw_conditions,
    passband_gain,
)
from ssl_photoz.simulator.population import DWARF_LOG_MASS, POPULATIONS, Galaxies, Universe
from ssl_photoz.simulator.scene import draw_field, draw_knots, render
from ssl_photoz.simulator.settings import SimulatorConfig

FOOTPRINT_RA_DEG, FOOTPRINT_DEC_DEG = (110.0, 260.0), (-5.0, 35.0)
Row = Mapping[str, Any]


class Simulator:
    """Makes galaxy ``i`` from (seed, i) alone, in any order and any process.

    Args:
        config: What the survey is like.
        colours: The K-correction table, if there is one already.
    """

    def __init__(self, config: SimulatorConfig, *, colours: ColourTable | None = None) -> None:
        self.config = config
        self.proportions = np.array(config.proportions) / sum(config.proportions)
        self.colours = colours or ColourTable.build()
        self.universe = Universe(self.colours, r_limit_mag=config.r_limit_mag)

    def row(self, i: int) -> tuple[Floats, Row]:
        """Make galaxy ``i``.

        Returns:
            The cutout, nanomaggies per pixel, shape (3, size, size), and its catalogue columns.
        """
        config = self.config
        rng = _stream(config.seed, i)
        labelled = rng.uniform() < config.labelled_fraction
        population = int(np.searchsorted(np.cumsum(self.proportions)[:-1], rng.uniform(), "right"))
        ra_deg, dec_deg = _draw_position(rng)
        conditions = draw_conditions(rng)
        galaxy = self.universe.draw(rng, population)
        weather = rng
        if config.survey != "south":
            # Seeing and noise of their own: nothing else about the galaxy may change.
            weather = _stream(config.seed, i, list(SURVEYS).index(config.survey))
            conditions = draw_conditions(weather, SURVEYS[config.survey])
        conditions = conditions._replace(gain=passband_gain(galaxy.mag, SURVEYS[config.survey]))
        image = self._observe(rng, galaxy, conditions, weather)
        return image, {
            "TARGETID": (config.seed << 32) + i,
            "RA": ra_deg,
            "DEC": dec_deg,
            "Z": galaxy.redshift if labelled else np.nan,
            "EBV": conditions.ebv_mag,
            "PSFSIZE": conditions.psf_fwhm_arcsec,
            "NOISE": conditions.noise_nmgy,
            "POPULATION": population,
            **_truth(galaxy),
        }

    def _observe(
        self,
        rng: np.random.Generator,
        galaxy: Galaxies,
        conditions: Conditions,
        weather: np.random.Generator,
    ) -> Floats:
        angle_rad = rng.uniform(0, np.pi)
        offset_arcsec = rng.uniform(-0.5, 0.5, size=2) * PIXSCALE_ARCSEC
        knots = draw_knots(rng, galaxy, angle_rad, self.colours)
        field = draw_field(
            rng,
            self.colours,
            size_px=self.config.size_px,
            galaxies_per_arcmin2=self.config.galaxies_per_arcmin2,
            stars_per_arcmin2=self.config.stars_per_arcmin2,
        )
        flux_nmgy = render(
            rng,
            galaxy,
            knots,
            field,
            conditions,
            angle_rad=angle_rad,
            offset_arcsec=offset_arcsec,
            size_px=self.config.size_px,
        )
        noise = weather.standard_normal(flux_nmgy.shape)
        return (flux_nmgy + conditions.noise_nmgy[:, None, None] * noise).astype(np.float32)


def _stream(*counters: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(counters)))


def _truth(galaxy: Galaxies) -> Row:
    return {
        "TRUE_Z": galaxy.redshift,
        "TRUE_MAG_G": galaxy.mag[0],
        "TRUE_MAG_R": galaxy.mag[1],
        "TRUE_MAG_Z": galaxy.mag[2],
        "TRUE_RADIUS_ARCSEC": galaxy.radius_arcsec,
        "AXIS_RATIO": galaxy.axis_ratio,
        "SERSIC": galaxy.sersic,
        "SED_TYPE": galaxy.sed_type,
        "ABS_MAG_R": galaxy.abs_mag_r,
        "STELLAR_MASS": galaxy.log_mass,
        "IS_DWARF": galaxy.log_mass < DWARF_LOG_MASS,
    }


def _draw_position(rng: np.random.Generator) -> tuple[float, float]:
    """Draw RA and Dec, degrees, uniformly over the footprint's solid angle."""
    ra = rng.uniform(*FOOTPRINT_RA_DEG)
    sin_dec = rng.uniform(*np.sin(np.deg2rad(FOOTPRINT_DEC_DEG)))
    return float(ra), float(np.rad2deg(np.arcsin(sin_dec)))


_BLOCK = 32
_DTYPES = {"TARGETID": "i8", "RA": "f8", "DEC": "f8", "IS_DWARF": "u1", "POPULATION": "i1"}
Block = tuple[Floats, dict[str, Array]]
Make = Callable[..., Simulator]
_simulator: Simulator


def write_survey(
    out: Path,
    config: SimulatorConfig,
    *,
    galaxies: int,
    workers: int,
    make: Make = Simulator,
) -> bool:
    """Simulate galaxies 0 to ``galaxies - 1`` into an HDF5 file, and its card beside it.

    Args:
        out: The file; it appears when it is complete.
        config: What the survey is like; kept in the file.
        galaxies: Number of galaxies.
        workers: Processes; 1 simulates in this one. Does not change the result.
        make: Maker of the simulator; must be picklable.

    Returns:
        True if the file was made, False if the same survey was there already.

    Raises:
        MismatchError: If another file is in the way.
        DataError: If the file cannot be written.
    """
    require_place(out, folder=False)
    card, identity = out.with_name(out.name + ".card.json"), identity_of(config, galaxies)
    if out.exists():
        _require_same(out, identity)
        return False
    make_one = partial(make, config)
    try:
        with atomic_path(out) as scratch, h5py.File(scratch, "w") as file:
            _fill(file, make_one, galaxies=galaxies, workers=workers)
            file.attrs.update(_attributes(identity))
        write_json(card, _card(identity, galaxies))
    except BrokenProcessPool:
        raise DataError(
            f"{out} not written: a simulating process was killed, perhaps for want of memory; "
            f"try again with a smaller workers=. In a script, call it below "
            f"`if __name__ == '__main__':`, as all that starts processes"
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot write {out}: {error}; free some space or choose another out="
        ) from None
    return True


def identity_of(config: SimulatorConfig, galaxies: int) -> dict[str, Any]:
    """Settings that identify a survey, as its file and its card keep them."""
    identity = {"galaxies": galaxies, **asdict(config)}
    if config.survey == "south":
        del identity["survey"]  # files that are older than this setting stay what they are
    return identity


def blocks(make: Callable[..., Simulator], *, galaxies: int, workers: int) -> Iterator[Block]:
    """Yield the survey in order, in blocks of rows: images (B, 3, H, W) and columns (B, ...)."""
    make = partial(make, colours=ColourTable.build())
    ranges = [range(i, min(i + _BLOCK, galaxies)) for i in range(0, galaxies, _BLOCK)]
    if workers == 1:
        simulator = make()
        yield from (_simulate(simulator, rows) for rows in ranges)
        return
    # spawn: HDF5 and thread pools of the parent do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(ranges)), context, initializer=_start_worker, initargs=(make,)
    )
    with ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        yield from pool.map(_work, ranges)


def _fill(file: h5py.File, make: Callable[..., Simulator], *, galaxies: int, workers: int) -> None:
    done = 0
    with tqdm(total=galaxies, desc="simulate", unit="galaxy") as bar:
        for images, columns in blocks(make, galaxies=galaxies, workers=workers):
            if done == 0:
                _create_datasets(file, galaxies, images, columns)
            file["images"][done : done + len(images)] = images
            for name, values in columns.items():
                file[name][done : done + len(images)] = values
            done += len(images)
            bar.update(len(images))


def _create_datasets(
    file: h5py.File, galaxies: int, images: Floats, columns: Mapping[str, Array]
) -> None:
    shape = images.shape[1:]
    file.create_dataset("images", (galaxies, *shape), "f4", chunks=(1, *shape))
    for name, values in columns.items():
        file.create_dataset(name, (galaxies, *values.shape[1:]), values.dtype)
    file["POPULATION"].attrs.update({name: code for code, name in enumerate(POPULATIONS)})


def _simulate(simulator: Simulator, rows: range) -> Block:
    made = [simulator.row(i) for i in rows]
    names = made[0][1]
    return np.stack([image for image, _ in made]), {
        name: np.array([row[name] for _, row in made], _DTYPES.get(name, "f4")) for name in names
    }


def _start_worker(make: Callable[[], Simulator]) -> None:
    global _simulator
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _simulator = make()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(rows: range) -> Block:
    return _simulate(_simulator, rows)


def _attributes(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bands": ",".join(BANDS),
        "pixscale_arcsec": PIXSCALE_ARCSEC,
        "calibrated": True,
        "simulated": True,
        "seed": settings["seed"],
        "settings": json.dumps(dict(settings), sort_keys=True),
    }


def _card(settings: Mapping[str, Any], galaxies: int) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "survey",
        "made_by": f"ssl_photoz {__version__}",
        "config": dict(settings),
        "parents": {},
        "simulated": True,
        "rows": galaxies,
    }


def _require_same(out: Path, settings: Mapping[str, Any]) -> None:
    remedy = "give another out=, or delete the file"
    try:
        with h5py.File(out) as file:
            made = json.loads(file.attrs["settings"])
    except (OSError, KeyError, ValueError):
        raise MismatchError(f"{out} exists and is not a simulated survey; {remedy}") from None
    wanted = json.loads(json.dumps(dict(settings)))
    for name in sorted(set(made) | set(wanted)):
        if made.get(name) != wanted.get(name):
            raise MismatchError(
                f"{out} already holds a survey simulated with {name} = {made.get(name)!r}, asked "
                f"for {wanted.get(name)!r}; {remedy}"
            )
