"""Requests that nobody should make get a clear no, and the server goes on."""

import re
from pathlib import Path

import pytest

import ssl_photoz.explorer

STATIC = Path(ssl_photoz.explorer.__file__).parent / "static"


def still_serves(client):
    return client.get("/api/galaxies/0").status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "status", "said"),
    [
        ("GET", "/api/galaxies/60", 404, "galaxies 0 to 59"),
        ("GET", "/api/galaxies/-1", 422, "greater than or equal to 0"),
        ("GET", "/api/galaxies/1e3", 422, "integer"),
        ("GET", f"/api/galaxies/{'9' * 5000}", 422, "integer"),
        ("GET", f"/api/galaxies/{10**30}/thumbnail", 404, "galaxies 0 to 59"),
        ("GET", "/api/galaxies/nan", 422, "integer"),
        ("GET", "/api/columns/999", 404, "columns 0 to"),
        ("GET", "/api/search?q=nan nan", 422, "0 to 360"),
        ("GET", "/api/search?q=inf 0", 422, "0 to 360"),
        ("GET", "/api/search?q=10 -91", 422, "0 to 360"),
        ("GET", "/api/search?q=", 422, "give a TARGETID"),
        ("GET", f"/api/search?q={'1' * 5000}", 422, "at most 100"),
        ("GET", "/api/search?q=<script>", 422, "no galaxy"),
        ("GET", f"/api/search?q={'9' * 90}", 422, "no galaxy"),
        ("GET", "/api/search?q=٣", 422, "no galaxy"),
        ("GET", "/static/../run.py", 404, ""),
        ("GET", "/static/..%2frun.py", 404, ""),
        ("GET", "/static/%2e%2e%2f%2e%2e%2ferrors.py", 404, ""),
        ("GET", "/static/vendor%2fLICENSES.txt", 404, ""),
        ("GET", "/openapi.json", 404, ""),
        ("PUT", "/api/galaxies/1/verdict", 405, "PUT"),
        ("TRACE", "/", 405, "TRACE"),
        ("GET", "/api/selection/csv", 405, ""),
        ("POST", "/api/selection/exe", 422, "csv"),
    ],
)
def test_what_is_not_there_is_refused(client, method, address, status, said):
    answer = client.request(method, address)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert still_serves(client)


@pytest.mark.parametrize(
    "body",
    [
        {"rows": []},
        {"rows": [-1]},
        {"rows": [60]},
        {"rows": [10**30]},
        {"rows": [1.5]},
        {"rows": ["1"]},
        {"rows": [True]},
        {"rows": [None]},
        {"rows": 3},
        {"rows": [1], "path": "/etc/passwd"},
        [],
        "rows",
        None,
    ],
)
def test_selections_that_are_none(client, body):
    for address in ("/api/selection", "/api/selection/csv"):
        answer = client.post(address, json=body)
        assert answer.status_code in (404, 422)
        assert answer.json()["error"]


@pytest.mark.parametrize("word", ["", "Dwarf", "dwarf\n1,2,3", "=1+1", 1, None, ["dwarf"]])
def test_verdicts_in_other_words(client, verdicts, word):
    assert client.post("/api/galaxies/1/verdict", json={"verdict": word}).status_code == 422
    assert not verdicts.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none(client, content):
    sent = {"content": content, "headers": {"Content-Type": "application/json"}}
    assert client.post("/api/selection", **sent).status_code in (400, 422)
    assert still_serves(client)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "127.0.0.1:9"}, 200),
        ({"Host": "[::1]:9"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "evil.example:8080@localhost"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "[::1"}, 421),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_foreign_names_and_foreign_pages(client, verdicts, headers, status):
    sent = {"json": {"verdict": "junk"}, "headers": headers}
    assert client.post("/api/galaxies/1/verdict", **sent).status_code == status
    assert verdicts.exists() == (status == 200)


def test_bodies_that_are_too_large(client):
    upload = {"Content-Type": "application/octet-stream"}
    claims = client.post("/api/cutout", headers={**upload, "Content-Length": str(1 << 30)})
    assert claims.status_code == 413
    assert "1 MiB" in claims.json()["error"]
    assert client.post("/api/cutout", headers={**upload, "Content-Length": "-5"}).status_code == 400

    def endless():
        for _ in range(64):
            yield bytes(1 << 16)

    for address, kind in (("/api/cutout", upload), ("/api/selection", {})):
        headers = {"Content-Type": "application/json", **kind}
        answer = client.post(address, content=endless(), headers=headers)
        assert answer.status_code == 413
    assert still_serves(client)


@pytest.mark.parametrize("address", ["/", "/static/explorer.js", "/api/run", "/api/galaxies/99"])
def test_every_answer_forbids_foreign_content(client, address):
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_asks_nothing_of_the_network_and_never_sets_html():
    own = [path for path in STATIC.iterdir() if path.is_file()]
    assert {"index.html", "explorer.js", "explorer.css"} <= {path.name for path in own}
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|\son[a-z]+=|style=", page)
    for name in re.findall(r'(?:src|href)="/static/([^"]+)"', page):
        assert (STATIC / name).exists() or (STATIC / "vendor" / name).exists()
