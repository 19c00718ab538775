"""Program that serves a page on a run: its map, any galaxy, its look-alikes, verdicts."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.extras import needs
from ssl_photoz.core.types import PathLike


@needs("explorer")
def explore(
    run: PathLike = Path("runs/demo"),
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    verdicts: PathLike | None = None,
    k: int = 24,
    upload_mb: int = 64,
    memory_gb: float = 2.0,
) -> None:
    """Look at a run in a browser: its map, any galaxy, its look-alikes; give verdicts.

        ssl-photoz explore runs/demo

    Needs the extra: pip install 'ssl-photoz[explorer]'. The page is served to this machine alone
    and asks nothing of the network. Returns when it is interrupted.

    Args:
        run: Folder that holds a map, its embeddings and their index, at any depth; densities and
            the encoder are used where they are there.
        host: Address to listen on. Any other than 127.0.0.1 lets others see the run and give
            verdicts: there is no password.
        port: Port to listen on; 0: any that is free.
        verdicts: CSV that verdicts are added to; verdicts.csv in the folder of the run by default.
        k: Look-alikes shown.
        upload_mb: Largest cutout file that may be dropped on the page, MiB.
        memory_gb: Memory for embeddings and pictures, GiB.

    Raises:
        ConfigError: If the extra is not installed, or the port cannot be listened on.
        ArtefactError: If the run lacks a map, its embeddings, or their index.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port is {port}, expected 0 to 65535")
    if k < 1 or upload_mb < 1 or not memory_gb > 0:
        raise ConfigError("k, upload_mb and memory_gb must be above 0")
    import uvicorn

    from ssl_photoz.explorer.app import make_app
    from ssl_photoz.explorer.galaxies import Galaxies, Journal
    from ssl_photoz.explorer.run import Rows, open_run
    from ssl_photoz.explorer.uploads import Uploads

    run = Path(run)
    listening = _listen(host, port)
    opened = open_run(run)
    journal = Journal(Path(verdicts or run / "verdicts.csv"), opened.catalogue)
    rows = Rows(opened.embeddings, memory_bytes=int(memory_gb * 2**30))
    rows.warm()
    galaxies = Galaxies(opened, rows, journal, k=k)
    galaxies.look_alikes(rows.vector(0), row=0)  # loads what the first click would wait for
    app = make_app(
        *(galaxies, Uploads(opened)), names=(host, socket.gethostname()), upload_mb=upload_mb
    )
    host, port = listening.getsockname()[:2]
    print(f"{len(rows)} galaxies at http://{_in_url(host)}:{port}/ (Ctrl-C ends it)", flush=True)
    if not host.startswith("127.") and host != "::1":
        print("caution: whoever reaches this port sees the run and can give verdicts", flush=True)
    options = uvicorn.Config(
        app, log_level="warning", timeout_keep_alive=20, limit_concurrency=256, server_header=False
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(options).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Bind first: a port that is taken should not cost the time to open a run."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error}; give port=0") from None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
