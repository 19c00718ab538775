"""What runs the tiles: a loop here, workers of Dask, or one process of many that were launched.

All three call `work.attempt` on each tile. Dask moves a tile to another worker when one dies, and
gives up a tile that takes down too many; what is known of each tile lies on disk, never in the
scheduler, so that any run goes on where another ended.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ssl_photoz.core.config import load_yaml
from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.signals import StoppedError
from ssl_photoz.scaleout.hats import MISSING
from ssl_photoz.scaleout.settings import RunnerConfig
from ssl_photoz.scaleout.tiles import Tile
from ssl_photoz.scaleout.work import Done, Failed, Work, attempt, record_failure

if TYPE_CHECKING:
    from distributed import Client

Outcomes = Generator[Done | Failed, None, None]
PATIENCE = "30s"  # for a scheduler to answer
JOB_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")


def run_tiles(work: Work, tiles: Sequence[Tile], config: RunnerConfig) -> list[Failed]:
    """Make tiles; those that are there already are passed over.

    Args:
        work: What is done to each.
        tiles: The tiles.
        config: What runs them.

    Returns:
        Those that failed, each recorded in the output.

    Raises:
        OSError: If the disk is full.
        ConfigError: If the runner cannot be had.
    """
    if config.kind == "none":
        return []
    outcomes = {"here": _here, "ranks": _ranks, "dask": _dask}[config.kind](work, tiles, config)
    failed: list[Failed] = []
    with closing(outcomes), tqdm(total=len(tiles), unit="tile", desc="tiles") as bar:
        for outcome in outcomes:
            bar.update()
            if isinstance(outcome, Done):
                continue
            record_failure(work.out, outcome)
            failed.append(outcome)
            if outcome.full_disk:
                full = f"tile {outcome.name}: {os.strerror(outcome.full_disk)}"
                raise OSError(outcome.full_disk, full, str(work.out))
    return failed


def share_of_rank(environment: Mapping[str, str]) -> tuple[slice, int]:
    """Tiles that are this process's own, and its number on its machine.

    Args:
        environment: Environment variables, as torchrun, srun or a job array of Slurm set them.

    Raises:
        ConfigError: If none of them says which process this is.
    """
    from ssl_photoz.training.ranks import launch

    if found := launch(environment):
        return slice(int(found["RANK"]), None, int(found["WORLD_SIZE"])), int(found["LOCAL_RANK"])
    if all(name in environment for name in JOB_ARRAY):
        number, least, count = (int(environment[name]) for name in JOB_ARRAY)
        return slice(number - least, None, count), 0
    if environment.get("WORLD_SIZE", environment.get("SLURM_STEP_NUM_TASKS")) == "1":
        return slice(0, None, 1), 0
    raise ConfigError(
        "runner.kind=ranks takes its share of the tiles from what torchrun, srun or a job array "
        "of Slurm sets (RANK, SLURM_STEP_NUM_TASKS, SLURM_ARRAY_TASK_ID ...); none is there: "
        "start it by one of them, or give runner.kind=here"
    )


def _here(work: Work, tiles: Sequence[Tile], config: RunnerConfig, *, place: int = 0) -> Outcomes:
    for tile in tiles:
        yield _persistent(work, tile, place=place, retries=config.retries)


def _ranks(work: Work, tiles: Sequence[Tile], config: RunnerConfig) -> Outcomes:
    share, place = share_of_rank(os.environ)
    yield from _here(work, tiles[share], config, place=place)


def _persistent(work: Work, tile: Tile, *, place: int, retries: int) -> Done | Failed:
    """Attempt a tile several times."""
    for left in range(retries, -1, -1):
        try:
            return attempt(work, tile, place=place)
        except StoppedError:
            raise
        except Exception as error:
            if not left:
                return Failed.of(tile, error)
            print(f"tile {tile.name}: {type(error).__name__}: {error}; trying again")
    raise AssertionError


def _dask(work: Work, tiles: Sequence[Tile], config: RunnerConfig) -> Outcomes:
    """One task a tile, drained as they end; what killed its workers is tried once more, alone.

    A worker that dies makes suspects of all tiles that it was given. Only alone is it certain
    which of them was to blame.
    """
    with _client(config, most=len(tiles)) as client:
        suspects = []
        for tile, outcome in _drained(client, work, tiles, config):
            if outcome is None:
                suspects.append(tile)
            else:
                yield outcome
        for suspect in suspects:
            for tile, outcome in _drained(client, work, [suspect], config):
                yield outcome or Failed(
                    tile.cell,
                    "KilledWorker",
                    f"it took down {config.deaths + 1} workers, then {config.deaths + 1} more when "
                    f"it ran alone: out of memory, most likely",
                )


def _drained(
    client: Client, work: Work, tiles: Sequence[Tile], config: RunnerConfig
) -> Iterator[tuple[Tile, Done | Failed | None]]:
    """Tiles and their outcome as they end; None where workers died."""
    from distributed import KilledWorker, as_completed

    futures: dict[Any, Tile] = {
        client.submit(
            _on_worker,
            work,
            tile,
            key=f"{type(work).__name__}-{tile.name}-{os.urandom(4).hex()}",
            retries=config.retries,
            resources={"GPU": 1} if config.gpu else None,
            pure=False,
        ): tile
        for tile in tiles
    }
    for future in as_completed(list(futures)):
        tile = futures.pop(future)
        error = future.exception()
        if error is None:
            yield tile, future.result()
        elif isinstance(error, KilledWorker):
            yield tile, None
        else:
            yield tile, Failed.of(tile, error)
        future.release()


def _on_worker(work: Work, tile: Tile) -> Done | Failed:
    from distributed import get_worker

    name = get_worker().name
    return attempt(work, tile, place=name if isinstance(name, int) else 0)


@contextmanager
def _client(config: RunnerConfig, *, most: int) -> Iterator[Client]:
    """A client of the cluster that is asked for; one that was started here ends with it."""
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise ConfigError(MISSING) from None
    if config.scheduler is not None:
        try:
            client = Client(config.scheduler, timeout=PATIENCE)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at runner.scheduler={config.scheduler} ({error})"
            ) from None
        with client:
            yield client
        return
    settings = {
        "distributed.scheduler.allowed-failures": config.deaths,
        "distributed.scheduler.worker-saturation": 1.0,  # a tile does not wait beside another
    }
    with dask.config.set(settings), _cluster(config, most) as cluster, Client(cluster) as client:
        yield client


def _cluster(config: RunnerConfig, most: int) -> Any:  # noqa: ANN401 - distributed has no types
    from distributed import LocalCluster

    if config.jobs is not None:
        return _job_cluster(Path(config.jobs))
    gpus = _gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(config.workers or gpus or cores or 1, max(most, 1))
    threads = os.environ.get("OMP_NUM_THREADS") or str(max((cores or 1) // workers, 1))
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        resources={"GPU": 1} if config.gpu else None,
        env={"OMP_NUM_THREADS": threads, "TQDM_DISABLE": "1"},
        silence_logs=logging.ERROR,
    )
    cluster.adapt(minimum=workers, maximum=workers)  # one that lost the scheduler is replaced
    return cluster


def _job_cluster(path: Path) -> Any:  # noqa: ANN401 - dask_jobqueue has no types
    """The cluster that a YAML describes: ``cluster`` (a class), ``jobs``, and its ``options``."""
    try:
        import dask_jobqueue
    except ImportError:
        raise ConfigError(
            "runner.jobs starts a cluster by dask-jobqueue; run: pip install dask-jobqueue"
        ) from None
    said = load_yaml(path)
    kind = getattr(dask_jobqueue, str(said.get("cluster", "SLURMCluster")), None)
    if kind is None or not isinstance(said.get("jobs"), int):
        raise ConfigError(
            f"{path} must say cluster: (a class of dask_jobqueue, such as SLURMCluster) and jobs: "
            f"(how many), got {said.get('cluster')!r} and {said.get('jobs')!r}"
        )
    cluster = kind(**said.get("options", {}))
    cluster.adapt(minimum_jobs=said["jobs"], maximum_jobs=said["jobs"])  # jobs that end, too
    return cluster


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
