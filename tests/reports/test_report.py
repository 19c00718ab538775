"""The page holds everything, shows what is there, and asks the network for nothing."""

import base64
import html
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread, imsave

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, ConfigError, MismatchError
from ssl_photoz.reports import scores
from ssl_photoz.reports.page import draw_history, write_report

HISTORY = [
    {"epoch": e, "loss": 5.0 / e, "contrastive_loss": 3.0 / e, "embedding_std": 0.9} for e in (1, 2)
]
METRICS = {
    "label": "frozen embedding",
    "labels": {"train": 640, "val": 80, "test": 80},
    "probes": {
        name: {
            "test": {
                "n": 80,
                "bias": -0.0012,
                "sigma_nmad": sigma,
                "error_sigma_nmad": 0.0021,
                "outliers_05": 0.125,
                "error_outliers_05": 0.031,
                "r2": None,
                "coverage": 0.7,
                "nearby": [{"z_max": 0.05, "n": 7, "purity": 0.5, "completeness": 0.25}],
            }
        }
        for name, sigma in (("mean", 0.2), ("knn", 0.0345))
    },
    "versus": [
        {
            "probe": "knn",
            name: "random encoder",  # version 0.1 called it a rival
            "metric": metric,
            "difference": -0.01,
            "error": 0.002,
            "beats": beats,
        }
        for metric, beats, name in (
            ("sigma_nmad", True, "baseline"),
            ("outliers_05", False, "rival"),
        )
    ],
}


class Page(html.parser.HTMLParser):
    """Collects the text, the addresses and the tags left open of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that holds small artefacts of every kind."""
    run = tmp_path / "run"
    pixels = np.zeros((4, 4, 3))
    for name, kind, figure in (
        ("encoder", "encoder", None),
        ("embeddings", "embeddings", None),
        ("probe-mlp", "probe", "zphot_zspec"),
        ("index", "index", None),
        ("query", "query", "lookalikes"),
        ("dwarfs", "dwarfs", "purity_completeness"),
        ("map", "map", "map"),
    ):
        (run / name).mkdir(parents=True)
        if figure:
            imsave(run / name / f"{figure}.png", pixels)
        facts = {"rows_in": 12, "rows_rejected": 2} if kind == "embeddings" else {}
        artefact.write_card(
            run / name, kind, config={"moco": {"epochs": 7}}, simulated=True, **facts
        )
    (run / "inspect").mkdir()
    imsave(run / "inspect" / "contact_sheet.png", pixels)
    (run / "encoder" / "history.jsonl").write_text("\n".join(map(json.dumps, HISTORY)))
    artefact.write_json(run / "probe-mlp" / "metrics.json", METRICS)
    return run


def table_row(page: Path, label: str, *, table: int) -> list[str]:
    """Return the cells of the row of the nth table that starts with a label."""
    body = page.read_text(encoding="utf-8").split("<tbody>")[table + 1].split("</tbody>")[0]
    (row,) = [row for row in body.split("</tr>") if f"<td>{label}</td>" in row]
    return [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]


