"""Set the simulated survey's colours and sizes beside real catalogues; draw one figure.

    python benchmarks/simulator/compare.py

Reads the folder that SSL_PHOTOZ_DATA names, or ../shared/data beside the repository.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ssl_photoz.core.types import Doubles
from ssl_photoz.simulator.colours import ColourTable
from ssl_photoz.simulator.conditions import EXTINCTION
from ssl_photoz.simulator.population import POPULATIONS, Galaxies, Universe

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("SSL_PHOTOZ_DATA", HERE.parents[1].parent / "shared" / "data"))
SDSS_R_LIMIT_MAG, SDSS_U_LIMIT_MAG = 17.77, 19.6
U_EXTINCTION_PER_EBV = 4.239
MEDIAN_EBV_MAG = 0.0345
RED_G_R = 0.58
REAL, SIMULATED = "tab:gray", "tab:blue"


def simulate_bright(colours: ColourTable) -> Galaxies:
    """Draw a sample with the SDSS table's limits in r and in u, which removes red galaxies."""
    universe = Universe(colours, r_limit_mag=SDSS_R_LIMIT_MAG)
    rng = np.random.default_rng(1)
    drawn = [universe.propose(rng) for _ in range(4000)]
    sample = Galaxies(*(np.concatenate(column) for column in zip(*drawn, strict=True)))
    u = ColourTable.build(bands=("u",)).mag(sample.sed_type, sample.redshift)[:, 0]
    u += sample.abs_mag_r + sample.distance_modulus + U_EXTINCTION_PER_EBV * MEDIAN_EBV_MAG
    bright = (sample.mag[:, 1] < SDSS_R_LIMIT_MAG) & (u < SDSS_U_LIMIT_MAG)
    return Galaxies(*(column[bright] for column in sample))


def draw_band(
    axis: Axes, x: Doubles, y: Doubles, edges: Doubles, *, colour: str, label: str
) -> None:
    """Draw the running median and the 16-84 % band of y in bins of x."""
    rows = [y[(x >= a) & (x < b)] for a, b in itertools.pairwise(edges)]
    middle = (edges[:-1] + edges[1:]) / 2
    keep = np.array([len(row) >= 15 for row in rows])
    low, median, high = np.array([np.percentile(r, [16, 50, 84]) for r in rows if len(r) >= 15]).T
    axis.fill_between(middle[keep], low, high, color=colour, alpha=0.25, lw=0)
    axis.plot(middle[keep], median, color=colour, marker="o", ms=3, label=label)


def draw_colours(axes: NDArray[np.object_], sample: Galaxies) -> None:
    """Colour against redshift, both with the Milky Way's reddening left in."""
    real = Table.read(DATA / "sdss_dr14_skyserver10k.csv.gz", format="ascii.csv")
    real = real[(real["class"] == "GALAXY") & (real["r"] < SDSS_R_LIMIT_MAG)]
    mag = sample.mag + EXTINCTION * MEDIAN_EBV_MAG
    edges = np.concatenate([np.arange(0.01, 0.1, 0.015), np.arange(0.115, 0.26, 0.03)])
    for axis, (a, b) in zip(axes, [(0, 1), (1, 2)], strict=True):
        names = "grz"[a], "grz"[b]
        real_colour = np.asarray(real[names[0]] - real[names[1]])
        z = np.asarray(real["redshift"])
        draw_band(axis, z, real_colour, edges, colour=REAL, label="SDSS DR14, r < 17.77, u < 19.6")
        draw_band(
            axis,
            sample.redshift,
            mag[:, a] - mag[:, b],
            edges,
            colour=SIMULATED,
            label="simulated, same limits",
        )
        axis.set(xlabel="redshift", ylabel=f"{names[0]} - {names[1]} [mag]", xlim=(0, 0.25))
        axis.legend(fontsize=8, loc="lower right")


def draw_sizes(axis: Axes, sample: Galaxies) -> None:
    """Circularised half-light radius against magnitude, at 0.0137 < z < 0.0433."""
    with h5py.File(DATA / "nsa_lcs_profiles.h5") as file:
        flux = file["SERSICFLUX"][:]
        g, r = (22.5 - 2.5 * np.log10(np.maximum(flux[:, band], 1e-3)) for band in (3, 4))
        radius = file["SERSIC_TH50"][:] * np.sqrt(file["SERSIC_BA"][:])
    near = (sample.redshift > 0.0137) & (sample.redshift < 0.0433)
    mag = sample.mag[near]
    edges = np.arange(13.5, 17.9, 0.5)
    for red, style in ((True, "tab:red"), (False, "tab:blue")):
        name = "red" if red else "blue"
        chosen = (g - r > RED_G_R) == red
        grey = "tab:brown" if red else "tab:gray"
        draw_band(axis, r[chosen], radius[chosen], edges, colour=grey, label=f"NSA, {name}")
        chosen = (mag[:, 0] - mag[:, 1] > RED_G_R) == red
        draw_band(
            axis,
            mag[chosen, 1],
            sample.radius_arcsec[near][chosen],
            edges,
            colour=style,
            label=f"simulated, {name}",
        )
    axis.set(xlabel="r [mag]", ylabel="half-light radius [arcsec]", yscale="log")
    axis.legend(fontsize=8, ncol=2)


def draw_redshifts(axis: Axes, colours: ColourTable) -> None:
    """Redshifts of the three populations of the simulated survey."""
    universe = Universe(colours, r_limit_mag=21.2)
    rng = np.random.default_rng(2)
    for code, name in enumerate(POPULATIONS):
        z = [float(universe.draw(rng, code).redshift) for _ in range(1500)]
        axis.hist(z, bins=np.geomspace(0.003, 1.1, 50), histtype="step", lw=1.5, label=name)
    axis.set(xlabel="redshift", ylabel="simulated galaxies", xscale="log")
    axis.legend(fontsize=8, loc="upper left")


def main() -> None:
    """Draw the figure beside this file."""
    colours = ColourTable.build()
    sample = simulate_bright(colours)
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    draw_colours(axes[0], sample)
    draw_sizes(axes[1, 0], sample)
    draw_redshifts(axes[1, 1], colours)
    figure.savefig(HERE / "compare.png", dpi=80)
    print(HERE / "compare.png")


if __name__ == "__main__":
    main()
