"""What `detect` finds of a SIMULATED field with known positions: completeness, purity, positions.

    python -m benchmarks.detect                         # a field of 2400 px, about a minute
    python -m benchmarks.detect side_px=4000 threshold_sigma=5
    python -m benchmarks.detect real=decals_grz_examples.h5 work=/tmp/look   # pictures to look at
    python -m benchmarks.detect large=20000             # memory and time of a mosaic

Writes results/*.json, RESULTS.md and results/detect.png beside this file.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

import ssl_photoz as sp
from benchmarks.detect.field import FieldConfig, header_of, write_field
from ssl_photoz.catalog.tables import read_table
from ssl_photoz.core.artefact import write_json
from ssl_photoz.core.legacy_surveys import PIXSCALE_ARCSEC
from ssl_photoz.core.types import Array, Bools, Ints

HERE = Path(__file__).parent
EDGES = (15.5, 17, 18, 19, 20, 21, 22, 22.5, 23, 23.5)
MATCH_PX = 3.0
BLEND_PX = 8.0  # two objects nearer than this are a blend


def matched(found: dict[str, Array], truth: dict[str, Array]) -> Ints:
    """Source of each true object, -1 for none: brightest first, the nearest that is left.

    Within `MATCH_PX`, or half the half-light radius: knots move the centre of an irregular galaxy.
    """
    from scipy.spatial import cKDTree

    at = np.stack([found["x"], found["y"]], axis=1)
    tree, left = cKDTree(at), np.ones(len(at), bool)
    match = np.full(len(truth["x"]), -1)
    for n in np.argsort(truth["mag_r"]):
        place = np.array([truth["x"][n], truth["y"][n]])
        reach = max(MATCH_PX, 0.5 * truth["radius_arcsec"][n] / PIXSCALE_ARCSEC)
        near = [one for one in tree.query_ball_point(place, reach) if left[one]]
        if near:
            match[n] = min(near, key=lambda one: float(np.hypot(*(at[one] - place))))
            left[match[n]] = False
    return match


def in_blends(truth: dict[str, Array]) -> Bools:
    """Whether a true object has another, not 2 mag fainter or more, nearer than `BLEND_PX`."""
    from scipy.spatial import cKDTree

    tree = cKDTree(np.stack([truth["x"], truth["y"]], axis=1))
    blended = np.zeros(len(truth["x"]), bool)
    for one, other in tree.query_pairs(BLEND_PX):
        if abs(truth["mag_r"][one] - truth["mag_r"][other]) < 2:
            blended[[one, other]] = True
    return blended


def score(found: dict[str, Array], truth: dict[str, Array]) -> list[dict[str, Any]]:
    """One row a bin of r; offsets are standard deviations along one axis, from the median."""
    match, blended = matched(found, truth), in_blends(truth)
    matches = np.isin(np.arange(len(found["x"])), match)
    rows = []
    for low, high in pairwise(EDGES):
        true = (truth["mag_r"] >= low) & (truth["mag_r"] < high)
        seen = true & (match >= 0)
        of, alone = match[seen], ~blended[seen]
        off = np.abs([found[axis][of] - truth[axis][seen] for axis in ("x", "y")])
        ours = (found["mag_r"] >= low) & (found["mag_r"] < high)
        rows.append(
            {
                "r": [low, high],
                "objects": int(true.sum()),
                "completeness": share(match >= 0, true),
                "completeness_alone": share(match >= 0, true & ~blended),
                "sources": int(ours.sum()),
                "purity": share(matches, ours),
                "offset_px": scatter(off),
                "offset_alone_px": scatter(off[:, alone]),
                "magnitude_bias": float(np.nanmedian(found["mag_r"][of] - truth["mag_r"][seen])),
                "blended": int((true & blended).sum()),
                "blended_found": share(match >= 0, true & blended),
            }
        )
    return rows


def share(which: Bools, of: Bools) -> float | None:
    """Share of some rows that are others too; None of no rows."""
    return float(which[of].mean()) if of.any() else None


def scatter(off: Array) -> float | None:
    """Standard deviation around 0, from the median; None of no rows."""
    return float(1.4826 * np.median(off)) if off.size else None


def on_a_field(config: FieldConfig, detection: sp.DetectionConfig, folder: Path) -> dict[str, Any]:
    """Simulate, detect, score."""
    image = folder / f"field_{config.side_px}.fits"
    truth = write_field(image, config)
    began = time.monotonic()
    out = sp.detect(image, folder / "sources.parquet", detection=detection, simulated=True)
    seconds = time.monotonic() - began
    found = read_table(out)
    return {
        "simulated": True,
        "field": dataclasses.asdict(config),
        "detection": dataclasses.asdict(detection),
        "objects": len(truth["x"]),
        "sources": len(found["x"]),
        "seconds": round(seconds, 1),
        "blends_in_truth": int(in_blends(truth).sum()),
        "flagged_blended": int(found["blended"].sum()),
        "bins": score(found, truth),
    }


def on_real_images(path: Path, folder: Path) -> None:
    """Detect on each of the calibrated g, r, z images of an HDF5 file, for a look at the pictures.

    Args:
        path: `images` (N, 3, side, side), `ra`, `dec`, `pixscale`.
        folder: Where images, tables and pictures go.
    """
    import h5py

    with h5py.File(path) as file:
        images, ra, dec, pixscale = (file[k][:] for k in ("images", "ra", "dec", "pixscale"))
    for n, pixels in enumerate(images):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [ra[n], dec[n]]
        wcs.wcs.crpix = [pixels.shape[-1] / 2 + 0.5] * 2
        wcs.wcs.cdelt = [-pixscale[n] / 3600, pixscale[n] / 3600]
        header = wcs.to_header()
        header.update({"BANDS": "grz", "BUNIT": "nanomaggy"})
        fits.PrimaryHDU(pixels, header).writeto(folder / f"real{n}.fits", overwrite=True)
        sp.detect(folder / f"real{n}.fits", folder / f"real{n}.parquet")


def on_a_mosaic(side: int, folder: Path) -> dict[str, Any]:
    """Detect on one band of side x side pixels, a field of 2000 px again and again.

    Returns:
        Sources, seconds, and the greatest memory of this process.
    """
    from benchmarks.detect.field import simulate_field

    flux, _ = simulate_field(FieldConfig(side_px=2000))
    header = header_of(FieldConfig(side_px=side), NAXIS=2, NAXIS1=side, NAXIS2=side, BITPIX=-32)
    header["BANDS"] = "r"
    path = folder / "mosaic.fits"
    empty = fits.PrimaryHDU(np.zeros((1, 1), "f4"), header).header
    empty.update({"NAXIS1": side, "NAXIS2": side})
    empty.tofile(path, overwrite=True)
    row = np.tile(flux[1], (1, -(-side // 2000)))[:, :side].astype(">f4")
    with path.open("ab") as file:
        for low in range(0, side, 2000):
            row[: side - low].tofile(file)
        file.write(b"\0" * (-file.tell() % 2880))
    before = peak_mib()
    began = time.monotonic()
    found = read_table(sp.detect(path, folder / "mosaic.parquet", simulated=True))
    return {
        "simulated": True,
        "side_px": side,
        "image_mib": path.stat().st_size >> 20,
        "sources": len(found["x"]),
        "seconds": round(time.monotonic() - began, 1),
        "memory_before_mib": before,
        "memory_mib": peak_mib(),
    }


def peak_mib() -> int:
    """Greatest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def write_page(made: dict[str, Any], mosaic: dict[str, Any] | None) -> None:
    """RESULTS.md, and the figure."""
    field, lines = made["field"], []
    lines += [
        "# Detection on a SIMULATED field\n",
        f"{field['side_px']} px a side, {made['objects']} galaxies and stars with r < 23.5 "
        f"(seeing, noise and densities of DECaLS), threshold "
        f"{made['detection']['threshold_sigma']:g} sigma; {made['sources']} sources. "
        f"{made['blends_in_truth']} objects have another, less than 2 mag fainter, nearer than "
        f"{BLEND_PX:g} px (2.1 arcsec); {made['flagged_blended']} sources are flagged as parted.\n",
        "| r | objects | completeness | alone | sources | purity | offset | alone "
        "| magnitude | blended | of these found |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in made["bins"]:
        low, high = row["r"]
        cells = [f"{low:g} to {high:g}", str(row["objects"])]
        cells += [
            said(row[key], 100, ".1f", " %") for key in ("completeness", "completeness_alone")
        ]
        cells += [str(row["sources"]), said(row["purity"], 100, ".1f", " %")]
        cells += [said(row[key], 1, ".3f", " px") for key in ("offset_px", "offset_alone_px")]
        cells += [said(row["magnitude_bias"], 1, "+.3f", ""), str(row["blended"])]
        cells += [said(row["blended_found"], 100, ".0f", " %")]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("\n![Completeness, purity and offsets](results/detect.png)\n")
    if mosaic is not None:
        lines += [
            "## A mosaic\n",
            f"One band of {mosaic['side_px']} px a side ({mosaic['image_mib']} MiB): "
            f"{mosaic['sources']} sources in {mosaic['seconds']:.0f} s; memory at most "
            f"{mosaic['memory_mib']} MiB, {mosaic['memory_before_mib']} MiB of it before the "
            f"image was opened.\n",
        ]
    (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")
    draw(made["bins"], HERE / "results" / "detect.png")


def said(value: float | None, times: float, form: str, unit: str) -> str:
    """A number in words; a dash where there is none."""
    return "-" if value is None else f"{times * value:{form}}{unit}"


def draw(bins: list[dict[str, Any]], path: Path) -> None:
    """Completeness and purity, and offsets, against r."""
    import matplotlib.pyplot as plt

    r = [float(np.mean(row["r"])) for row in bins]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for key, label in (
        ("completeness", "completeness"),
        ("completeness_alone", "completeness, alone"),
        ("purity", "purity"),
    ):
        left.plot(r, [row[key] for row in bins], "o-", label=label)
    left.set(xlabel="r [mag]", ylabel="share", ylim=(0.7, 1.02), title="SIMULATED field")
    left.legend()
    right.semilogy(r, [row["offset_px"] for row in bins], "o-", label="all")
    right.semilogy(r, [row["offset_alone_px"] for row in bins], "o-", label="alone")
    right.axhline(0.1, color="grey", linestyle=":", label="goal for bright ones")
    right.set(xlabel="r [mag]", ylabel="offset along an axis [px]")
    right.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str]) -> None:
    """Run what is asked for."""
    given = dict(one.split("=", 1) for one in arguments)
    work = given.pop("work", None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(work or scratch)
        if "real" in given:
            if work is None:
                raise SystemExit("give work=FOLDER to look at the pictures")
            on_real_images(Path(given["real"]), folder)
            return
        results = HERE / "results"
        results.mkdir(exist_ok=True)
        if "large" in given:
            write_json(results / "mosaic.json", on_a_mosaic(int(given["large"]), folder))
        else:
            names = {field.name for field in dataclasses.fields(FieldConfig)}
            ours = {k: json.loads(v) for k, v in given.items() if k in names}
            theirs = {k: json.loads(v) for k, v in given.items() if k not in names}
            config = FieldConfig(**{"side_px": 2400, **ours})
            made = on_a_field(config, sp.DetectionConfig(**theirs), folder)
            write_json(results / "field.json", made)
    mosaic = results / "mosaic.json"
    write_page(
        json.loads((results / "field.json").read_text()),
        json.loads(mosaic.read_text()) if mosaic.exists() else None,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