def test_the_page_needs_no_other_file(run: Path, tmp_path: Path) -> None:
    page = Page(write_report(run, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.addresses) == 6  # four figures, the contact sheet, the curves
    for address in page.addresses:
        start, _, encoded = address.partition(",")
        assert start == "data:image/png;base64"
        assert base64.b64decode(encoded, validate=True).startswith(b"\x89PNG")


def test_every_artefact_is_listed_by_its_checksum(run: Path, tmp_path: Path) -> None:
    texts = Page(write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")).texts
    cards = list(run.rglob("card.json"))
    assert len(cards) == 7
    for card in cards:
        assert artefact.sha256_of(card) in texts
    assert "rows_rejected" in texts
    assert "moco.epochs" in texts


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("calibrated", [True, False])
def test_cautions_come_from_any_card(tmp_path: Path, simulated: bool, calibrated: bool) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    artefact.write_card(tmp_path / "a", "encoder", simulated=False, calibrated=True)
    artefact.write_card(tmp_path / "b", "map", simulated=simulated, calibrated=calibrated)
    text = write_report(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("SIMULATED" in text) is simulated
    assert ("Uncalibrated 8-bit source" in text) is not calibrated


def test_what_comes_from_files_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    artefact.write_card(tmp_path / "a", "encoder", config={"note": "<script>alert(1)</script>"})
    text = write_report(tmp_path, tmp_path / "page.html", title="<b>").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<title>&lt;b&gt;</title>" in text


def test_an_unfinished_artefact_is_left_out(run: Path, tmp_path: Path) -> None:
    (run / "map" / "card.json").unlink()
    text = write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>Map</h2>" not in text
    assert "<h2>Look-alikes</h2>" in text


def test_seconds_of_a_path_are_shown(run: Path, tmp_path: Path) -> None:
    artefact.write_json(run / "timings.json", {"seconds": {"ssl-photoz embed": 12.34}})
    texts = Page(write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")).texts
    assert texts[texts.index("ssl-photoz embed") :][1:3].count("12.3") == 1


def test_metrics_carry_their_errors_and_per_cent(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "page.html")
    cells = dict(
        zip(
            [column.key for column in scores.METRICS],
            table_row(page, "frozen embedding: knn", table=0)[1:],
            strict=True,
        )
    )
    assert cells["labels"] == "640"
    assert cells["bias"] == "\N{MINUS SIGN}0.0012"
    assert cells["sigma_nmad"] == "0.0345 ± 0.0021"
    assert cells["outliers_05"] == "12.5 ± 3.1"
    assert cells["coverage"] == "70"
    assert cells["r2"] == cells["mae"] == ""
    assert table_row(page, "predicting the mean", table=0)[3].startswith("0.2000")


def test_differences_say_which_are_better(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "page.html")
    label = "frozen embedding: knn, against random encoder"
    minus = "\N{MINUS SIGN}"
    assert table_row(page, label, table=1)[1:] == [
        f"{minus}0.0100 ± 0.0020 better",
        f"{minus}1.0 ± 0.2",
        "",
    ]


def test_nearby_selections_leave_the_mean_out(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "page.html")
    row = table_row(page, "frozen embedding: knn", table=2)
    assert row[1:] == ["0.05", "7", "50", "25", ""]
    body = page.read_text(encoding="utf-8").split("<tbody>")[3].split("</tbody>")[0]
    assert "mean" not in body


def test_metrics_of_another_form_are_said(run: Path, tmp_path: Path) -> None:
    artefact.write_json(run / "probe-mlp" / "metrics.json", {"label": "a", "probes": {}})
    with pytest.raises(ArtefactError, match="lacks labels, versus"):
        write_report(run, tmp_path / "page.html")


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no finished artefact"):
        write_report(tmp_path, tmp_path / "page.html")
    with pytest.raises(ArtefactError, match="is not a folder"):
        write_report(tmp_path / "none", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_artefact_is_said_and_the_old_page_kept(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "page.html")
    before = page.read_bytes()
    (run / "encoder" / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(ArtefactError, match=r"history.jsonl is not JSON line by line"):
        write_report(run, page)
    (run / "encoder" / "card.json").write_text("{")
    with pytest.raises(ArtefactError, match="not valid JSON"):
        write_report(run, page)
    (run / "encoder" / "card.json").write_text("{}")
    with pytest.raises((ArtefactError, MismatchError), match="encoder"):
        write_report(run, page)
    assert page.read_bytes() == before


def test_the_verb_writes_into_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run)]) == 0
    assert (run / "report.html").is_file()
    assert capsys.readouterr().out == f"report: {(run / 'report.html').resolve()}\n"


def test_curves_have_a_panel_per_figure_of_the_history(tmp_path: Path) -> None:
    sizes = []
    for history in ([{"epoch": 1, "loss": 1.0}], HISTORY):
        (tmp_path / "a.png").write_bytes(draw_history(history))
        sizes.append(imread(tmp_path / "a.png").shape[1])
    assert sizes[1] == 2 * sizes[0]


@pytest.mark.parametrize("history", [[], [{"epoch": 1}], [{"seconds": 3.0}]])
def test_no_figure_where_there_is_nothing_to_draw(history: list[dict[str, float]]) -> None:
    assert draw_history(history) == b""


def test_references_are_quoted_in_the_columns_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "y.yaml").write_text("rows: [{label: a, sigma_nmad: 0.0151, outliers_05: 0.027}]")
    (row,) = scores.read_references(tmp_path / "y.yaml")
    cells = dict(zip([column.key for column in scores.METRICS], row.cells, strict=True))
    assert cells["sigma_nmad"] == "0.0151"
    assert cells["outliers_05"] == "2.7"
    assert cells["bias"] == ""
    assert row.quoted
    assert "quoted, other split" in row.note


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no list of rows"),
        ("rows: 3", "no list of rows"),
        ("rows: [{sigma_nmad: 0.1}]", "expected a label"),
        ("rows: [{label: a, sigma: 0.1}]", "numbers for any of"),
        ("rows: [{label: a, r2: good}]", "numbers for any of"),
    ],
)
def test_wrong_references_are_said(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "y.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        scores.read_references(tmp_path / "y.yaml")


@pytest.mark.parametrize("kind", ["densities", "pdf"])  # the latter of version 0.1
def test_densities_are_shown_calibrated_and_as_fitted(run: Path, tmp_path: Path, kind: str) -> None:
    said = {
        "n": 80,
        "ks": 0.0213,
        "ks_of_chance": 0.097,
        "crps": 0.0107,
        "cde_loss": -17.994,
        "coverage": {"0.5": 0.5, "0.68": 0.684},
        "good": 0.8951,
        "point": {"n": 80, "sigma_nmad": 0.0145, "outliers_05": 0.021, "r2": 0.783},
    }
    (run / "pdf").mkdir()
    artefact.write_card(run / "pdf", kind, config={})
    metrics = {"label": "frozen", "method": "mlp", "test": said}
    metrics["test_uncalibrated"] = {**said, "ks": 0.0513}
    artefact.write_json(run / "pdf" / "metrics.json", metrics)
    page = write_report(run, tmp_path / "page.html")
    calibrated = table_row(page, "frozen: mlp, calibrated", table=3)
    assert calibrated[1:] == [
        *("80", "0.021", "0.097", "68.4", "0.01070", "\N{MINUS SIGN}17.99"),
        *("0.0145", "2.1", "0.783", "89.5"),
    ]
    assert table_row(page, "frozen: mlp, as fitted", table=3)[2] == "0.051"


def test_contamination_heads_the_page(tmp_path: Path) -> None:
    for name, count in (("clean", 0), ("seen", 3)):
        (tmp_path / name).mkdir()
        artefact.write_card(tmp_path / name, "embeddings", config={}, contaminated=count)
        text = write_report(tmp_path / name, tmp_path / f"{name}.html").read_text("utf-8")
        assert ("CONTAMINATED" in text) == bool(count)
