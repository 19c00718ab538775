"""A page a room: each room of the house has one, which names it, and whose Python runs."""

import re
from pathlib import Path

import pytest

import ssl_photoz as sp

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS = {path.parent.name for path in (ROOT / "ssl_photoz").glob("*/__init__.py")} - {"recipes"}
LISTED = re.findall(
    r"^- (`[a-z`, ]+): \[\S+\]\((\S+)\)",
    (DOCS / "architecture.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
PAGES = {room: DOCS / page for rooms, page in LISTED for room in re.findall("[a-z]+", rooms)}


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_every_room_has_a_page() -> None:
    assert set(PAGES) == ROOMS | {"survey", "pretrain", "probe", "cli", "pipeline"}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_page_names_its_room(room: str) -> None:
    assert f"ssl_photoz/{room}/" in PAGES[room].read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    assert [one for one in links if "://" not in one and not (page.parent / one).exists()] == []


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with survey.h5 (SIMULATED), an untrained encoder and its embeddings below run/."""
    folder = tmp_path_factory.mktemp("docs")
    simulator = sp.SimulatorConfig(size_px=48, labelled_fraction=0.8)
    sp.simulate(folder / "survey.h5", galaxies=300, simulator=simulator, workers=1)
    encoder = sp.pretrain(
        folder / "survey.h5",
        folder / "run/encoder",
        training=sp.TrainingConfig(epochs=0),
        encoder=sp.EncoderConfig(crop_px=40),
    )
    readout = sp.ReadOutConfig(orientations=1)
    sp.embed(folder / "survey.h5", encoder, folder / "run/embeddings", readout=readout)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    sorted({page for page in DOCS.glob("*.md") if blocks(page)} - {DOCS / "library.md"}),
    ids=lambda page: page.stem,
)
def test_the_python_of_a_page_runs(
    page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.stem == "scale-out":
        pytest.importorskip("lsdb", reason="lsdb is not installed")
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"docs/{page.name}, block {number}", "exec"), names)
