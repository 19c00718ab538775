"""Look at a run in a browser: its map, any galaxy, its look-alikes; give verdicts.

    ssl-photoz explore runs/demo

Needs the extra: pip install 'ssl-photoz[explorer]'. The page is served to this machine alone and
asks nothing of the network.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Serve the explorer page of a run.

    Attributes:
        run: Folder that holds a map, its embeddings and their index, at any depth; densities and
            the encoder are used where they are there.
        host: Address to listen on. Any other than 127.0.0.1 lets others see the run and give
            verdicts: there is no password.
        port: Port to listen on; 0: any that is free.
        verdicts: CSV that verdicts are added to; verdicts.csv in the folder of the run by default.
        k: Look-alikes shown.
        upload_mb: Largest cutout file that may be dropped on the page, MiB.
        memory_gb: Embeddings and pictures kept in memory, GiB.
    """

    run: Path = Path("runs/demo")
    host: str = "127.0.0.1"
    port: int = 8080
    verdicts: Path | None = None
    k: int = 24
    upload_mb: int = 64
    memory_gb: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 0 to 65535")
        if self.k < 1 or self.upload_mb < 1 or not self.memory_gb > 0:
            raise ConfigError("k, upload_mb and memory_gb must be above 0")


def main(settings: Settings) -> None:
    """Open the run, bind, serve until interrupted."""
    try:
        import uvicorn

        from ssl_photoz.explorer.app import make_app
    except ImportError as error:
        raise ConfigError(
            f"the explorer needs {error.name}; run: pip install 'ssl-photoz[explorer]'"
        ) from None
    from ssl_photoz.explorer.galaxies import Galaxies, Journal
    from ssl_photoz.explorer.run import open_run
    from ssl_photoz.explorer.stored import Rows
    from ssl_photoz.explorer.uploads import Uploads

    listening = _listen(settings.host, settings.port)
    run = open_run(settings.run)
    rows = Rows(run.embeddings, memory_bytes=int(settings.memory_gb * 2**30))
    rows.warm()
    journal = Journal(settings.verdicts or settings.run / "verdicts.csv", run.catalogue)
    galaxies = Galaxies(run, rows, journal, k=settings.k)
    galaxies.look_alikes(rows.vector(0), row=0)  # loads what the first click would wait for
    app = make_app(
        galaxies,
        Uploads(run),
        names=(settings.host, socket.gethostname()),
        upload_mb=settings.upload_mb,
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
