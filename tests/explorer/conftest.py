import threading
import time

import h5py
import numpy as np
import pytest
from fastapi.testclient import TestClient
from ssl_photoz.recipes.pretrain.embed import embed

from ssl_photoz.catalog.tables import write_table
from ssl_photoz.core import artefact
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.settings import EncoderConfig, ReadOutConfig
from ssl_photoz.explorer.app import make_app
from ssl_photoz.explorer.galaxies import Galaxies, Journal
from ssl_photoz.explorer.run import Rows, open_run
from ssl_photoz.explorer.uploads import Uploads
from ssl_photoz.photoz.density import Density
from ssl_photoz.photoz.density_table import write_densities
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.settings import IndexConfig

ROWS, WIDE = 60, 10  # galaxies stand on a grid, ten to a row of the map
UNPLACED = 7
WITH_DENSITY = 30
HOSTILE = "<img src=x onerror=hacked()>"


def cutouts(path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48] - 23.5
    sizes, colours = rng.uniform(1.5, 6, ROWS), rng.uniform(0.3, 3, (ROWS, 3))
    blobs = np.exp(-np.hypot(x, y) / sizes[:, None, None])[:, None]
    images = (colours[..., None, None] * blobs + rng.normal(0, 0.02, (ROWS, 3, 48, 48))).astype(
        "f4"
    )
    with h5py.File(path, "w") as file:
        file["images"] = images
        file["TARGETID"] = np.arange(ROWS) + 2**60  # more than JavaScript can count
        file["RA"] = np.linspace(10, 20, ROWS)
        file["DEC"] = np.linspace(-5, 5, ROWS)
        file["Z"] = np.where(np.arange(ROWS) % 5 == 4, np.nan, np.linspace(0.02, 0.4, ROWS))
        file["mag_r"] = np.linspace(15, 20, ROWS).astype("f4")
        file[HOSTILE] = np.arange(ROWS)
        file["survey"] = np.array([b"<b>bright</b>", b"dark"])[np.arange(ROWS) % 2]
        file.attrs["simulated"] = True
    return images


def densities(folder, embeddings):
    grid = np.linspace(0, 0.6, 121)
    centre = 0.1 + 0.01 * np.arange(WITH_DENSITY)
    values = np.exp(-0.5 * ((grid - centre[:, None]) / 0.02) ** 2)
    names = {"id": "id", "ra": "ra", "dec": "dec", "z_spec": "z"}
    some = {name: embeddings.column(column)[:WITH_DENSITY] for name, column in names.items()}
    half = WITH_DENSITY // 2
    parts = [
        ({name: column[part] for name, column in some.items()}, Density.of(grid, values[part]))
        for part in (slice(0, half), slice(half, None))
    ]
    write_densities(folder / "pdfs.parquet", iter(parts), simulated=True)
    artefact.write_card(folder, "densities", parents={"embeddings": embeddings.sha256})


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A finished run of 60 galaxies, whose encoder has random weights."""
    folder = tmp_path_factory.mktemp("explorer") / "tiny"
    folder.mkdir()
    cutouts(folder / "cutouts.h5")
    split = {"seed": 3, "nside": 32, "fractions": [0.7, 0.1, 0.2]}
    encoder = fresh_encoder(
        EncoderConfig(crop_px=40, softening=1.0),
        bands=["g", "r", "z"],
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01] * 3,
        seed=0,
    )
    save_encoder(folder / "encoder", encoder, config={}, parents={}, split=split, steps=0)
    store = folder / "embeddings"
    embed(
        folder / "cutouts.h5",
        folder / "encoder",
        store,
        readout=ReadOutConfig(orientations=1),
        shard_rows=25,
    )
    embeddings = Embeddings.open(store)
    Index.build(embeddings, config=IndexConfig(pca_dim=16)).save(folder / "index")
    rows = np.arange(ROWS)
    x = np.where(rows == UNPLACED, np.nan, rows % WIDE).astype("f4")
    places = {"row": rows, "id": embeddings.column("id"), "x": x, "y": (rows // WIDE).astype("f4")}
    write_table(folder / "map" / "map.parquet", places, simulated=True)
    artefact.write_card(folder / "map", "map", parents={"embeddings": embeddings.sha256})
    densities(folder / "pdf", embeddings)
    return folder


@pytest.fixture(scope="session")
def run(run_folder):
    return open_run(run_folder)


@pytest.fixture
def verdicts(tmp_path):
    return tmp_path / "verdicts.csv"


@pytest.fixture
def app(run, verdicts):
    galaxies = Galaxies(run, Rows(run.embeddings), Journal(verdicts, run.catalogue), k=8)
    return make_app(galaxies, Uploads(run), upload_mb=1)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def address(app):
    """The address of the page, served by a thread."""
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
