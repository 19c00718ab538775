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

    From a catalogue, or an image, to cutouts: `select`, `detect`, `fetch`, `simulate`, `inspect`,
    `convert`.
    From cutouts to embeddings: `pretrain`, `align`, `supervise`, `transfer`, `embed`, `adopt`,
    and on many machines `distribute`.
    From embeddings to answers: `probe`, `predict`, `correct`, `harmonize`, `index`, `query`,
    `dwarfs`, `map`, `explore`, `report`, `join`. Several, from one YAML: `run`.

Labels
    `merge_labels` makes one table of several; `redshift_distribution` is the n(z) of a selection.

Configs
    Frozen dataclasses, ``MoCoConfig(temperature=0.1)``, in which each hyper-parameter is declared.

A name is loaded when it is first used: importing this package takes no torch. What is not named
here may change between releases.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from ssl_photoz.core.threads import limit_pools
from ssl_photoz.core.version import __version__ as __version__

# Threads of OpenMP that wait spin, and take the processor from whatever else runs: a fit beside
# another program then takes several times as long. Read when torch or scikit-learn load, later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
limit_pools()

if TYPE_CHECKING:
    from ssl_photoz.augment.settings import AugmentationConfig as AugmentationConfig
    from ssl_photoz.cutouts.reader import Cutouts as Cutouts
    from ssl_photoz.cutouts.reader import open_cutouts as open_cutouts
    from ssl_photoz.cutouts.split import SkySplit as SkySplit
    from ssl_photoz.cutouts.split import SplitConfig as SplitConfig
    from ssl_photoz.cutouts.split import sky_split as sky_split
    from ssl_photoz.detection.settings import DetectionConfig as DetectionConfig
    from ssl_photoz.embeddings.store import Embeddings as Embeddings
    from ssl_photoz.encoders.artefact import load_encoder as load_encoder
    from ssl_photoz.encoders.encoder import Encoder as Encoder
    from ssl_photoz.encoders.hub import from_pretrained as from_pretrained
    from ssl_photoz.encoders.hub import push_to_hub as push_to_hub
    from ssl_photoz.encoders.settings import EncoderConfig as EncoderConfig
    from ssl_photoz.encoders.settings import ReadOutConfig as ReadOutConfig
    from ssl_photoz.fetching.settings import FrameConfig as FrameConfig
    from ssl_photoz.fetching.settings import ImageConfig as ImageConfig
    from ssl_photoz.fetching.settings import ServiceConfig as ServiceConfig
    from ssl_photoz.nearby.settings import ClassifierConfig as ClassifierConfig
    from ssl_photoz.nearby.settings import DwarfConfig as DwarfConfig
    from ssl_photoz.nearby.settings import EvaluationConfig as EvaluationConfig
    from ssl_photoz.photoz.distribution import redshift_distribution as redshift_distribution
    from ssl_photoz.photoz.estimator import PhotoZ as PhotoZ
    from ssl_photoz.photoz.label_sources import merge_labels as merge_labels
    from ssl_photoz.photoz.metrics import score as score
    from ssl_photoz.photoz.settings import CorrectionConfig as CorrectionConfig
    from ssl_photoz.photoz.settings import DensityConfig as DensityConfig
    from ssl_photoz.photoz.settings import LabelConfig as LabelConfig
    from ssl_photoz.photoz.settings import SampleConfig as SampleConfig
    from ssl_photoz.pipeline import run as run
    from ssl_photoz.qa.settings import CheckConfig as CheckConfig
    from ssl_photoz.recipes.pretrain.adopt import adopt as adopt
    from ssl_photoz.recipes.pretrain.align import align as align
    from ssl_photoz.recipes.pretrain.distribute import distribute as distribute
    from ssl_photoz.recipes.pretrain.embed import embed as embed
    from ssl_photoz.recipes.pretrain.pretrain import pretrain as pretrain
    from ssl_photoz.recipes.pretrain.supervise import supervise as supervise
    from ssl_photoz.recipes.pretrain.transfer import transfer as transfer
    from ssl_photoz.recipes.probe.correct import correct as correct
    from ssl_photoz.recipes.probe.dwarfs import dwarfs as dwarfs
    from ssl_photoz.recipes.probe.explore import explore as explore
    from ssl_photoz.recipes.probe.harmonize import harmonize as harmonize
    from ssl_photoz.recipes.probe.index import index as index
    from ssl_photoz.recipes.probe.join import join as join
    from ssl_photoz.recipes.probe.map import map as map
    from ssl_photoz.recipes.probe.predict import predict as predict
    from ssl_photoz.recipes.probe.probe import probe as probe
    from ssl_photoz.recipes.probe.query import query as query
    from ssl_photoz.recipes.probe.report import report as report
    from ssl_photoz.recipes.survey.convert import convert as convert
    from ssl_photoz.recipes.survey.detect import detect as detect
    from ssl_photoz.recipes.survey.fetch import fetch as fetch
    from ssl_photoz.recipes.survey.inspect import inspect as inspect
    from ssl_photoz.recipes.survey.select import select as select
    from ssl_photoz.recipes.survey.simulate import simulate as simulate
    from ssl_photoz.scaleout.settings import RunnerConfig as RunnerConfig
    from ssl_photoz.scaleout.settings import TilesConfig as TilesConfig
    from ssl_photoz.similarity.index import Index as Index
    from ssl_photoz.similarity.settings import FeedbackConfig as FeedbackConfig
    from ssl_photoz.similarity.settings import IndexConfig as IndexConfig
    from ssl_photoz.similarity.settings import MapConfig as MapConfig
    from ssl_photoz.similarity.settings import MatchConfig as MatchConfig
    from ssl_photoz.similarity.settings import QualityConfig as QualityConfig
    from ssl_photoz.similarity.settings import TargetConfig as TargetConfig
    from ssl_photoz.simulator.settings import SimulatorConfig as SimulatorConfig
    from ssl_photoz.training.settings import LabelLossConfig as LabelLossConfig
    from ssl_photoz.training.settings import MachineConfig as MachineConfig
    from ssl_photoz.training.settings import MoCoConfig as MoCoConfig
    from ssl_photoz.training.settings import ShuffleConfig as ShuffleConfig
    from ssl_photoz.training.settings import TrainingConfig as TrainingConfig
    from ssl_photoz.training.supervised.settings import BandsConfig as BandsConfig
    from ssl_photoz.training.supervised.settings import HeadConfig as HeadConfig
    from ssl_photoz.training.supervised.settings import ModelConfig as ModelConfig
    from ssl_photoz.training.supervised.settings import SupervisedConfig as SupervisedConfig
    from ssl_photoz.training.transfer.settings import AdaptationConfig as AdaptationConfig

