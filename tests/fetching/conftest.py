"""A cutout service on loopback: real HTTP, real FITS, bad manners on request."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

SIDE = 16


def sky(ra, dec, bands, size):
    """The flux that the service has at a position."""
    seed = [round(ra * 1e5), round((dec + 90) * 1e5), size]
    return np.random.default_rng(seed).normal(size=(len(bands), size, size)).astype("f4")


def fits_bytes(ra, dec, *, size=SIDE, pixscale=0.262, bands="grz", pixels=None, shift_px=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [size / 2 + 0.5 + shift_px, size / 2 + 0.5]
    wcs.wcs.cdelt = [-pixscale / 3600, pixscale / 3600]
    header = wcs.to_header()
    header["BANDS"] = bands
    pixels = sky(ra, dec, bands, size) if pixels is None else pixels
    file = BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(file)
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        """Keep quiet."""

    def do_GET(self):
        service = self.server.service
        query = {key: one[0] for key, one in parse_qs(urlsplit(self.path).query).items()}
        ra, dec = float(query["ra"]), float(query["dec"])
        key = (round(ra, 6), round(dec, 6))
        with service.lock:
            service.requests.append((key, time.monotonic(), query, self.headers["User-Agent"]))
            service.busy += 1
            service.most_busy = max(service.most_busy, service.busy)
            script = service.scripts.get(key, [])
            mood = script.pop(0) if len(script) > 1 else (script or [service.mood])[0]
        try:
            time.sleep(service.delay_s)
            self.act(mood, ra, dec, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with service.lock:
                service.busy -= 1

    def act(self, mood, ra, dec, query):
        size, bands = int(query["size"]), query["bands"]
        asked = {"size": size, "pixscale": float(query["pixscale"]), "bands": bands}
        if mood.isdigit():
            return self.reply(b"no", status=int(mood))
        if mood == "wait":
            return self.reply(b"wait", status=429, headers={"Retry-After": "1"})
        if mood == "wait long":
            return self.reply(b"wait", status=503, headers={"Retry-After": "7200"})
        if mood == "html":
            return self.reply(b"<!DOCTYPE html><html>maintenance</html>", kind="text/html")
        if mood == "slow":
            time.sleep(1.0)
        changes = {
            "wrong size": {"size": size // 2},
            "wrong bands": {"bands": "gri"},
            "wrong scale": {"pixscale": 0.4},
            "zeros": {"pixels": np.zeros((len(bands), size, size), "f4")},
            "half blank": {"pixels": np.ones((len(bands), size, size), "f4")},
            "shifted": {"shift_px": 3.0},
        }.get(mood, {})
        if mood == "half blank":
            changes["pixels"][1, : size // 2] = 0
        body = fits_bytes(ra, dec, **{**asked, **changes})
        if mood == "truncated":
            return self.reply(body[: len(body) // 2], length=len(body))
        if mood == "cut off":  # no length: the end of the connection is the end of the body
            return self.reply(body[: len(body) // 2], length=None)
        if mood == "drip":
            return self.drip(body)
        return self.reply(body if mood != "too long" else body * 2000)

    def drip(self, body):
        """Send a little now and then, so that no wait for the network is ever long."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, 60):
            self.wfile.write(body[start : start + 1])
            time.sleep(0.05)
        self.close_connection = True

    def reply(self, body, *, status=200, headers=None, kind="image/fits", length=-1):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        if length != -1:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


class FakeService:
    """Its state: `scripts` maps (ra, dec) to moods, the last of which stays."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests, self.scripts, self.mood, self.delay_s = [], {}, "good", 0.0
        self.busy = self.most_busy = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.service = self
        self.url = f"http://127.0.0.1:{self.server.server_port}/viewer/fits-cutout"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @staticmethod
    def sky(ra, dec, bands="grz", size=SIDE):
        return sky(ra, dec, bands, size)

    @staticmethod
    def fits_bytes(ra, dec, **changes):
        return fits_bytes(ra, dec, **changes)

    def asked(self):
        return Counter(key for key, *_ in self.requests)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service():
    fake = FakeService()
    yield fake
    fake.close()


@pytest.fixture
def make_catalogue(tmp_path):
    """Write a catalogue of n galaxies on both sides of the split; return it with its path."""

    def make(n=12, name="galaxies.fits", **more):
        table = Table(
            {
                "TARGETID": np.arange(n) + 2**60 + 1,
                "RA": np.round(np.linspace(150, 151, n), 6),
                "DEC": np.round(np.where(np.arange(n) % 2, 40.0, -5.0) + 0.01 * np.arange(n), 6),
                "Z": np.linspace(0.01, 0.3, n).astype("f4"),
                **more,
            }
        )
        table.write(tmp_path / name, overwrite=True, format={".vot": "votable"}.get(name[-4:]))
        return tmp_path / name, table

    return make
