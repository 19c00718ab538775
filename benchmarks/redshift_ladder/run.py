"""Do one job of the ladder: train, embed, fit probes, write down what they predict."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import safe_open

from benchmarks.redshift_ladder.fitting import fit_probes, predictions, suited, thinned
from benchmarks.redshift_ladder.folds import cross_validate
from benchmarks.redshift_ladder.inputs import labelled_file
from benchmarks.redshift_ladder.likeness import likeness
from benchmarks.redshift_ladder.photometry import photometry, rows_of
from benchmarks.redshift_ladder.plan import Job, Size, count, merged
from benchmarks.redshift_ladder.read_outs import read_outs, take
from ssl_photoz import cli
from ssl_photoz.catalog.lowz_cuts import select_lowz
from ssl_photoz.core import artefact
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.photoz.artefact import read_predictions
from ssl_photoz.photoz.labels import read_labelled, refuse_contaminated
from ssl_photoz.photoz.metrics import score_selection

DONE = "facts.json"


def end_with_parent() -> None:
    """Let this worker die with the process that started it, however that ends; jobs go on later."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def run_job(job: Job, size: Size) -> Job:
    """Do a job, or find it done; what it prints goes to ``log.txt`` in its folder."""
    import torch

    torch.set_num_threads(size.threads)
    if not (job.folder / DONE).exists():
        job.folder.mkdir(parents=True, exist_ok=True)
        special = {"": _references, "supervise": _supervised, "correct": _corrected}
        work = _classified if job.classifies else special.get(job.verb, _frozen)
        work = _cross_validated if job.folds else work
        with _logged(job.folder / "log.txt"):
            facts = work(job, size)
        artefact.write_json(job.folder / DONE, facts)
    return job


def _frozen(job: Job, size: Size) -> dict[str, Any]:
    """Train an encoder, embed the labelled galaxies, fit every probe to every read-out."""
    data, encoder, embedded = (
        size.data(job.input),
        job.folder / "encoder",
        job.folder / "embeddings",
    )
    trained = _timed(job, job.verb, {"data": str(data), "out": str(encoder), **_settings_of(job)})
    readout = {"orientations": size.orientations}
    given = {"data": str(labelled_file(data)), "encoder": str(encoder), "out": str(embedded)}
    seconds = _timed(job, "embed", {**given, "readout": readout, "thumbnails": False})
    embeddings = Embeddings.open(embedded)
    refuse_contaminated(embeddings, allow=False)
    splits = read_labelled(embeddings)
    card = artefact.read_card(encoder, "encoder")
    columns = read_outs(embeddings, encoder, job.readouts)
    tables = []
    for labels in size.labels if job.labels is None else (job.labels,):
        for name, some in columns.items():
            read = {split: take(galaxies, some) for split, galaxies in splits.items()}
            probes = suited((*size.probes, "boosting"), name)
            tables += fit_probes(thinned(read, labels, job.seed), probes, name, labels, job.seed)
    _write(job, tables)
    return {
        "train_seconds": trained,
        "embedded_per_second": len(embeddings) / seconds,
        "steps": card["steps"],
        "parameters": _parameters(encoder / "weights.safetensors"),
        "likeness": likeness(embeddings, splits, size.inputs[job.input].get("likeness", ())),
    }


def _supervised(job: Job, size: Size) -> dict[str, Any]:
    """Train a network on redshifts, end to end."""
    folder = job.folder / "network"
    given = {"data": str(labelled_file(size.data(job.input))), "out": str(folder)}
    trained = _timed(
        job, job.verb, {**given, "orientations": size.orientations, **_settings_of(job)}
    )
    predicted = read_predictions(folder)
    name = next(c.removeprefix("z_phot_") for c in predicted if c.startswith("z_phot_"))
    test = (predicted["id"], predicted["z_spec"], predicted[f"z_phot_{name}"])
    assert job.labels is not None
    _write(job, [predictions(job.labels, "", name, "test", *test)])
    training = artefact.read_json(folder / "metrics.json")["training"]
    return {"train_seconds": trained, "parameters": training["parameters"]}


def _corrected(job: Job, size: Size) -> dict[str, Any]:
    """Correct redshifts read off the embeddings of another job; keep those after the last step."""
    assert job.after is not None
    folder = job.folder / "corrected"
    given = {"embeddings": str(job.after / "embeddings"), "out": str(folder), **_settings_of(job)}
    trained = _timed(job, job.verb, given)
    predicted = read_predictions(folder)
    last = artefact.read_json(folder / "card.json")["config"]["steps"][-1]
    assert job.labels is not None
    test = (predicted["id"], predicted["z_spec"], predicted[f"z_phot_{last}"])
    _write(job, [predictions(job.labels, "", "corrected", "test", *test)])
    return {"train_seconds": trained}


