"""Work that fails as FAULTS says: tile name to fault, as JSON; MARKS is a folder to count in."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from ssl_photoz import distribute
from ssl_photoz.core.errors import DataError
from ssl_photoz.encoders.settings import ReadOutConfig
from ssl_photoz.scaleout import work
from ssl_photoz.scaleout.settings import RunnerConfig, TilesConfig

READOUT = ReadOutConfig(orientations=1)
SMALL = TilesConfig(most_rows=30)


class FaultyTiles(work.EmbedTiles):
    def __call__(self, tile, *, place=0):
        fault = json.loads(os.environ.get("FAULTS", "{}")).get(tile.name, "")
        attempt = len(list(Path(os.environ["MARKS"]).glob(f"{fault}-*"))) if fault else 0
        if fault:
            Path(os.environ["MARKS"], f"{fault}-{time.time_ns()}").touch()
        first = attempt == 0
        if fault == "kills" or (fault == "kills once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "bad":
            raise DataError("this tile is bad")
        if fault == "crashes once" and first:
            raise RuntimeError("a bug")
        if fault == "loses the scheduler once" and first:
            from distributed import get_worker

            get_worker().batched_stream.comm.abort()
        if os.environ.get("SLOW"):
            time.sleep(float(os.environ["SLOW"]))
        return super().__call__(tile, place=place)


def run(cutouts, encoder, out, **changes):
    given = {"readout": READOUT, "batch_size": 16, "tiles": SMALL, **changes}
    return distribute("embed", cutouts, out, using=encoder, **given)


if __name__ == "__main__":
    from tests.scaleout import faulty

    work.EmbedTiles = faulty.FaultyTiles  # as workers know it
    run(*sys.argv[1:4], runner=RunnerConfig(kind="dask", workers=2))
