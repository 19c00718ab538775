"""Encoders go to a hub and come back; the hub is a stand-in on loopback."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.encoders import hub
from ssl_photoz.encoders.artefact import save_encoder
from ssl_photoz.encoders.encoder import EncoderCard, fresh_encoder
from ssl_photoz.encoders.hub import model_card
from ssl_photoz.encoders.settings import EncoderConfig

pytest.importorskip("huggingface_hub")
REPO, COMMIT = "group/encoder", "c" * 40


class StandIn(BaseHTTPRequestHandler):
    """As much of a hub as one upload and one download need."""

    def log_message(self, *_):
        pass

    def reply(self, content, *, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.reply({"url": f"{self.server.address}/{REPO}"})
        elif self.path == "/api/validate-yaml":
            self.reply({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            kinds = {"uploadMode": "regular", "shouldIgnore": False}
            self.reply({"files": [{"path": one["path"], **kinds} for one in asked]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.server.files[entry["value"]["path"]] = content
            url = f"{self.server.address}/{REPO}/commit/{COMMIT}"
            self.reply({"commitOid": COMMIT, "commitUrl": url, "success": True})

    def do_GET(self):
        files = self.server.files
        if "/tree/" in self.path:
            self.reply(
                [
                    {"type": "file", "path": name, "size": len(files[name]), "oid": name}
                    for name in files
                ]
            )
            return
        if self.path.startswith("/api/models/"):
            self.reply({"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]})
            return
        name = self.path.split("/")[-1]
        self.server.fetched.append(name)
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
        self.reply(files[name], headers=headers)

    do_HEAD = do_GET


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.files, server.fetched, server.created = {}, [], None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def encoder():
    return fresh_encoder(
        EncoderConfig(stem="small", crop_px=40, softening=1.0),
        bands=("g", "r", "z"),
        pixscale_arcsec=0.262,
        calibrated=True,
        noise=[0.01, 0.02, 0.03],
        seed=1,
    )


@pytest.fixture
def folder(encoder, tmp_path):
    moco = {"contrast_weight": 0.2, "pretext_weight": 1.0, "temperature": 0.2}
    config = {"data": "/data/survey.h5", "epochs": 7, "batch_size": 64, "seed": 0, "moco": moco}
    save_encoder(
        tmp_path / "encoder",
        encoder,
        config=config,
        parents={"cutouts": "feed" * 16},
        simulated=True,
        split={"seed": 0, "nside": 32},
        steps=70,
        rows_rejected=3,
    )
    return tmp_path / "encoder"


def test_an_encoder_comes_back_as_it_went(server, encoder, folder, tmp_path):
    address = hub.push_to_hub(folder, REPO, token="t", endpoint=server.address)
    assert address.endswith(COMMIT)
    assert '"private"' in json.dumps(server.created)
    assert sorted(server.files) == ["README.md", "card.json", "weights.safetensors"]
    server.files["pickled.bin"] = b"never fetched"
    back = hub.from_pretrained(REPO, cache=tmp_path / "cache", endpoint=server.address)
    card = back.card
    weights = back.state_dict()
    assert all(torch.equal(weights[name], one) for name, one in encoder.state_dict().items())
    assert back.description == encoder.description
    assert card["steps"] == 70
    assert set(server.fetched) == {"card.json", "weights.safetensors"}


def test_weights_that_are_not_the_cards_are_refused(server, folder, tmp_path):
    hub.push_to_hub(folder, REPO, token="t", endpoint=server.address)
    weights = bytearray(server.files["weights.safetensors"])
    weights[-1] ^= 1
    server.files["weights.safetensors"] = bytes(weights)
    with pytest.raises(ArtefactError, match="checksum differs"):
        hub.from_pretrained(REPO, cache=tmp_path / "cache", endpoint=server.address)


def test_a_folder_without_an_encoder_goes_nowhere(server, tmp_path):
    with pytest.raises(ArtefactError, match="not a folder"):
        hub.push_to_hub(tmp_path / "none", REPO, token="t", endpoint=server.address)
    assert server.created is None


def test_the_page_says_what_the_encoder_may_be_fed(folder):
    from ssl_photoz.core.artefact import read_card

    card = EncoderCard(read_card(folder, "encoder"))
    page = model_card(card, repo_id=REPO, license="cc-by-4.0")
    for said in (
        *("license: cc-by-4.0", "| bands | g, r, z |", "| pixel scale | 0.262 arcsec/px |"),
        *("| crop | 40 px (10.5 arcsec) |", "softening 0.01, 0.02, 0.03 nmgy/px"),
        *("survey.h5 (simulated; fingerprint feedfeedfeed; 3 rows rejected)", "SIMULATED"),
        *("7 epochs, 70 steps of 64 cutouts", "contrast 0.2, pretext 1", "nside 32"),
    ):
        assert said in page, said
    assert "/data/" not in page
    assert "redshifts of" not in page
    contaminated = model_card(
        EncoderCard({**card, "labels_seen": ["1", "2"]}), repo_id=REPO, license="other"
    )
    assert "Has learnt from the redshifts of 2 galaxies" in contaminated
