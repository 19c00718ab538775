"""What tiles and their runners cost over `embed` of one file, and what a second worker brings.

    python -m benchmarks.scaleout.runners                 # under four minutes on two quiet cores
    python -m benchmarks.scaleout.runners rounds=1 seconds=6

Every run is a process of its own, one thread a worker, in turn, on one file of made-up cutouts
(noise: speed alone matters) and an encoder with random weights. A rate is that of the files that
the run leaves: galaxies of all but the first over the time from the first file to the last, so that
what starts up (Python, torch, a cluster) is apart, in its own column.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

HERE = Path(__file__).parent
SIDE = 64
TILES = 24
RUNS = {
    "`embed`, one file": "plain",
    "tiles, `runner.kind=here`": "here",
    "tiles, Dask, one worker": "dask 1",
    "tiles, Dask, two workers": "dask 2",
    "tiles, two ranks": "ranks 2",
}
DEFAULTS = {"rounds": 2, "seconds": 10}


def make_inputs(folder: Path, rows: int) -> None:
    """Write cutouts of noise, spread evenly over some sky, and an untrained encoder."""
    import h5py

    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.encoders.encoder import fresh_encoder
    from ssl_photoz.encoders.settings import EncoderConfig

    rng = np.random.default_rng(0)
    with h5py.File(folder / "cutouts.h5", "w") as file:
        images = file.create_dataset("images", (rows, 3, SIDE, SIDE), "f4")
        for start in range(0, rows, 1024):
            count = min(1024, rows - start)
            images[start : start + count] = rng.normal(0, 0.01, (count, 3, SIDE, SIDE))
        file["TARGETID"] = np.arange(rows)
        file["RA"], file["DEC"] = rng.uniform(150, 160, rows), rng.uniform(0, 10, rows)
        file["Z"] = rng.uniform(0.01, 0.5, rows).astype("f4")
    made = fresh_encoder(
        EncoderConfig(crop_px=SIDE, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )
    split = {"seed": 0, "nside": 32, "fractions": [0.7, 0.1, 0.2]}
    save_encoder(folder / "encoder", made, config={}, parents={}, split=split, steps=0)


def work(how: str, folder: Path, out: Path, rows: int) -> None:
    """Embed the file in one of the ways of `RUNS`."""
    from ssl_photoz import ReadOutConfig, RunnerConfig, TilesConfig, distribute, embed

    data, encoder, readout = (
        folder / "cutouts.h5",
        folder / "encoder",
        ReadOutConfig(orientations=1),
    )
    if how == "plain":
        embed(data, encoder, out, readout=readout, shard_rows=rows // TILES)
        return
    kind, _, workers = how.partition(" ")
    runner = RunnerConfig(kind=kind, workers=int(workers or 0))  # type: ignore[arg-type]
    tiles = TilesConfig(most_rows=2 * rows // TILES)
    distribute("embed", data, out, using=encoder, readout=readout, tiles=tiles, runner=runner)


def measured(how: str, folder: Path, rows: int) -> tuple[float, float, float]:
    """Galaxies per second, seconds until the first file was there, and seconds in all."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        out = Path(name) / "out"
        command = [sys.executable, "-m", __spec__.name, "work", how, folder, out, rows]
        ranks = int(how.split()[1]) if how.startswith("ranks") else 1
        started, began = time.perf_counter(), time.time()
        processes = [
            subprocess.Popen(
                list(map(str, command)),
                env={
                    **os.environ,
                    **{"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
                    **{"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)},
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(ranks)
        ]
        for process in processes:
            if process.wait():
                raise SystemExit(f"{how} failed: run by hand {' '.join(map(str, command))}")
        if how.startswith("ranks"):
            work("none", folder, out, rows)
        seconds = time.perf_counter() - started
        return *rate_of(out, began), seconds


def rate_of(out: Path, began: float) -> tuple[float, float]:
    """Galaxies per second from the first file to the last, and seconds until the first."""
    import pyarrow.parquet as pq

    files = [*out.glob("part-*.parquet"), *out.glob("dataset/*/*/*.parquet")]
    files.sort(key=lambda path: path.stat().st_mtime)
    times = [path.stat().st_mtime for path in files]
    rows = sum(pq.read_metadata(path).num_rows for path in files[1:])
    return rows / (times[-1] - times[0]), times[0] - began


def main(arguments: list[str]) -> None:
    """Measure, print, and write the table beside this file."""
    given = dict(argument.split("=", 1) for argument in arguments)
    rounds, seconds = (int(given.get(name, usual)) for name, usual in DEFAULTS.items())
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in RUNS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, 960)
        rate, _, _ = measured("plain", folder, 960)
        rows = max(int(rate * seconds) // TILES * TILES, 960)
        make_inputs(folder, rows)
        for number in range(rounds):
            for name, how in RUNS.items():
                found[name].append(measured(how, folder, rows))
                rate, first, whole = found[name][-1]
                print(
                    f"round {number + 1}  {name:<28} {rate:8.1f} galaxies/s, first file after "
                    f"{first:.1f} s, {whole:.1f} s in all",
                    flush=True,
                )
    text = table(found, rows)
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "runners.md").write_text(text, encoding="utf-8")


def table(found: dict[str, list[tuple[float, float, float]]], rows: int) -> str:
    """Markdown: medians of the rounds, ratios of medians."""
    rates = {name: median(one[0] for one in each) for name, each in found.items()}
    plain, one_worker = (rates[name] for name in list(RUNS)[0:3:2])
    lines = [
        f"{datetime.date.today()}, {os.cpu_count()} cores, one thread a worker, {rows} cutouts of "
        f"{SIDE} px in about {TILES} tiles, resnet18, one orientation; medians of "
        f"{len(next(iter(found.values())))} rounds, all rates of one call.",
        "",
        "| | galaxies/s | of `embed` | of one worker | first file after, s | in all, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        first, whole = (median(one[n] for one in each) for n in (1, 2))
        of_one = f"{rates[name] / one_worker:.2f}" if "two" in name else ""
        lines.append(
            f"| {name} | {rates[name]:.1f} ({', '.join(f'{one[0]:.0f}' for one in each)}) | "
            f"{rates[name] / plain:.2f} | {of_one} | {first:.1f} | {whole:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    else:
        main(sys.argv[1:])
