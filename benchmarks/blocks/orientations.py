"""What do orientations of the learnt part cost, and bring?

    python -m benchmarks.blocks.orientations runs/demo/cutouts.h5 runs/demo/encoder name=demo

Measurements are the same in every orientation and taken once; the learnt numbers are averaged over
1, 2, 4 or 8. Only galaxies of the training and validation sky are looked at: a default is chosen
here. The probe is that of `benchmarks.blocks`, cross-validated over five folds of that sky. Writes
``results/orientations-<name>.md``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.blocks.__main__ import DRAWS, FOLDS, HERE, cross_validated
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.memory import keep_freed_memory
from ssl_photoz.core.types import Array, Floats
from ssl_photoz.cutouts.quality import usable_labels
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.split import SplitConfig, sky_split
from ssl_photoz.encoders.artefact import load_encoder
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.photoz.labels import Labelled
from ssl_photoz.photoz.metrics import paired_difference, summarise

ORIENTATIONS = (8, 4, 2, 1)
NEIGHBOURS = 10


def main(data: Path, folder: Path, name: str) -> None:
    """Embed, score, and write the table."""
    torch.set_num_threads(1)
    keep_freed_memory()
    encoder = load_encoder(folder)
    with Cutouts.open(data) as cutouts:
        vectors, seconds = embedded(encoder, cutouts)
        split = SplitConfig.of(encoder.card.split)
        known = usable_labels(cutouts.z) & (sky_split(cutouts, split).names != "test")
        whole = {key: cutouts.column(key)[known] for key in ("z", "id", "ra", "dec")}
        simulated = cutouts.source.simulated
    learnt = slice(-encoder.learnt_dim, None)
    features = {
        "embedding": {n: found[known] for n, found in vectors.items()},
        "learnt alone": {n: found[known][:, learnt] for n, found in vectors.items()},
    }
    rows = []
    todo = [(labels, kind, n) for labels in DRAWS for kind in features for n in ORIENTATIONS]
    best: Array = np.empty(0)
    for labels, kind, n in tqdm(todo, desc="orientations", unit="fit"):
        galaxies = Labelled(features=features[kind][n], **whole)
        z_phot = np.concatenate(
            [cross_validated(galaxies, split, labels, draw) for draw in range(DRAWS[labels])]
        )
        z = np.tile(whole["z"], DRAWS[labels])
        score = summarise(z_phot, z)
        best = z_phot if n == ORIENTATIONS[0] else best
        cells = ["all" if labels == 1 else str(labels), kind, str(n), f"{1e3 * seconds[n]:.2f}"]
        cells += [f"{score.sigma_nmad:.4f}", f"{score.outliers_05:.1%}", f"{score.r2:.3f}"]
        for metric, digits in (("sigma_nmad", 4), ("r2", 3)):
            worse = paired_difference(z_phot, best, z, metric=metric)
            cells.append(f"{worse.value:+.{digits}f} ± {worse.error:.{digits}f}")
        cells.append(f"{alike(features[kind][n], whole['z']):.4f}")
        rows.append(cells)
    note = (
        f"{int(known.sum())} labelled galaxies of the training and validation sky, {FOLDS} folds "
        f"of it, blend of SVR and MLP. ms: processor time of a galaxy, one thread. Look-alikes: "
        f"median |dz| / (1+z) of a galaxy and its {NEIGHBOURS} nearest."
    )
    write(rows, name, f"SIMULATED. {note}" if simulated else note)


def embedded(
    encoder: Encoder, cutouts: Cutouts, rounds: int = 3
) -> tuple[dict[int, Floats], dict[int, float]]:
    """Vectors for each number of orientations, and seconds a galaxy: the least of a few rounds."""
    vectors: dict[int, Floats] = {}
    seconds = dict.fromkeys(ORIENTATIONS, np.inf)
    for _ in range(rounds):
        for n in ORIENTATIONS:
            started = time.process_time()
            vectors[n] = encoder.embed(cutouts, config=ReadOutConfig(orientations=n))
            seconds[n] = min(seconds[n], (time.process_time() - started) / len(cutouts))
    return vectors, seconds


def alike(features: Floats, z: Array) -> float:
    """Median difference in redshift, |dz| / (1+z), of galaxies and their nearest, each scaled."""
    import faiss

    scaled = (features - features.mean(axis=0)) / features.std(axis=0).clip(1e-6)
    index = faiss.IndexFlatL2(scaled.shape[1])
    index.add(np.ascontiguousarray(scaled, np.float32))
    _, nearest = index.search(np.ascontiguousarray(scaled, np.float32), NEIGHBOURS + 1)
    return float(np.median(np.abs(z[nearest[:, 1:]] - z[:, None]) / (1 + z[:, None])))


def write(rows: list[list[str]], name: str, note: str) -> None:
    """Write the table."""
    head = ["labels", "features", "orientations", "ms", "sigma_NMAD", "outliers", "R²"]
    head += ["sigma over that of 8", "R² over that of 8", "look-alikes"]
    lines = [note, "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    text = "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""])
    with atomic_path(HERE / "results" / f"orientations-{name}.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    asked = [argument for argument in sys.argv[1:] if "=" not in argument]
    named = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    if len(asked) != 2 or set(named) != {"name"}:
        raise SystemExit("expected cutouts, an encoder and name=..., see the docstring")
    main(Path(asked[0]), Path(asked[1]), named["name"])
