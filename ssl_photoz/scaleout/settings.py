"""Settings of tiles and of what runs them; loads no heavy library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ssl_photoz.core.errors import ConfigError

FINEST = 29


@dataclass(frozen=True)
class TilesConfig:
    """How rows are divided into tiles, HEALPix cells in the nested scheme.

    Attributes:
        most_rows: Rows of a tile, at most: a cell with more is divided into its four parts.
        coarsest: Order of the largest cells; 0: the twelve of the whole sky.
        finest: Order of the smallest cells, which may hold more rows than ``most_rows``.
        as_they_are: Whether a HATS catalogue keeps the tiles that it has, read one at a time.
    """

    most_rows: int = 100_000
    coarsest: int = 0
    finest: int = 12
    as_they_are: bool = True

    def __post_init__(self) -> None:
        if self.most_rows < 1:
            raise ConfigError(f"tiles.most_rows is {self.most_rows}, expected at least 1")
        if not 0 <= self.coarsest <= self.finest <= FINEST:
            raise ConfigError(
                f"tiles.coarsest is {self.coarsest} and finest {self.finest}, expected orders "
                f"from 0 to {FINEST}, the coarsest first"
            )


@dataclass(frozen=True)
class RunnerConfig:
    """What runs the tiles.

    Attributes:
        kind: Loop in this process (here); workers of Dask (dask); every so many tiles in each
            process of torchrun, srun or a job array (ranks); no tile, what is there is put
            together (none).
        scheduler: Address of a running Dask scheduler, tcp://host:8786; null: workers are started
            for this run.
        jobs: YAML of a cluster of dask-jobqueue to start; null: workers on this machine.
        workers: Dask workers to start on this machine; 0: one per GPU, or per core without.
        gpu: Whether a tile waits for a worker's GPU (the Dask resource GPU), one tile per GPU.
        retries: Attempts after an error of a tile, before it counts as failed.
        deaths: Workers that a tile may take down with it before it counts as failed.
    """

    kind: Literal["here", "dask", "ranks", "none"] = "here"
    scheduler: str | None = None
    jobs: str | None = None
    workers: int = 0
    gpu: bool = False
    retries: int = 2
    deaths: int = 2

    def __post_init__(self) -> None:
        if min(self.workers, self.retries, self.deaths) < 0:
            raise ConfigError(
                f"runner.workers is {self.workers}, retries {self.retries}, deaths {self.deaths}, "
                f"expected none below 0"
            )
        if self.scheduler is not None and self.jobs is not None:
            raise ConfigError("runner.scheduler is a running cluster, runner.jobs starts one")
        if self.kind != "dask" and (self.scheduler or self.jobs):
            raise ConfigError("runner.scheduler and runner.jobs are for runner.kind=dask")
