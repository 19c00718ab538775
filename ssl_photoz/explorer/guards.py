"""Which requests are answered, and what every answer forbids the browser.

The page is for whoever sits at this machine. A site open in the next tab must not use it: requests
under a foreign name (DNS rebinding) or started by a foreign page are refused, and so are bodies
that are too large, before they are read.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
