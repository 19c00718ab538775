"""Galaxy images in; distances, look-alikes and nearby dwarfs out.

An encoder is trained on all cutouts without labels. After that everything needs only its
embeddings, plain arrays (N, D), and takes seconds::

    import ssl_photoz as sp

    cutouts = sp.open_cutouts("cutouts.h5")  # any format; .z, .ra, .id, len, slicing
    encoder = sp.load_encoder("runs/mine/encoder")
    X = encoder.embed(cutouts)  # or an (N, C, H, W) array
    split = sp.sky_split(cutouts)  # .train .val .test masks
    photoz = sp.PhotoZ("mlp").fit(
        X[split.train], cutouts.z[split.train], validation=(X[split.val], cutouts.z[split.val])
    )
    z, lo, hi = photoz.predict(X[split.test], interval=True)
    print(sp.score(z, cutouts.z[split.test]))  # bias, sigma_NMAD, outliers, with errors
    ids, distance = sp.Index.build(X, ids=cutouts.id).search(X[:1], k=12)

Objects
    `Cutouts`, `Encoder`, `Embeddings`, `PhotoZ`, `Index`: a file or folder is opened by
    ``open_cutouts``, ``load_encoder``, ``Embeddings.open``, ``PhotoZ.load``, ``Index.load``. Those
    of a folder have a ``card``, which says what made them.

Verbs
    Functions that take paths or these objects, write an artefact and return it. Each is a command
    too: ``ssl_photoz.embed(...)`` is ``ssl-photoz embed ...``.

    From a catalogue to cutouts: `select`, `fetch`, `simulate`, `inspect`, `convert`.
    From cutouts to embeddings: `pretrain`, `align`, `supervise`, `transfer`, `embed`, `adopt`.
    From embeddings to answers: `probe`, `predict`, `correct`, `harmonize`, `index`, `query`,
    `dwarfs`, `map`, `explore`, `report`, `join`. Several, from one YAML: `run`.

Configs
    Frozen dataclasses, ``MoCoConfig(temperature=0.1)``, in which each hyper-parameter is declared.

A name is loaded when it is first used: importing this package takes no torch. What is not named
here may change between releases.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

PROGRAMS = {
    "survey": ("select", "fetch", "simulate", "inspect", "convert"),
    "pretrain": ("pretrain", "align", "supervise", "transfer", "embed", "adopt"),
    "probe": (
        *("probe", "predict", "correct", "harmonize", "index", "query", "dwarfs", "map"),
        *("explore", "report", "join"),
    ),
}
VERBS = {
    **{verb: f"recipes.{folder}.{verb}" for folder, verbs in PROGRAMS.items() for verb in verbs},
    "run": "pipeline",
}
OBJECTS = {
    "Cutouts": "cutouts.reader",
    "open_cutouts": "cutouts.reader",
    "SkySplit": "cutouts.split",
    "sky_split": "cutouts.split",
    "Encoder": "encoders.encoder",
    "load_encoder": "encoders.artefact",
    "from_pretrained": "encoders.hub",
    "push_to_hub": "encoders.hub",
    "Embeddings": "embeddings.store",
    "PhotoZ": "photoz.estimator",
    "score": "photoz.estimator",
    "Index": "similarity.index",
}
CONFIGS = {
    "AugmentationConfig": "augment.settings",
    "EncoderConfig": "encoders.settings",
    "ReadOutConfig": "encoders.settings",
    "SplitConfig": "cutouts.split",
    "MoCoConfig": "training.settings",
    "TrainingConfig": "training.settings",
    "LabelLossConfig": "training.settings",
    "MachineConfig": "training.settings",
    "IndexConfig": "similarity.settings",
}
HOMES = {**OBJECTS, **CONFIGS, **VERBS}

__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
