"""Ask the Legacy Surveys' cutout service for one cutout, politely, until it answers or will not."""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import urlencode

import httpx

from ssl_photoz.core.errors import DataError
from ssl_photoz.core.version import __version__
from ssl_photoz.fetching.answers import HEADER_BYTES, Answer, examine
from ssl_photoz.fetching.pace import Pace, back_off_s, retry_after_s
from ssl_photoz.fetching.settings import FrameConfig, ServiceConfig

AGAIN = (408, 425, 429, 500, 502, 503, 504)
ASKS_TO_WAIT = (429, 503)


class Service:
    """A cutout service, to be entered with ``async with``.

    Args:
        config: Address and manners.
        frame: What every cutout is to be.
    """

    def __init__(self, config: ServiceConfig, frame: FrameConfig) -> None:
        self.config, self._frame = config, frame
        self._pace = Pace(config.per_second)
        self._client = httpx.AsyncClient(
            headers={"User-Agent": user_agent(config.contact)},
            timeout=config.timeout_s,
            limits=httpx.Limits(max_connections=config.connections),
            follow_redirects=True,
        )

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, layer: str, ra_deg: float, dec_deg: float) -> Answer:
        """Fetch one cutout.

        Returns:
            The cutout, or why there is none; ``again`` is set if every try failed, so that another
            day may be better.

        Raises:
            DataError: If the service asks for a longer wait than is allowed, or refuses every try.
        """
        url = cutout_url(self.config.url, self._frame, layer, ra_deg, dec_deg)
        answer, wait_s = Answer(None), None
        for attempt in range(1, self.config.tries + 1):
            await self._pace.turn()
            answer, wait_s = await self._ask(url, ra_deg, dec_deg)
            if not answer.again:
                return answer
            pause_s = back_off_s(attempt, self.config.back_off_s)
            if wait_s is not None:
                self._pace.hold(max(wait_s, pause_s))
            elif attempt < self.config.tries:
                await asyncio.sleep(pause_s)
        if wait_s is not None:  # no fault of the row's
            raise DataError(
                f"{self.config.url} refuses everything for being asked too fast ({answer.reason}, "
                f"{self.config.tries} times); lower service.per_second, and run the same "
                "command later to go on"
            )
        times = f", {self.config.tries} times" if self.config.tries > 1 else ""
        return answer._replace(reason=answer.reason + times)

    async def _ask(self, url: str, ra_deg: float, dec_deg: float) -> tuple[Answer, float | None]:
        """Answer to one request; and what everybody shall wait, 0 if it is not said.

        None: only this request need wait.
        """
        try:
            async with (
                asyncio.timeout(self.config.timeout_s),
                self._client.stream("GET", url) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    return self._refusal(response)
                body = await self._body(response)
        except (httpx.RequestError, TimeoutError) as error:
            return Answer(None, f"no answer ({type(error).__name__})", again=True), None
        if body is None:
            return Answer(None, "the answer is too long for such a cutout"), None
        return examine(body, self._frame, ra_deg=ra_deg, dec_deg=dec_deg), None

    async def _body(self, response: httpx.Response) -> bytes | None:
        """Body of an answer; None if it is longer than a cutout can be."""
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > 2 * self._frame.nbytes + HEADER_BYTES:
                return None
        return bytes(body)

    def _refusal(self, response: httpx.Response) -> tuple[Answer, float | None]:
        status = response.status_code
        answer = Answer(None, f"HTTP {status}", again=status in AGAIN)
        if status not in ASKS_TO_WAIT:
            return answer, None
        wait_s = retry_after_s(response.headers.get("Retry-After")) or 0.0
        if wait_s > self.config.longest_wait_s:
            raise DataError(
                f"{self.config.url} asks to wait {wait_s:.0f} s (HTTP {status}), longest_wait_s is "
                f"{self.config.longest_wait_s:g}; run the same command later to go on"
            )
        return answer, wait_s


def user_agent(contact: str) -> str:
    """Words by which this program introduces itself."""
    return f"ssl-photoz/{__version__}" + (f" ({contact})" if contact else "")


def cutout_url(base_url: str, frame: FrameConfig, layer: str, ra_deg: float, dec_deg: float) -> str:
    """Address of a cutout.

    A position is given to 1e-7 degrees, a thousandth of a pixel.
    """
    query = {
        "ra": f"{ra_deg:.7f}",
        "dec": f"{dec_deg:.7f}",
        "size": frame.size_px,
        "layer": layer,
        "pixscale": f"{frame.pixscale_arcsec:g}",
        "bands": "".join(frame.bands),
    }
    return f"{base_url}?{urlencode(query)}"
