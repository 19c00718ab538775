"""The page in a real headless Chromium: search, click, upload, lasso, download, by keyboard."""

import csv
import shutil

import h5py
import numpy as np
import pytest

from ssl_photoz.nearby.verdicts import read_verdicts

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WIDE, HIGH = 9, 5  # the grid of the test run's map spans 0 to 9 and 0 to 5
FIT = 0.94  # the whole map fills this much of its window


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, ready; fails on any complaint in the console and on any foreign request."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    complaints, foreign = [], []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((address, "data:", "blob:")) or foreign.append(asked.url)
        ),
    )
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=20_000)
    yield page
    page.close()
    assert foreign == []
    assert [text for text in complaints if "422" not in text] == []


def on_map(page, x, y):
    """Where on the screen a place of the map is, while the whole map is in view."""
    box = page.locator("#map").bounding_box()
    scale = FIT * min(box["width"] / WIDE, box["height"] / HIGH)
    middle_x, middle_y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return middle_x + (x - WIDE / 2) * scale, middle_y - (y - HIGH / 2) * scale


def shown(page):
    page.wait_for_selector("#galaxy[data-row]")
    return int(page.locator("#galaxy").get_attribute("data-row"))


def expect_row(page, row):
    page.wait_for_selector(f'#galaxy[data-row="{row}"]', timeout=5000)
    assert page.locator("#galaxy h2").first.inner_text() == str(2**60 + row)


def wait_for_status(page, text):
    said = "(text) => document.querySelector('#status').textContent.includes(text)"
    page.wait_for_function(said, arg=text, timeout=5000)


def test_search_click_neighbours_and_verdicts(page, verdicts):
    assert "SIMULATED" in page.locator("#caution").inner_text()
    page.keyboard.press("/")
    page.keyboard.type(str(2**60 + 12))
    page.keyboard.press("Enter")
    expect_row(page, 12)
    assert page.locator("svg.density path.curve").count() == 1
    pictures = "[...document.querySelectorAll('#galaxy img')]"
    page.wait_for_function(f"() => {pictures}.filter((one) => one.naturalWidth).length > 1")
    page.mouse.click(*on_map(page, 3, 4))
    expect_row(page, 43)
    page.mouse.click(*on_map(page, 3.5, 4.5))  # nothing there
    assert shown(page) == 43
    page.locator(".grid button").first.click()
    page.wait_for_function("() => document.querySelector('#galaxy').dataset.row !== '43'")
    row = shown(page)
    page.locator("#map").focus()
    page.keyboard.press("n")
    page.wait_for_selector('[data-verdict="not_dwarf"][aria-pressed="true"]')
    assert [one.verdict for one in read_verdicts(verdicts) if one.id == str(2**60 + row)] == [
        "not_dwarf"
    ]
    page.fill("#query", "no such galaxy")
    page.keyboard.press("Enter")
    page.wait_for_selector("#status.bad")
    assert "no galaxy" in page.locator("#status").inner_text()


def test_text_of_the_catalogue_stays_text(page):
    page.evaluate("() => { window.hacked = () => { window.wasHacked = true; }; }")
    names = page.locator("#colour option").all_inner_texts()
    hostile = next(name for name in names if name.startswith("<img"))
    for name in (hostile, "survey"):
        page.select_option("#colour", label=name)
        page.wait_for_function(
            "(name) => document.querySelector('#legend').textContent.startsWith(name)", arg=name
        )
    assert "<b>bright</b>" in page.locator("#legend").inner_text()
    page.mouse.click(*on_map(page, 1, 1))
    expect_row(page, 11)
    assert hostile in page.locator("details").evaluate("(element) => element.textContent")
    assert page.locator("#galaxy img[src='x'], #legend b, select img").count() == 0
    assert page.evaluate("window.wasHacked") is None


def test_upload_finds_the_galaxy_and_refuses_what_is_none(page, run_folder, tmp_path):
    with h5py.File(run_folder / "cutouts.h5") as file:
        np.save(tmp_path / "mine.npy", file["images"][26])
    page.set_input_files("#file", tmp_path / "mine.npy")
    page.wait_for_selector(".grid button", timeout=20_000)
    assert page.locator("#galaxy h2").first.inner_text() == "mine.npy"
    page.locator(".grid button").first.click()
    expect_row(page, 26)
    (tmp_path / "bad.npy").write_bytes(b"not a cutout")
    page.set_input_files("#file", tmp_path / "bad.npy")
    page.wait_for_selector("#status.bad")
    assert "no HDF5, NPY or FITS" in page.locator("#status").inner_text()
    (tmp_path / "large.npy").write_bytes(bytes((1 << 20) + 1))
    page.set_input_files("#file", tmp_path / "large.npy")
    wait_for_status(page, "1 MiB")


def test_lasso_and_download(page, tmp_path):
    page.click("#lasso")
    corners = [(-0.2, -0.2), (2.5, -0.2), (2.5, 1.5), (-0.2, 1.5)]
    page.mouse.move(*on_map(page, *corners[0]))
    page.mouse.down()
    for corner in (*corners[1:], corners[0]):
        page.mouse.move(*on_map(page, *corner), steps=4)
    page.mouse.up()
    page.wait_for_selector("#lines tbody tr")
    inside = [2**60 + row for row in (0, 1, 2, 10, 11, 12)]
    cells = page.locator("#lines tbody button").all_inner_texts()
    assert [int(cell) for cell in cells] == inside
    with page.expect_download() as saving:
        page.click("#csv")
    saving.value.save_as(tmp_path / "selection.csv")
    with (tmp_path / "selection.csv").open(newline="") as file:
        assert [int(line["id"]) for line in csv.DictReader(file)] == inside
    page.keyboard.press("Escape")
    page.click("#clear")
    page.wait_for_selector("#selection", state="hidden")


def test_the_map_answers_to_the_keyboard(page):
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("0")
    for _ in range(12):
        page.keyboard.press("+")
    page.keyboard.press("-")
    page.click("#in-view")
    wait_for_status(page, "No galaxy selected")  # the middle is empty
    page.click("#fit")
    page.click("#in-view")
    page.wait_for_selector("#lines tbody tr")
    assert "59 galaxies selected" in page.locator("#selected").inner_text()  # one has no place


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_a_phone_and_a_laptop_dark_and_light(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.mouse.click(*on_map(page, 4, 2))
    expect_row(page, 24)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    ink, paper = (sum(map(int, c.strip("rgb()").split(","))) for c in colours)
    assert (ink > paper) == (scheme == "dark")
    assert abs(ink - paper) > 400
