"""Fetch many cutouts over a few connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.signals import StoppedError, StopRequest
from ssl_photoz.core.types import Array, Doubles, Ints
from ssl_photoz.fetching.answers import Answer
from ssl_photoz.fetching.journal import Journal
from ssl_photoz.fetching.service import Service

PATIENCE = 20
STOP_POLL_S = 0.2


class Download:
    """Fetches rows of a catalogue into a journal; a cutout per connection is in memory.

    A row that fails every time is rejected once another row succeeds after it: until then it may
    be the service that fails, and the row is left for another run.

    Args:
        service: Whom to ask.
        journal: Journal that cutouts and rejects go to.
        layers: Layer of each row of the catalogue, (N,).
        ra: Right ascension, degrees, (N,).
        dec: Declination, degrees, (N,).
        tick: Called with the number of rows done.
    """

    def __init__(
        self,
        service: Service,
        journal: Journal,
        layers: Array,
        ra: Doubles,
        dec: Doubles,
        *,
        tick: Callable[[int], object],
    ) -> None:
        self._service, self._journal, self._tick = service, journal, tick
        self._layers, self._ra, self._dec = layers, ra, dec
        self._failed: dict[int, str] = {}

    async def run(self, rows: Ints, *, connections: int, stop: StopRequest) -> None:
        """Fetch rows, over some connections at the same time.

        Args:
            rows: Rows of the catalogue.
            connections: Number of connections.
            stop: Looked at while waiting: an event loop swallows what a signal raises in it.

        Raises:
            DataError: If `PATIENCE` rows running fail, or the service fails at the end.
            StoppedError: If asked to.
        """
        queue = iter(rows.tolist())
        async with self._service:
            try:
                async with asyncio.TaskGroup() as group:
                    work = [group.create_task(self._work(queue)) for _ in range(connections)]
                    while not all(task.done() for task in work):
                        if stop.signum:
                            raise StoppedError(stop.signum, "what was fetched is kept")
                        await asyncio.wait(work, timeout=STOP_POLL_S)
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            if self._failed:
                await self._settle()

    async def _work(self, queue: Iterator[int]) -> None:
        for row in queue:
            answer = await self._get(row)
            if answer.again:
                self._suspect(row, answer.reason)
                continue
            self._reject_failed()
            self._journal.take(row, answer.pixels, answer.reason)
            self._tick(1)

    async def _get(self, row: int) -> Answer:
        ra_deg, dec_deg = float(self._ra[row]), float(self._dec[row])
        return await self._service.get(str(self._layers[row]), ra_deg, dec_deg)

    def _suspect(self, row: int, reason: str) -> None:
        self._failed[row] = reason
        if len(self._failed) >= PATIENCE:
            raise self._broken()

    def _reject_failed(self) -> None:
        for row, reason in self._failed.items():
            self._journal.reject(row, reason)
        self._tick(len(self._failed))
        self._failed.clear()

    async def _settle(self) -> None:
        """Ask once more for a cutout that is there, to learn whether rows fail or the service."""
        kept = self._journal.kept
        if not len(kept) or (await self._get(int(kept[-1]))).pixels is None:
            raise self._broken()
        self._reject_failed()

    def _broken(self) -> DataError:
        return DataError(
            f"the service fails: {len(self._failed)} cutouts running, the last with: "
            f"{[*self._failed.values()][-1]}; what was fetched is kept: run the same command later "
            f"to go on"
        )
