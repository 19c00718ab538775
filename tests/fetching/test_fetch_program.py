"""`fetch` against a service that behaves, and one that does not."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.survey import fetch as recipe

from ssl_photoz import __version__, cli
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.fetching.settings import FrameConfig, ServiceConfig

SIDE = 16
QUICK = [
    f"size_px={SIDE}",
    "service.per_second=500",
    "service.back_off_s=0.01",
    "service.timeout_s=0.5",
    "service.tries=3",
]


def fetch(service, catalogue, out, *more):
    arguments = [f"catalogue={catalogue}", f"out={out}", f"service.url={service.url}"]
    cli.run("fetch", [*arguments, *QUICK, *more])


def rejected(out):
    table = pq.read_table(out.with_suffix(".rejects.parquet")).to_pylist()
    return {line["row"]: line["reason"] for line in table}


def keys(table):
    return [(float(ra), float(dec)) for ra, dec in zip(table["RA"], table["DEC"], strict=True)]


def test_cutouts_of_a_catalogue(service, make_catalogue, tmp_path, capsys):
    service.delay_s = 0.05  # so long that answers overlap on any machine
    passed = 10 ** (-0.4 * 2.165 * np.linspace(0.01, 0.2, 12))
    more = {f"PSFSIZE_{band}": np.linspace(1, 2, 12) for band in "GRZ"}
    path, table = make_catalogue(
        MW_TRANSMISSION_R=passed, SHAPE_R=np.arange(12.0), MORPHTYPE=["REX"] * 12, **more
    )
    out = tmp_path / "cutouts.h5"
    patient = "service.timeout_s=30"  # on a busy machine a good answer may take its time
    fetch(service, path, out, "service.contact=me@example.edu", "service.connections=3", patient)
    with Cutouts.open(out) as cutouts:
        assert cutouts.source.bands == ("g", "r", "z")
        assert cutouts.source.calibrated
        assert cutouts.column("id").tolist() == table["TARGETID"].tolist()
        pixels = cutouts.read(np.arange(12))
        assert cutouts.column("ebv") == pytest.approx(np.linspace(0.01, 0.2, 12), rel=1e-5)
        assert cutouts.column("psfsize").shape == (12, 3)
        assert cutouts.column("shape_r").tolist() == list(range(12))
        assert cutouts.column("morphtype").tolist() == ["REX"] * 12
        for name in ("ra", "dec", "z"):
            assert cutouts.column(name).tolist() == table[name.upper()].tolist()
    for row, (ra, dec) in enumerate(keys(table)):
        assert np.array_equal(pixels[row], service.sky(ra, dec, "grz", SIDE))
    assert set(service.asked().values()) == {1}
    assert 1 < service.most_busy <= 3
    for (_, dec), _, query, agent in service.requests:
        assert query["layer"] == ("ls-dr9-north" if dec > 32.375 else "ls-dr9-south")
        assert agent == f"ssl-photoz/{__version__} (me@example.edu)"
    with h5py.File(out) as file:
        assert "2.165 (SFD98, not rescaled" in file.attrs["ebv_source"]
        assert file.attrs["fetched_from"] == service.url
    said = capsys.readouterr().out
    assert "12 rows in, 12 cutouts" in said
    assert not (tmp_path / "cutouts.h5.fetching").exists()
    fetch(service, path, out)
    assert "already made" in capsys.readouterr().out
    assert len(service.requests) == 12


STUBBORN = {
    "html": "the answer is an HTML page, 3 times",
    "500": "HTTP 500, 3 times",
    "502": "HTTP 502, 3 times",
    "truncated": "no answer (RemoteProtocolError), 3 times",
    "cut off": "damaged or truncated FITS file",
    "slow": "no answer (",
    "drip": "no answer (TimeoutError), 3 times",
    "404": "HTTP 404",
    "zeros": "all-zero cutout",
    "half blank": "50 % of band r is blank",
    "wrong size": f"shape is (3, {SIDE // 2}, {SIDE // 2}), asked for (3, {SIDE}, {SIDE})",
    "wrong bands": "bands are gri, asked for grz",
    "wrong scale": "pixel scale is 0.4 arcsec, asked for 0.262",
    "shifted": "the centre is 3.0 px off the position asked for",
    "too long": "the answer is too long",
}


def test_a_service_that_misbehaves(service, make_catalogue, tmp_path, capsys):
    """Every fault once, then good; and every fault for ever: kept and rejected, row by row."""
    passing = ["html", "500", "429", "503", "truncated", "cut off", "slow", "good"]
    path, table = make_catalogue(n=len(passing) + len(STUBBORN) + 3)
    table["RA"][-1], table["DEC"][-2] = np.nan, 91.0
    table.write(path, overwrite=True)
    scripts = [*([mood, "good"] for mood in passing), *([mood] for mood in STUBBORN)]
    service.scripts = dict(zip(keys(table), scripts, strict=False))
    out = tmp_path / "cutouts.h5"
    fetch(service, path, out)
    reasons = rejected(out)
    expected = dict(enumerate(STUBBORN.values(), start=len(passing)))
    expected |= dict.fromkeys([len(table) - 2, len(table) - 1], "position out of range")
    assert reasons.keys() == expected.keys()
    for row, reason in expected.items():
        assert reasons[row].startswith(reason)
    with Cutouts.open(out) as cutouts:
        good = [row for row in range(len(table)) if row not in expected]
        assert cutouts.column("id").tolist() == table["TARGETID"][good].tolist()
        pixels = cutouts.read(np.arange(len(good)))
    for place, row in enumerate(good):
        assert np.array_equal(pixels[place], service.sky(*keys(table)[row], "grz", SIDE))
    said = capsys.readouterr().out
    assert f"{len(table)} rows in, {len(good)} cutouts" in said
    assert f"{len(expected)} rejects" in said
    card = json.loads((tmp_path / "cutouts.h5.card.json").read_text())
    assert card["rows_in"] == card["rows_written"] + card["rows_rejected"] == len(table)


def test_a_wait_that_is_asked_for_is_kept_by_all(service, make_catalogue, tmp_path):
    path, table = make_catalogue(n=8)
    service.scripts[keys(table)[2]] = ["wait", "good"]
    service.delay_s = 0.02
    fetch(service, path, tmp_path / "a.h5", "service.per_second=50", "service.connections=3")
    times = [at for _, at, *_ in service.requests]
    refused = next(at for key, at, *_ in service.requests if key == keys(table)[2])
    # Others that were under way when the refusal arrived may be on their way, none after that.
    assert not [at for at in times if refused + 0.3 < at < refused + 1.0]
    assert max(times) > refused + 1.0
    assert rejected(tmp_path / "a.h5") == {}


@pytest.mark.parametrize("mood", ["429", "503"])
def test_a_row_is_not_rejected_for_haste(service, make_catalogue, tmp_path, mood):
    path, table = make_catalogue(n=5)
    service.scripts[keys(table)[2]] = [mood] * 3 + ["good"]
    with pytest.raises(DataError, match=rf"asked too fast \(HTTP {mood}, 3 times\).*per_second"):
        fetch(service, path, tmp_path / "a.h5")
    fetch(service, path, tmp_path / "a.h5")
    assert rejected(tmp_path / "a.h5") == {}


def test_requests_are_spaced(service, make_catalogue, tmp_path):
    path, _ = make_catalogue(n=9)
    more = ("service.per_second=20", "service.connections=4")
    fetch(service, path, tmp_path / "a.h5", *more)
    times = [at for _, at, *_ in service.requests]
    assert max(times) - min(times) > 0.9 * 8 / 20


def test_too_long_a_wait_ends_the_run_and_the_next_goes_on(service, make_catalogue, tmp_path):
    path, table = make_catalogue(n=10)
    service.scripts[keys(table)[5]] = ["wait long", "good"]
    more = ("service.connections=1",)
    with pytest.raises(DataError, match=r"asks to wait 7200 s.*run the same command later"):
        fetch(service, path, tmp_path / "a.h5", *more)
    assert len(service.requests) == 6
    fetch(service, path, tmp_path / "a.h5", *more)
    assert len(service.requests) == 6 + 5
    assert rejected(tmp_path / "a.h5") == {}


def test_a_service_that_is_down_rejects_nobody(service, make_catalogue, tmp_path):
    path, table = make_catalogue(n=30)
    for key in keys(table)[4:24]:
        service.scripts[key] = ["500"] * 3 + ["good"]
    arguments = (service, path, tmp_path / "a.h5", "service.connections=1")
    with pytest.raises(DataError, match=r"20 cutouts running.*HTTP 500"):
        fetch(*arguments)
    fetch(*arguments)
    assert rejected(tmp_path / "a.h5") == {}
    assert {service.asked()[key] for key in keys(table)[:4]} == {1}


@pytest.mark.parametrize("down", [True, False])
def test_failures_at_the_end_are_the_rows_fault_only_if_the_service_lives(
    service, make_catalogue, tmp_path, down
):
    path, table = make_catalogue(n=6)
    first, last = keys(table)[0], keys(table)[-1]
    service.scripts[last] = ["500"]
    for key in keys(table)[:-1]:
        service.scripts[key] = ["good", "500"] if down else ["good"]
    arguments = (service, path, tmp_path / "a.h5", "service.connections=1")
    if down:
        with pytest.raises(DataError, match="the service fails"):
            fetch(*arguments)
        service.scripts[last] = ["good"]
        fetch(*arguments)
        assert rejected(tmp_path / "a.h5") == {}
    else:
        fetch(*arguments)
        assert rejected(tmp_path / "a.h5") == {5: "HTTP 500, 3 times"}
    assert service.asked()[first] == 1


def test_nothing_at_all_is_an_error(service, make_catalogue, tmp_path):
    path, _ = make_catalogue(n=3)
    service.mood = "zeros"
    with pytest.raises(DataError, match=r"not one cutout.*all-zero cutout"):
        fetch(service, path, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_another_catalogue_or_setting_is_refused(service, make_catalogue, tmp_path):
    path, table = make_catalogue(n=4)
    out = tmp_path / "a.h5"
    service.scripts[keys(table)[3]] = ["wait long"]
    with pytest.raises(DataError, match="asks to wait"):
        fetch(service, path, out, "service.connections=1")
    with pytest.raises(MismatchError, match=r"max_blank = 0\.1, asked for 0.5"):
        fetch(service, path, out, "max_blank=0.5")
    service.scripts.clear()
    fetch(service, path, out, "service.per_second=400")  # manners may change
    with pytest.raises(MismatchError, match="size_px = 16, asked for 8"):
        fetch(service, path, out, "size_px=8")
    table["RA"][1] += 0.001
    table.write(path, overwrite=True)
    with pytest.raises(MismatchError, match="catalogue_sha256"):
        fetch(service, path, out)
    (tmp_path / "b.h5").write_bytes(b"precious")
    with pytest.raises(MismatchError, match="was not fetched"):
        fetch(service, path, tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == b"precious"


def test_many_objects_are_sent_to_the_coadds():
    from ssl_photoz.fetching.gathering import advice

    said = advice(250_000, ServiceConfig(per_second=5))
    assert "at least 13.9 h" in said
    assert "coadds=" in said
    assert "service.contact=" in said
    assert "coadds" not in advice(100_000, ServiceConfig(contact="me"))


def test_another_pixel_scale_text_ids_and_simulations_are_marked(
    service, make_catalogue, tmp_path, capsys
):
    names = ["NGC 1", "007", "ü"]
    path, _ = make_catalogue(n=3, name="a.vot", TARGETID=names, simulated=[False, True, False])
    fetch(service, path, tmp_path / "a.h5", "pixscale_arcsec=0.5", "bands=[r]")
    with Cutouts.open(tmp_path / "a.h5") as cutouts:
        assert cutouts.column("id").tolist() == names
        assert cutouts.source.simulated
        assert not cutouts.source.calibrated
        assert cutouts.source.pixscale_arcsec == 0.5
        assert cutouts.source.bands == ("r",)
    assert "not calibrated" in capsys.readouterr().out


def test_the_function_takes_text_and_gives_the_cutouts(service, make_catalogue, tmp_path):
    path, table = make_catalogue()
    config = ServiceConfig(url=service.url, per_second=500)
    for _ in range(2):
        cutouts = recipe.fetch(
            str(path), str(tmp_path / "c.h5"), frame=FrameConfig(size_px=SIDE), service=config
        )
        assert cutouts.id.tolist() == table["TARGETID"].tolist()
        assert cutouts[:2].shape == (2, 3, SIDE, SIDE)
    with pytest.raises(ConfigError, match="size_px is 0"):
        FrameConfig(size_px=0)
    with pytest.raises(ConfigError, match="workers is 0"):
        recipe.fetch(path, tmp_path / "c.h5", workers=0)
