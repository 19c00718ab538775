"""Does a run that is killed again and again end as if it had been left alone?

    python -m benchmarks.chaos kills=30

Trains an encoder and embeds with it, undisturbed; then once more while SIGKILL, SIGTERM and SIGUSR1
arrive at random, the same command being given after each, until as many have been sent as asked. If
a disturbed run is done before, another follows. Writes ``results/chaos.md``.

Each attempt is a process of its own, forked from this one, which has imported the libraries.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.chaos.attempts import Attempt, disturb, leave_alone
from ssl_photoz.core.artefact import atomic_path, read_card, sha256_of

ROWS, SIZE_PX, BAD = 400, 36, (7, 250)
RESULT = Path(__file__).with_name("results") / "chaos.md"
TRAIN = "epochs=2 batch_size=20 checkpoint_steps=4 moco.queue_size=100 encoder.crop_px=34"
EMBED = "shard_rows=8 batch_size=8 readout.orientations=2"


def main(kills: int, seed: int, result: Path = RESULT) -> bool:
    """Disturb runs until so many signals have been sent; say whether all ended alike."""
    rng = np.random.default_rng(seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        data = write_cutouts(Path(scratch) / "cutouts.h5")
        whole = Path(scratch) / "whole"
        for command in commands(data, whole):
            leave_alone(command)
        wanted, account = fingerprints(whole)
        attempts: list[Attempt] = []
        alike = []
        while len(attempts) < kills:
            run = Path(scratch) / f"run-{len(alike)}"
            for command in commands(data, run):
                share = 2 / 3 if command[0] == "pretrain" else 1.0
                attempts += disturb(
                    command, run, rng, at_most=round(share * (kills - len(attempts)))
                )
            alike.append(fingerprints(run) == (wanted, account))
            print(f"{len(attempts)} signals, {sum(alike)} of {len(alike)} runs alike", flush=True)
    text = table(attempts, alike, account, seconds=time.monotonic() - started, seed=seed)
    with atomic_path(result) as path:
        path.write_text(text)
    print(text)
    return all(alike)


def write_cutouts(path: Path) -> Path:
    """Write noise as cutouts, two of them all zero."""
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (ROWS, 3, SIZE_PX, SIZE_PX)).astype("f4")
        for row in BAD:
            file["images"][row] = 0
        file["TARGETID"] = np.arange(ROWS) + 2**60
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        file["Z"] = rng.uniform(0.01, 0.5, ROWS).astype("f4")
    return path


def commands(data: Path, run: Path) -> list[list[str]]:
    """What is run: a verb and its settings."""
    encoder, embeddings = run / "encoder", run / "embeddings"
    return [
        ["pretrain", f"data={data}", f"out={encoder}", "augmentations.jitter_px=1", *TRAIN.split()],
        ["embed", f"data={data}", f"encoder={encoder}", f"out={embeddings}", *EMBED.split()],
    ]


def fingerprints(run: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Sha256 of the weights and of all embedded rows, and how many rows there are."""
    shards = sorted((run / "embeddings").glob("part-*.parquet"))
    rows = hashlib.sha256()
    listed: list[int] = []
    for shard in shards:
        for name, column in zip((t := pq.read_table(shard)).column_names, t.columns, strict=True):
            rows.update(repr((name, column.to_pylist())).encode())
        listed += t["row"].to_pylist()
    rejected = pq.read_table(run / "embeddings" / "rejects.parquet")["row"].to_pylist()
    assert sorted(listed + rejected) == list(range(ROWS)), "a row is missing, or there twice"
    assert rejected == list(BAD)
    card = read_card(run / "embeddings", "embeddings")
    account = {name: card[name] for name in ("rows_in", "rows_written", "rows_rejected")}
    weights = sha256_of(run / "encoder" / "weights.safetensors")
    return {"weights": weights, "embedded rows": rows.hexdigest()}, account


def table(
    attempts: list[Attempt],
    alike: list[bool],
    account: dict[str, int],
    *,
    seconds: float,
    seed: int,
) -> str:
    """Page that is kept."""
    lines = [
        "# Killed at random",
        "",
        f"`python -m benchmarks.chaos kills={len(attempts)} seed={seed}`, {ROWS} SIMULATED cutouts "
        f"(noise) of {SIZE_PX} px, {seconds:.0f} s. {sum(alike)} of {len(alike)} disturbed runs "
        f"ended bit-equal to the undisturbed one (sha256 of the weights and of all embedded rows).",
        "",
        f"Rows: {account['rows_in']} in, {account['rows_written']} embedded, "
        f"{account['rows_rejected']} rejected; each there once.",
        "",
        "| verb | signal | sent | before the first step or shard | exit statuses |",
        "|---|---|---|---|---|",
    ]
    for verb in ("pretrain", "embed"):
        for signal in ("SIGKILL", "SIGTERM", "SIGUSR1"):
            some = [one for one in attempts if (one.verb, one.signal) == (verb, signal)]
            early = sum(not one.made for one in some)
            statuses = ", ".join(str(s) for s in sorted({one.status for one in some}))
            lines.append(f"| {verb} | {signal} | {len(some)} | {early} | {statuses} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    asked = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.exit(not main(int(asked.get("kills", 30)), int(asked.get("seed", 0))))
