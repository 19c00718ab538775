"""What is timed and scored; each stage runs in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from benchmarks.map.layouts import WAYS
from benchmarks.map.vectors import CROWDS
from benchmarks.similarity.measure import resident_mb
from ssl_photoz.core.artefact import read_card
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.similarity.map import measure_trust, reduce_all

K_REDSHIFT, MOST_ASKED = 15, 5000
PROGRAM = "from ssl_photoz.cli import main; main()"


def reduce(source: Path, folder: Path) -> dict[str, Any]:
    """Keep the reduced vectors on disk, for every way the same; say what they are of."""
    embeddings = Embeddings.open(source)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", reduce_all(embeddings, pca_dim=50, seed=0))
    return {
        "rows": len(embeddings),
        "dim": embeddings.dim,
        "simulated": bool(embeddings.card["simulated"]),
        "before_the_map": redshift_score(np.load(folder / "vectors.npy"), embeddings),
    }


def command(source: Path, out: Path, limit: int) -> dict[str, Any]:
    """Time the command that a user types, imports and figures included."""
    shutil.rmtree(out, ignore_errors=True)
    typed = [sys.executable, "-c", PROGRAM, "map", f"embeddings={source}", f"out={out}"]
    typed.append(f"fit_limit={limit}")
    started, before = time.perf_counter(), os.times()
    subprocess.run(typed, check=True)
    seconds, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"seconds": seconds, "cpu_seconds": cpu, **read_card(out, "map")["measured"]}


def lay_out_and_score(way: str, source: Path, folder: Path, limit: int) -> dict[str, Any]:
    """Lay out and then score, in this process; its imports and compilations count, too."""
    vectors = np.load(folder / "vectors.npy")
    started, cpu = time.perf_counter(), time.process_time()
    places = WAYS[way].run(vectors, limit)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak_mb = resident_mb("VmHWM")
    embeddings = Embeddings.open(source)
    scores = measure_trust(vectors, places)._asdict() | redshift_score(places, embeddings)
    if "crowd" in embeddings.columns:
        scores["islands"] = islands_kept(places, embeddings.column("crowd"))
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak_mb, **scores}


def redshift_score(points: Floats, embeddings: Embeddings) -> dict[str, float]:
    """Score the redshifts of test galaxies by their 15 nearest training galaxies there."""
    z, split = embeddings.column("z").astype(np.float64), embeddings.column("split")
    known = np.isfinite(z)
    fitted, asked = (np.flatnonzero(known & (split == one)) for one in ("train", "test"))
    asked = np.random.default_rng(0).permutation(asked)[:MOST_ASKED]
    model = KNeighborsRegressor(K_REDSHIFT).fit(points[fitted], np.log1p(z[fitted]))
    found = np.expm1(model.predict(points[asked]))
    dz = (found - z[asked]) / (1 + z[asked])
    nmad = 1.4826 * np.median(np.abs(dz - np.median(dz)))
    return {"sigma_nmad": float(nmad), "r2": float(1 - np.var(found - z[asked]) / z[asked].var())}


def islands_kept(places: Floats, crowd: Array) -> float:
    """How much of the neighbourhood of rare galaxies is their own island, at most 1."""
    rare = np.flatnonzero(crowd >= CROWDS)
    near = NearestNeighbors(n_neighbors=6).fit(places).kneighbors(places[rare])[1][:, 1:]
    return float(np.mean(crowd[near] == crowd[rare][:, None]))
