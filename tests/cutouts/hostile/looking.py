"""Look at cutouts, each time in a process that cannot take the next one down with it.

Reads a JSON object per line: ``data``, ``out``, and ``inspect``, whether to look as ``ssl-photoz
inspect`` does or to read only, which is quicker. Answers with one: what was said, and the exit
status, or the signal that ended the process, negative. What could be read goes to ``out``/read.npz.
"""

import importlib
import json
import os
import resource
import signal
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS, BYTES, ROWS = 10, 1 << 30, 16


def serve(answers):
    _import_once()
    for line in sys.stdin:
        asked = json.loads(line)
        out = Path(asked["out"])
        child = os.fork()
        if child == 0:
            os._exit(look(asked["data"], out, asked["inspect"]))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        said = (out / "said").read_text(errors="replace") if (out / "said").exists() else ""
        print(json.dumps({"code": code, "said": said}), file=answers, flush=True)


def _import_once():
    """Import whatever a look needs, so that not every child has to."""
    import h5py
    import numpy as np

    for library in ("pyarrow.parquet", "pyarrow.csv", "astropy.wcs", "scipy.spatial", "zarr"):
        with suppress(ImportError):
            importlib.import_module(library)
    with TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        path = Path(folder) / "cutouts.h5"
        with h5py.File(path, "w") as file:
            file["images"] = np.random.default_rng(0).normal(0, 0.01, (8, 3, 16, 16))
            file["RA"], file["DEC"], file["Z"] = np.arange(8.0), np.zeros(8), np.full(8, 0.1)
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            assert _inspect(path, Path(folder)) == 0


def look(data, out, inspect):
    """Return the exit status of the command line; 99 if an exception came through."""
    with (out / "said").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        signal.alarm(SECONDS)
        limit = _virtual_bytes() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            return _inspect(data, out) if inspect else _read(data, out)
        except BaseException:
            traceback.print_exc()
            return 99
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def _inspect(data, out):
    from ssl_photoz import cli

    status = cli.main(["inspect", f"data={data}", f"out={out}", "sheet=4", "sample=16"])
    return _read(data, out) if status == 0 else status


def _read(data, out):
    import numpy as np

    from ssl_photoz.core.errors import SslPhotozError
    from ssl_photoz.cutouts.reader import Cutouts

    try:
        with Cutouts.open(data) as cutouts:
            rows = np.arange(min(len(cutouts), ROWS))
            found = {f"column {name}": cutouts.column(name)[rows] for name in cutouts.columns}
            found = {name: values for name, values in found.items() if values.dtype.kind != "O"}
            pixels = cutouts.read(rows)
            faults = [cutouts.faults(rows).get(int(row), "") for row in rows]
            bands = ",".join(cutouts.source.bands)
            count = len(cutouts)
    except (SslPhotozError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    np.savez(out / "read.npz", rows=count, bands=bands, pixels=pixels, faults=faults, **found)
    return 0


def _virtual_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    serve(os.fdopen(os.dup(1), "w"))
