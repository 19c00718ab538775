"""The cutout files that the ladder stands on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.redshift_ladder.plan import Size
from ssl_photoz import cli
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.types import Array, Ints

DATA = Path(os.environ.get("SSL_PHOTOZ_DATA", Path(__file__).parents[3] / "shared" / "data"))


def make_inputs(size: Size) -> list[str]:
    """Make the cutout file of every input, and one of its labelled rows; return their names.

    An input whose real data are absent is left out, and that is said.
    """
    made = []
    for name, about in size.inputs.items():
        whole = size.data(name)
        if not whole.exists():
            whole.parent.mkdir(parents=True, exist_ok=True)
            if "simulate" in about:
                given = [f"{key}={value}" for key, value in about["simulate"].items()]
                cli.run("simulate", [f"out={whole}", *given])
            elif (DATA / about["file"]).exists():
                _unpack(DATA / about["file"], whole, about)
            else:
                print(f"no {about['file']} in {DATA}: {name} is left out (set SSL_PHOTOZ_DATA)")
                continue
        if not (labelled := labelled_file(whole)).exists():
            with h5py.File(whole) as file:
                keep = np.flatnonzero(file["Z"][:] > 0)
            _copy_rows(whole, labelled, keep)
        made.append(name)
    return made


def labelled_file(whole: Path) -> Path:
    """Where the labelled rows of a cutout file stand alone."""
    return whole.with_name("labelled.h5")


def _unpack(source: Path, whole: Path, about: Mapping[str, Any]) -> None:
    """Unpack the real galaxies; keep as many with and without a label as are asked for."""
    scratch = whole.with_name("unpacked.h5")
    script = [sys.executable, str(source.with_name("unpack_sdss.py")), str(source), str(scratch)]
    subprocess.run(script, check=True)
    with h5py.File(scratch) as file:
        z = file["Z"][:]
    rng = np.random.default_rng(0)
    groups = {"labelled": np.flatnonzero(z > 0), "unlabelled": np.flatnonzero(~(z > 0))}
    kept = [
        rows if about.get(name) is None else rng.choice(rows, about[name], replace=False)
        for name, rows in groups.items()
    ]
    _copy_rows(scratch, whole, np.sort(np.concatenate(kept)))
    scratch.unlink()


def _copy_rows(source: Path, target: Path, rows: Ints) -> None:
    with (
        h5py.File(source) as whole,
        atomic_path(target) as scratch,
        h5py.File(scratch, "w") as part,
    ):
        part.attrs.update(whole.attrs)
        for name, values in whole.items():
            shape = (len(rows), *values.shape[1:])
            chunks = (1, *values.shape[1:]) if values.ndim == 4 else None
            copy = part.create_dataset(name, shape, values.dtype, chunks=chunks)
            for start in range(0, len(rows), 1024):
                some: Array = rows[start : start + 1024]
                copy[start : start + len(some)] = values[some]
