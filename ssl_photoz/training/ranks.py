"""Several processes as one run: who is which, and what they tell each other.

They are started by ``torchrun``, or by ``srun`` with one task per device; a process alone finds
that all of this does nothing. The first one (rank 0) writes and prints; the others are silent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_photoz.core.errors import ConfigError, SslPhotozError, TrainingError
from ssl_photoz.core.signals import StoppedError

Answer = TypeVar("Answer")
PATIENCE = timedelta(hours=6)  # the first process may have to look at every cutout


def launch(environment: Mapping[str, str]) -> dict[str, str]:
    """Launch variables of this process, by torchrun's names; empty if it is alone.

    Under ``srun`` the variables of the step count, which a shell in an allocation has not.

    Args:
        environment: Environment variables, such as ``os.environ``.
    """
    words = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
    given = {name: environment[name] for name in words if name in environment}
    if "SLURM_STEP_NUM_TASKS" in environment and "RANK" not in given:
        world = environment["SLURM_STEP_NUM_TASKS"]
        nodes = environment.get("SLURM_STEP_NUM_NODES", "1")
        given = {
            "RANK": environment["SLURM_PROCID"],
            "WORLD_SIZE": world,
            "LOCAL_RANK": environment["SLURM_LOCALID"],
            "LOCAL_WORLD_SIZE": str(int(world) // int(nodes)),
            "GROUP_RANK": environment.get("SLURM_NODEID", "0"),
            "MASTER_ADDR": environment.get("MASTER_ADDR", "127.0.0.1"),
            "MASTER_PORT": environment.get("MASTER_PORT", "29500"),
        }
    return given if int(given.get("WORLD_SIZE", "1")) > 1 else {}


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes of this launch, if there are any, for as long as the block lasts.

    Raises:
        TrainingError: If they do not come, or one is lost.
    """
    found = launch(os.environ)
    if not found:
        yield
        return
    os.environ.update(found)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with worker_failure_guard():
        dist.init_process_group(backend, timeout=PATIENCE)
        if rank() == 0:
            yield
        else:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                yield
        dist.barrier()  # whoever leaves first would be taken for lost
    dist.destroy_process_group()


@contextmanager
def worker_failure_guard() -> Iterator[None]:
    """Turn the network errors of a lost process into one line.

    Raises:
        TrainingError: If it is gone.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        lost = isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text
        if not lost:
            raise
        who = f"process {os.environ.get('RANK', 0)} of {os.environ.get('WORLD_SIZE', 1)}"
        raise TrainingError(
            f"{who} has lost another one ({text.strip().splitlines()[0]:.200}); run the same "
            f"command to go on from the last checkpoint"
        ) from error


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """Device that this process trains on: its own GPU, or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if world() > 1 else 0)


def share(batch_size: int) -> slice:
    """Part of every global batch that belongs to this process.

    Raises:
        ConfigError: If the processes cannot share it equally, two galaxies or more each.
    """
    each, over = divmod(batch_size, world())
    if over or each < 2:
        raise ConfigError(
            f"batch_size {batch_size} is for all {world()} processes together; expected a multiple "
            f"of {world()}, at least {2 * world()}"
        )
    return slice(rank() * each, (rank() + 1) * each)


def on_rank_zero(work: Callable[[], Answer]) -> Answer:
    """Run something in the first process only; all get its result, or its error."""
    if world() == 1:
        return work()
    told: list[object] = [None, None]
    if rank() == 0:
        try:
            told[0] = work()
        except StoppedError:
            raise
        except (SslPhotozError, OSError) as error:
            told[1] = error
    dist.broadcast_object_list(told, src=0)
    if isinstance(told[1], Exception):
        raise told[1]
    return told[0]  # type: ignore[return-value]


def all_gather_object(answer: Answer) -> list[Answer]:
    """The objects of all processes, in their order."""
    if world() == 1:
        return [answer]
    said: list[Answer | None] = [None] * world()
    dist.all_gather_object(said, answer)
    return said  # type: ignore[return-value]


def all_reduce_max(number: int) -> int:
    """Largest of the processes' numbers."""
    if world() == 1:
        return number
    said = torch.tensor(number)
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return int(said)


def average_(values: Tensor) -> Tensor:
    """Replace values by their mean over the processes."""
    if world() > 1:
        dist.all_reduce(values)
        values /= world()
    return values


def gathered(part: Tensor) -> Tensor:
    """Whole global batch from the processes' parts, (B, ...)."""
    if world() == 1:
        return part
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def gathered_with_gradient(part: Tensor) -> Tensor:
    """Do as `gathered`, for a loss of the whole batch that every process takes.

    Gradients are averaged over the processes, and each has only that of its own part: it counts
    as often as there are processes.
    """
    if world() == 1:
        return part
    whole = gathered(part.detach())
    whole[share(len(whole))] = part + (world() - 1) * (part - part.detach())
    return whole


def batch_shuffle(part: Tensor, order: Tensor) -> Tensor:
    """Redistribute a global batch, of which this is a part, in another order.

    Args:
        part: This process's part.
        order: A permutation of the global batch, the same in all processes.

    Returns:
        The part that this process now has, as long as before.
    """
    if world() == 1:
        return part
    return gathered(part)[order.to(part.device)[share(len(order))]]


def batch_unshuffle(part: Tensor, order: Tensor) -> Tensor:
    """Whole batch, (B, ...), in its old order, from what was made of shuffled parts."""
    if world() == 1:
        return part
    return gathered(part)[order.argsort().to(part.device)]
