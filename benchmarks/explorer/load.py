"""How long the explorer page takes to load, and a click to be answered, with 250,000 galaxies.

    python benchmarks/explorer/load.py [--galaxies 250000] [--clients 20] [--clicks 20]

Makes a run of random embeddings in a temporary folder, serves it with `ssl-photoz explore`, and
lets clients on the same machine click on random galaxies: once without a pause between clicks,
once with 1 s of looking at what came. With Chromium and playwright it loads the page, too.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DIM, PCA_DIM = 512, 128
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PROGRAM = """
import sys
from ssl_photoz.recipes.probe.explore import explore
explore(sys.argv[1], port=0)
"""


def make_run(folder: Path, galaxies: int) -> None:
    """Write embeddings in 500 clumps, their index and a map of them."""
    from PIL import Image

    from ssl_photoz.catalog.tables import write_table
    from ssl_photoz.core import artefact
    from ssl_photoz.embeddings.store import Embeddings, finish, write_shard
    from ssl_photoz.similarity.index_building import build_index
    from ssl_photoz.similarity.settings import IndexConfig

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(500, DIM)).astype(np.float32)
    around = rng.normal(size=(500, 2)).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(file, "JPEG", quality=85)
    places = []
    for number, start in enumerate(range(0, galaxies, 8192)):
        rows = np.arange(start, min(start + 8192, galaxies))
        clump = rng.integers(0, 500, len(rows))
        vectors = centres[clump] + 0.7 * rng.normal(size=(len(rows), DIM)).astype(np.float32)
        columns = {
            "row": rows,
            "id": rows + 2**60,
            "ra": rng.uniform(0, 360, len(rows)),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, len(rows)))),
            "z": rng.gamma(2, 0.1, len(rows)).astype(np.float32),
            "split": np.full(len(rows), "train"),
            "embedding": vectors.astype(np.float16),
            "thumbnail": [file.getvalue()] * len(rows),
        }
        write_shard(folder / "embeddings", number, columns)
        places.append(around[clump] + 0.05 * rng.normal(size=(len(rows), 2)).astype(np.float32))
    facts = {"simulated": True, "calibrated": True, "encoder": ""}
    finish(folder / "embeddings", rows_in=galaxies, config={}, parents={}, **facts)
    embeddings = Embeddings.open(folder / "embeddings")
    index = build_index(folder / "index", embeddings, IndexConfig(pca_dim=PCA_DIM))
    index.save(folder / "index")
    print(f"{galaxies} galaxies, {DIM} dimensions; {index.describe()}", flush=True)
    x, y = np.concatenate(places).T
    table = {"row": np.arange(galaxies), "x": x, "y": y}
    write_table(folder / "map" / "map.parquet", table, simulated=True)
    artefact.write_card(folder / "map", "map", parents={"embeddings": embeddings.sha256})


async def click(address: str, galaxies: int, *, clients: int, clicks: int, pause_s: float) -> None:
    """Let clients click, and print how long answers took."""
    import httpx

    took: list[float] = []

    async def one(seed: int) -> None:
        rng = np.random.default_rng(seed)
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            await asyncio.sleep(pause_s * rng.random())
            for row in rng.integers(0, galaxies, clicks):
                started = time.perf_counter()
                answer = await client.get(f"/api/galaxies/{row}")
                took.append(time.perf_counter() - started)
                answer.raise_for_status()
                await asyncio.sleep(pause_s * rng.uniform(0.5, 1.5))

    started = time.perf_counter()
    await asyncio.gather(*map(one, range(clients)))
    rate = len(took) / (time.perf_counter() - started)
    p50, p95 = np.percentile(took, [50, 95]) * 1000
    print(
        f"{clients} clients, {pause_s:g} s between clicks: {rate:.0f} answers/s, "
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, worst {1000 * max(took):.0f} ms",
        flush=True,
    )


def load_page(address: str) -> None:
    """Print how long the page takes from the request to the first picture of the map."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("no playwright or no Chromium: the page was not loaded")
        return
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        for attempt in ("first", "second"):
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("body[data-ready]", timeout=60_000)
            ready = page.evaluate("document.body.dataset.ready")
            print(f"page ready, {attempt} time: {int(ready)} ms after the request", flush=True)
            page.close()
        browser.close()


def main() -> None:
    """Make the run, serve it, measure, take it away."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=250_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--clicks", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_run(Path(folder), given.galaxies)
        started = time.perf_counter()
        program = [sys.executable, "-c", PROGRAM, folder]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                found = re.search(r"http://\S+", server.stdout.readline())
                assert found, "the server did not start"
                print(f"server ready after {time.perf_counter() - started:.1f} s", flush=True)
                load_page(found[0])
                for pause_s in (0.0, 1.0):
                    asyncio.run(
                        click(
                            found[0].rstrip("/"),
                            given.galaxies,
                            clients=given.clients,
                            clicks=given.clicks,
                            pause_s=pause_s,
                        )
                    )
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