PROGRAMS = {
    "survey": ("select", "detect", "fetch", "simulate", "inspect", "convert"),
    "pretrain": ("pretrain", "align", "supervise", "transfer", "embed", "adopt", "distribute"),
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
    "score": "photoz.metrics",
    "merge_labels": "photoz.label_sources",
    "redshift_distribution": "photoz.distribution",
    "Index": "similarity.index",
}
CONFIGS = {
    "SimulatorConfig": "simulator.settings",
    "CheckConfig": "qa.settings",
    "DetectionConfig": "detection.settings",
    "FrameConfig": "fetching.settings",
    "ImageConfig": "fetching.settings",
    "ServiceConfig": "fetching.settings",
    "SplitConfig": "cutouts.split",
    "TrainingConfig": "training.settings",
    "ShuffleConfig": "training.settings",
    "MachineConfig": "training.settings",
    "EncoderConfig": "encoders.settings",
    "MoCoConfig": "training.settings",
    "AugmentationConfig": "augment.settings",
    "LabelLossConfig": "training.settings",
    "ReadOutConfig": "encoders.settings",
    "ModelConfig": "training.supervised.settings",
    "HeadConfig": "training.supervised.settings",
    "SupervisedConfig": "training.supervised.settings",
    "BandsConfig": "training.supervised.settings",
    "AdaptationConfig": "training.transfer.settings",
    "SampleConfig": "photoz.settings",
    "LabelConfig": "photoz.settings",
    "DensityConfig": "photoz.settings",
    "CorrectionConfig": "photoz.settings",
    "IndexConfig": "similarity.settings",
    "QualityConfig": "similarity.settings",
    "TargetConfig": "similarity.settings",
    "MatchConfig": "similarity.settings",
    "FeedbackConfig": "similarity.settings",
    "MapConfig": "similarity.settings",
    "DwarfConfig": "nearby.settings",
    "ClassifierConfig": "nearby.settings",
    "EvaluationConfig": "nearby.settings",
    "TilesConfig": "scaleout.settings",
    "RunnerConfig": "scaleout.settings",
}
HOMES = {**OBJECTS, **CONFIGS, **VERBS}

__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
