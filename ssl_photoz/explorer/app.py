"""The addresses of the explorer, and which requests they answer.

The page is for whoever sits at this machine. A site open in the next tab must not use it: requests
under a foreign name (DNS rebinding) or started by a foreign page are refused, and so are bodies
that are too large, before they are read.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable
from importlib import resources
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from fastapi import FastAPI, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ssl_photoz.core.errors import SslPhotozError
from ssl_photoz.core.version import __version__
from ssl_photoz.explorer.galaxies import LONGEST_QUERY, Facts, Format, Galaxies, search
from ssl_photoz.explorer.uploads import BusyError, Uploads, jpeg_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?")


class Guard:
    """ASGI middleware; refuses with a status and a line of JSON.

    Attributes:
        names: Host names the page may be asked for under, besides addresses in numbers.
        body_bytes: Largest body of a request.
    """

    def __init__(self, app: ASGIApp, *, names: Iterable[str], body_bytes: int) -> None:
        self.names = {"localhost", *(name.lower() for name in names)}
        self.body_bytes = body_bytes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = JSONResponse({"error": refusal[1]}, refusal[0]) if refusal else self._app
        await app(scope, self._counting(receive), send_guarded)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, f"this page is not served under the name {host[:100]!r}; use localhost"
        if method not in ("GET", "HEAD", "POST"):
            return 405, f"{method[:20]} is not answered here"
        if _is_foreign(method, headers, host):
            return 403, "another site asked for this; it is answered to this page only"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "Content-Length is not a number"
        if len(length) > 18 or int(length) > self.body_bytes:
            return 413, self._too_large
        return None

    def _is_ours(self, host: str) -> bool:
        """Only a name can be rebound to this machine; an address in numbers is what it says."""
        found = HOST.fullmatch(host)
        name = (found[1] or found[2]).lower() if found else ""
        return name in self.names or _is_address(name)

    def _counting(self, receive: Receive) -> Receive:
        """Stop a body that goes on beyond the limit without having said so."""
        taken = 0

        async def receive_counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.body_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return receive_counted

    @property
    def _too_large(self) -> str:
        return f"more than {self.body_bytes >> 20} MiB; cut the galaxy out of the file first"


def _is_foreign(method: str, headers: Headers, host: str) -> bool:
    """Following a link to the page is fine; whatever else a foreign page starts is not."""
    if headers.get("origin", f"http://{host}") not in (f"http://{host}", f"https://{host}"):
        return True
    follows = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    return not follows and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}
TABLE_TYPES = {"csv": "text/csv; charset=utf-8", "fits": "application/fits"}
LINES_SHOWN = 200

Row = Annotated[int, Path(ge=0)]
Rows = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Asset(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str


class VerdictGiven(BaseModel):
    """What a button on the page sends."""

    model_config = ConfigDict(extra="forbid", strict=True)
    verdict: Literal["dwarf", "not_dwarf", "junk"]


class Selection(BaseModel):
    """The rows inside a lasso."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rows: Rows


def make_app(
    galaxies: Galaxies, uploads: Uploads, *, names: Iterable[str] = (), upload_mb: int = 64
) -> FastAPI:
    """Application.

    Args:
        galaxies: Galaxies that it shows.
        uploads: Embedder of dropped files.
        names: Host names it may be asked for under, besides localhost and addresses.
        upload_mb: Largest request body, MiB.
    """
    # No generated documentation: its pages load scripts from elsewhere.
    app = FastAPI(title="ssl_photoz explorer", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, names=tuple(names), body_bytes=upload_mb << 20)
    _add_errors(app)
    _add_files(app)
    _add_map(app, galaxies, uploads, upload_mb=upload_mb)
    _add_galaxies(app, galaxies)
    _add_uploads(app, galaxies, uploads)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(SslPhotozError)
    def refused(_: Request, error: SslPhotozError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 429 if isinstance(error, BusyError) else 422)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)

    @app.exception_handler(HTTPException)
    def known(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    @app.exception_handler(OSError)
    def broken(_: Request, error: OSError) -> JSONResponse:
        return JSONResponse({"error": error.strerror or type(error).__name__}, 500)

    @app.exception_handler(Exception)
    def unforeseen(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"internal error: {type(error).__name__}"}, 500)


def _add_files(app: FastAPI) -> None:
    files = _assets()

    @app.get("/")
    def page() -> Response:
        return Response(files["index.html"].content, media_type=files["index.html"].media_type)

    @app.get("/static/{name}")
    def asset(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "no such file")
        return Response(files[name].content, media_type=files[name].media_type)


