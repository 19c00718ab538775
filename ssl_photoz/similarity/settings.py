"""Settings of the index, of queries and of the map; loads no heavy library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_photoz.core.errors import ConfigError

Mode = Literal["centroid", "any"]
Missing = Literal["refuse", "skip"]


@dataclass(frozen=True)
class IndexConfig:
    """How vectors are reduced, and how they are searched.

    Attributes:
        pca_dim: Length of the vectors that are compared: principal components and a constant.
        whiten: Whether every component is scaled to unit variance first.
        index_type: auto, flat (exact), hnsw, ivf_flat, ivf_sq8, ivf_pq, or a FAISS factory
            string such as OPQ32,IVF4096,PQ32np; auto goes by catalogue size and memory.
        recall: Fraction of the 10 nearest that a search should find; sets how hard it looks.
        memory_gb: Memory that auto may take when searching, 10^9 bytes; null: half of what is free.
        rows_per_shard: Galaxies of a shard; more of them become several shards, except where the
            type is flat or hnsw, which auto then does not choose.
        seed: Seed of the samples drawn.
    """

    pca_dim: int = 128
    whiten: bool = False
    index_type: str = "auto"
    recall: float = 0.99
    memory_gb: float | None = None
    rows_per_shard: int = 2_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows_per_shard < 1:
            raise ConfigError(f"rows_per_shard is {self.rows_per_shard}, expected at least 1")
        if self.pca_dim < 2:
            raise ConfigError(f"pca_dim is {self.pca_dim}, expected at least 2")
        if not 0 < self.recall <= 1:
            raise ConfigError(f"recall is {self.recall}, expected more than 0 and at most 1")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise ConfigError(f"memory_gb is {self.memory_gb}, expected more than 0, or null")


@dataclass(frozen=True)
class QualityConfig:
    """How look-alikes are scored by redshift.

    Attributes:
        k: Neighbours looked at.
        bin_width: Width in ln(1+z) of a redshift bin; a hit is a neighbour in the query's bin.
        z_max: Redshift below which a galaxy is nearby.
        max_queries: Test galaxies asked about, at most.
        max_ranked: Queries of the scores at R, which rank every reference, at most; references
            there are at most five times as many.
    """

    k: int = 10
    bin_width: float = 0.02
    z_max: float = 0.05
    max_queries: int = 5000
    max_ranked: int = 1000

    def __post_init__(self) -> None:
        if self.k < 1 or not (self.bin_width > 0 and self.z_max > 0):
            raise ConfigError(
                f"k is {self.k}, bin_width {self.bin_width} and z_max {self.z_max}, expected "
                f"k >= 1 and the others > 0"
            )


@dataclass(frozen=True)
class TargetConfig:
    """What look-alikes are wanted of: one of id; ra and dec; cutout and encoder; like; examples.

    Attributes:
        id: Id of a galaxy in the embeddings.
        ra: Right ascension, degrees.
        dec: Declination, degrees.
        cutout: Cutout file that holds the query: HDF5, FITS or NPY.
        encoder: Encoder folder that the embeddings were made with, to embed the cutout.
        row: Row of the cutout file.
        like: Table of galaxies (.csv, .fits, .vot, .parquet) by id or targetid, or by ra, dec.
        unlike: Table of galaxies to keep away from.
        examples: Number of labelled test galaxies, spread in redshift, to ask about in turn.
    """

    id: str | int | None = None
    ra: float | None = None
    dec: float | None = None
    cutout: Path | None = None
    encoder: Path | None = None
    row: int = 0
    like: Path | None = None
    unlike: Path | None = None
    examples: int = 0

    def require_one(self) -> None:
        """Refuse no query, and more than one.

        Raises:
            ConfigError: Naming what was given and what may be.
        """
        asked = {
            "id": self.id is not None,
            "ra and dec": self.ra is not None and self.dec is not None,
            "cutout and encoder": self.cutout is not None and self.encoder is not None,
            "like": self.like is not None,
            "examples": self.examples > 0,
        }
        if sum(asked.values()) != 1:
            given = " and ".join(name for name, is_given in asked.items() if is_given)
            raise ConfigError(f"got {given or 'no query'}, expected one of: {'; '.join(asked)}")
        if self.unlike is not None and self.like is None:
            raise ConfigError("got unlike without like, expected both")


@dataclass(frozen=True)
class MatchConfig:
    """How positions and lists are matched to galaxies of the embeddings.

    Attributes:
        radius_arcsec: Largest distance of a galaxy from the position asked for, or listed.
        match: Number of the galaxy within the radius of ra, dec: 1 the nearest, 2 the next.
        missing: Refuse or skip listed galaxies that are not among the embeddings.
    """

    radius_arcsec: float = 2.0
    match: int = 1
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        if not self.radius_arcsec > 0:
            raise ConfigError(f"radius_arcsec is {self.radius_arcsec}, expected more than 0")


@dataclass(frozen=True)
class FeedbackConfig:
    """How likes and dislikes are combined.

    Attributes:
        mode: Meaning of a list: like its centroid, or like any of its galaxies.
        unlike_weight: Weight of the dislikes: score = cosine to like - unlike_weight cosine to
            unlike.
    """

    mode: Mode = "centroid"
    unlike_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.unlike_weight < math.inf:
            raise ConfigError(f"unlike_weight is {self.unlike_weight}, expected 0 or more")


@dataclass(frozen=True)
class MapConfig:
    """How galaxies are laid out in two dimensions by UMAP.

    Attributes:
        pca_dim: Principal components that are laid out.
        n_neighbors: Neighbours that shape the map; more keeps more of the large scale.
        min_dist: Least distance between points on the map.
        epochs: Passes of UMAP through all pairs of neighbours.
        fit_limit: Galaxies laid out, at most, drawn so that sparse regions do not vanish; each of
            the others is placed at the distance-weighted mean of its neighbours among them.
        seed: Seed of the draw and of UMAP; the same seed gives the same map.
    """

    pca_dim: int = 50
    n_neighbors: int = 15
    min_dist: float = 0.1
    epochs: int = 200
    fit_limit: int = 25_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_neighbors < 2 or self.epochs < 1:
            raise ConfigError(
                f"n_neighbors is {self.n_neighbors} and epochs {self.epochs}, expected at least 2 "
                f"and 1"
            )
