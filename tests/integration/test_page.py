"""The report page as a reader sees it: opened from a file in headless Chromium, on a desktop and on a phone."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_study import whole_study

from greenllm.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module", params=["simulated study", "real run"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "real run":
        if "GREENLLM_REPORT" not in os.environ:
            pytest.skip("no $GREENLLM_REPORT: the folder of a report that a workflow made")
        return Path(os.environ["GREENLLM_REPORT"], "index.html").resolve().as_uri()
    results = tmp_path_factory.mktemp("study")
    settings = whole_study(results).config.model_dump_json(by_alias=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    account = str(results / "account/account.json")
    assert main(["report", "--account", account, "--out", str(results / "report")]) == 0
    return (results / "report/index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page at a width in pixels; afterwards, the browser has logged no error and fetched nothing."""
    width = getattr(request, "param", 1280)
    page = browser.new_page(viewport={"width": width, "height": 844})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [address]
    page.close()


@pytest.mark.parametrize("page", [390, 1280], indirect=True)
def test_what_to_deploy_comes_first(page: Any) -> None:
    first = page.locator(".finding").first
    assert "deploy" in first.inner_text() or "nothing can be recommended" in first.inner_text()
    assert first.bounding_box()["y"] < 200
    order = [
        ".finding",
        "#table-comparison",
        "#figure-quality-energy",
        "#table-recommendation",
        "#table-sizes",
        "#energy",
    ]
    places = [page.locator(one).first.bounding_box()["y"] for one in order]
    assert places == sorted(places)


def test_every_table_can_be_reached_and_scrolled_by_keyboard(page: Any) -> None:
    assert page.locator(".table:not([tabindex='0'])").count() == 0
    folded = page.locator("#comparison details:not([open]) > summary")
    while folded.count():
        folded.first.focus()
        page.keyboard.press("Enter")
    page.locator("#comparison a").first.focus()
    reached = set()
    for _ in range(page.locator("#comparison :is(a, button, summary, .table)").count()):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('.table')?.getAttribute('aria-label')"))
    captions = page.locator("#comparison .table").all()
    assert {caption.get_attribute("aria-label") for caption in captions} <= reached


@pytest.mark.parametrize("page", [390, 1280], indirect=True)
def test_every_figure_is_shown_and_described(page: Any) -> None:
    figures = page.locator("figure").all()
    assert len(figures) >= 3
    for figure in figures:
        drawing = figure.locator("svg[role=img]")
        box = drawing.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 100
        assert len(drawing.get_attribute("aria-label")) > 40
        assert drawing.locator("path").count() > 5
        assert figure.locator("figcaption").inner_text()


@pytest.mark.parametrize("page", [390, 768, 1280], indirect=True)
def test_the_page_never_scrolls_sideways(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.locator(".table").all()
    assert len(boxes) > 8
    for box in boxes:
        assert box.bounding_box()["width"] <= page.viewport_size["width"]


@pytest.mark.parametrize("page", [390], indirect=True)
def test_letters_can_be_read_on_a_phone(page: Any) -> None:
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('main p, td, th, dd, figcaption')]"
        ".map(one => parseFloat(getComputedStyle(one).fontSize)))"
    )
    assert smallest >= 12
    labels = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(one => one.getBoundingClientRect().height)"
    )
    assert min(labels) >= 7


def column(page: Any, heading: str) -> list[float]:
    index = page.locator("#table-comparison th").all_inner_texts()
    position = next(i for i, text in enumerate(index) if heading in " ".join(text.split()))
    cells = page.locator(f"#table-comparison tbody td:nth-child({position + 1})").all()
    return [float(cell.get_attribute("data-sort")) for cell in cells]


def test_tables_sort_by_click_and_by_keyboard(page: Any) -> None:
    heading = page.locator("#table-comparison th", has_text="Per request")
    unsorted = column(page, "Per request")
    heading.click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, "Per request") == sorted(unsorted)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, "Per request") == sorted(unsorted, reverse=True)
    other = page.locator("#table-comparison th", has_text="Recipe")
    other.locator("button").focus()
    page.keyboard.press("Space")
    recipes = page.locator("#table-comparison tbody td:nth-child(2)").all_inner_texts()
    assert recipes == sorted(recipes)
    assert heading.get_attribute("aria-sort") == "none"


def test_what_is_unknown_sorts_last_either_way(page: Any) -> None:
    heading = page.locator("#table-comparison th", has_text="Times less")
    position = 1 + page.locator("#table-comparison th").all_inner_texts().index(heading.inner_text())
    for _ in range(2):
        heading.click()
        shown = page.locator(f"#table-comparison tbody td:nth-child({position})").all_inner_texts()
        known = [text for text in shown if text != "–"]
        assert 0 < len(known) < len(shown)
        assert shown[: len(known)] == known


@pytest.mark.parametrize("page", [390], indirect=True)
def test_the_recipe_stays_in_sight_where_a_table_is_wider_than_a_phone(page: Any) -> None:
    table = page.locator(".table", has=page.locator("#table-comparison"))
    table.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    assert table.evaluate("one => one.scrollLeft") > 0
    for cell in page.locator("#table-comparison td.recipe").all():
        assert 0 <= cell.bounding_box()["x"] < 100


def test_modelled_is_said_in_words(page: Any) -> None:
    labels = page.locator("#table-comparison td.modelled .label").all_inner_texts()
    assert len(labels) == page.locator("#table-comparison tbody tr").count()
    assert set(labels) <= {"modelled", "measured", "measured and modelled"}


def test_the_links_lead_to_files_beside_it(page: Any, address: str) -> None:
    folder = Path(address.removeprefix("file://")).parent
    links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")
    files = {link for link in links if not link.startswith("#")}
    named = {
        f"tables/{table}.{ending}" for table in ("efficiency", "impact") for ending in ("csv", "parquet", "md", "tex")
    }
    assert "summary.json" in files
    assert [link for link in files - named if not (folder / link).is_file()] == []