def _add_map(app: FastAPI, galaxies: Galaxies, uploads: Uploads, *, upload_mb: int) -> None:
    run, columns = galaxies.run, galaxies.columns

    @app.get("/api/run")
    def about() -> Facts:
        grid = [] if run.densities is None else np.round(run.densities.grid, 6).tolist()
        return {
            "name": run.name,
            "version": __version__,
            "galaxies": len(run.catalogue),
            "unplaced": int(np.isnan(run.places[:, 0]).sum()),
            "simulated": run.simulated,
            "calibrated": run.embeddings.card.calibrated,
            "thumbnails": galaxies.rows.has_thumbnails,
            "uploads": uploads.accepted,
            "upload_mb": upload_mb,
            "columns": [{"name": c.name, "words": c.words} for c in columns.listed],
            "grid": grid,
            "verdicts": {"file": str(galaxies.journal.path), "counts": galaxies.journal.counts()},
        }

    @app.get("/api/places")
    def places() -> Response:
        return _array(run.places)

    @app.get("/api/columns/{number}")
    def column(number: Row) -> Response:
        if number >= len(columns):
            raise HTTPException(404, f"there are columns 0 to {len(columns) - 1}")
        return _array(columns.numbers(number))

    @app.get("/api/search")
    def found(q: Annotated[str, Query(max_length=LONGEST_QUERY)]) -> Facts:
        return {"galaxies": galaxies.matches(search(run.catalogue, q))}


def _add_galaxies(app: FastAPI, galaxies: Galaxies) -> None:
    count = len(galaxies.run.catalogue)

    def known(row: int) -> int:
        if row >= count:
            raise HTTPException(404, f"there are galaxies 0 to {count - 1}")
        return row

    def chosen(selection: Selection) -> Any:  # noqa: ANN401 - an array
        known(max(selection.rows))
        return np.unique(np.array(selection.rows, np.int64))

    @app.get("/api/galaxies/{row}")
    def galaxy(row: Row) -> JSONResponse:
        return JSONResponse(galaxies.about(known(row)))

    @app.get("/api/galaxies/{row}/thumbnail")
    def thumbnail(row: Row) -> Response:
        picture = galaxies.rows.thumbnail(known(row))
        if picture is None:
            raise HTTPException(404, "these embeddings were made without pictures")
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    @app.post("/api/galaxies/{row}/verdict")
    def verdict(row: Row, given: VerdictGiven) -> Facts:
        galaxies.journal.add(known(row), given.verdict)
        return {"row": row, "verdict": given.verdict, "counts": galaxies.journal.counts()}

    @app.post("/api/selection")
    def selection(selected: Selection) -> Facts:
        rows = chosen(selected)
        lines = [galaxies.line(row) for row in rows[:LINES_SHOWN].tolist()]
        return {"count": len(rows), "galaxies": lines}

    @app.post("/api/selection/{kind}")
    def table(kind: Format, selected: Selection) -> Response:
        content = galaxies.table(chosen(selected), kind)
        return Response(
            content,
            media_type=TABLE_TYPES[kind],
            headers={"Content-Disposition": f'attachment; filename="selection.{kind}"'},
        )


def _add_uploads(app: FastAPI, galaxies: Galaxies, uploads: Uploads) -> None:
    @app.post("/api/cutout")
    async def cutout(request: Request, row: Annotated[int, Query(ge=0, le=10**12)] = 0) -> Facts:
        if request.headers.get("content-type") != "application/octet-stream":
            raise HTTPException(415, "expected Content-Type: application/octet-stream")
        content = await request.body()
        return await run_in_threadpool(answer, content, row)

    def answer(content: bytes, row: int) -> Facts:
        vector, picture = uploads.embed(content, row=row)
        return {
            "picture": base64.b64encode(jpeg_of(picture)).decode(),
            "look_alikes": galaxies.look_alikes(vector, row=None),
        }


def _assets() -> dict[str, Asset]:
    """Read every file of the page, by name: nothing asked for is ever looked up on the disk."""
    folder = resources.files("ssl_photoz.explorer").joinpath("static")
    files = [*folder.iterdir(), *folder.joinpath("vendor").iterdir()]
    return {
        file.name: Asset(file.read_bytes(), TYPES[file.name.rpartition(".")[2]])
        for file in files
        if file.is_file()
    }


def _array(values: Any) -> Response:  # noqa: ANN401 - an array of little-endian float32
    return Response(np.ascontiguousarray(values).tobytes(), media_type="application/octet-stream")