def _classified(job: Job, size: Size) -> dict[str, Any]:
    """Train a classifier of nearby galaxies, beside a head on another job's embeddings and cuts."""
    assert job.after is not None
    folder, of_input = job.folder / "classifier", size.inputs[job.input]
    given: dict[str, Any] = {
        "data": str(labelled_file(size.data(job.input))),
        "out": str(folder),
    }
    nearby = {"embeddings": str(job.after / "embeddings"), "cuts": of_input.get("lowz", [])}
    given |= {"head": {"nearby": nearby}, "orientations": size.orientations}
    trained = _timed(job, job.verb, merged(given, _settings_of(job)))
    none = np.empty(0)
    _write(job, [predictions(job.labels or 0, "", "classifier", "test", none, none, none)])
    return {
        "train_seconds": trained,
        "parameters": artefact.read_json(folder / "card.json")["training"]["parameters"],
        "classified": artefact.read_json(folder / "metrics.json")["methods"],
    }


def _references(job: Job, size: Size) -> dict[str, Any]:
    """Fit probes to photometry: from the pixels, and from the catalogue where it has any."""
    assert job.after is not None
    embeddings = Embeddings.open(job.after / "embeddings")
    aperture = read_labelled(embeddings, features="aperture")
    blocks = {"aperture": aperture}
    if columns := size.inputs[job.input].get("catalogue"):
        blocks["catalogue"] = photometry(embeddings, aperture, columns, seed=job.seed)
    tables = []
    for labels in size.labels:
        for name, splits in blocks.items():
            some = thinned(splits, labels, job.seed)
            probes = suited((*size.probes, "boosting"), name)
            tables += fit_probes(some, probes, name, labels, job.seed)
        some = thinned(aperture, labels, job.seed)
        tables += fit_probes(some, ("mean",), "mean", labels, job.seed)
    _write(job, tables)
    facts: dict[str, Any] = {"training_labels": len(aperture["train"])}
    if columns := size.inputs[job.input].get("lowz"):
        at = rows_of(embeddings, aperture["test"])
        r_mag, g_mag, *radius = (embeddings.column(column)[at] for column in columns)
        selection = select_lowz(r_mag, g_mag - r_mag, radius[0] if radius else None)
        scored = score_selection(selection.selected, aperture["test"].z)
        if np.isfinite(list(scored.values())).all():  # in a small sky nothing may be nearby
            facts["lowz"] = {**scored, "cuts": list(selection.cuts)}
    return facts


def _cross_validated(job: Job, size: Size) -> dict[str, Any]:
    """Score every labelled galaxy once, by probes on embeddings or photometry of another job."""
    tables, facts = cross_validate(job, size)
    _write(job, tables)
    return facts


def _parameters(weights: Path) -> int:
    with safe_open(weights, framework="np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]
    return int(sum(np.prod(shape, dtype=int) for shape in shapes))


def _write(job: Job, tables: list[pa.Table]) -> None:
    with artefact.atomic_path(job.folder / "predictions.parquet") as scratch:
        pq.write_table(pa.concat_tables(tables), scratch, compression="zstd")


def _settings_of(job: Job) -> dict[str, Any]:
    """Settings of the job's verb, with what depends on other jobs and on the data."""
    more: dict[str, Any] = dict(job.settings)
    if job.after is not None and job.verb in ("align", "supervise") and not job.classifies:
        more["start"] = str(job.after / "encoder")
    # All is not given as a number: a network that clips redshifts has fewer.
    if job.labels not in (None, 1.0) and job.counts_from is not None:
        splits = read_labelled(Embeddings.open(job.counts_from / "embeddings"))
        more["labels"] = count(job.labels, len(splits["train"]))
    return more


def _timed(job: Job, verb: str, settings: Mapping[str, Any]) -> float:
    """Run a verb with settings kept beside its result; return its seconds, also if done before."""
    config, clock = job.folder / f"{verb}.yaml", job.folder / f"{verb}.seconds.json"
    with artefact.atomic_path(config) as scratch:
        scratch.write_text(yaml.safe_dump(dict(settings)))
    started = time.perf_counter()
    cli.run(verb, [str(config)])
    if not clock.exists():
        artefact.write_json(clock, {"seconds": time.perf_counter() - started})
    return float(artefact.read_json(clock)["seconds"])


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    with path.open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
