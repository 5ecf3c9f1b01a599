"""The report page as a reader sees it: opened from a file in headless Chromium, on a desktop and on a phone."""

import json
import os
import shutil
import subprocess
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
    footprint = str(results / "account/footprint.json")
    assert main(["footprint", str(results), "--draws", "1000", "--out", footprint]) == 0
    assert main(["report", "--account", account, "--footprint", footprint, "--out", str(results / "report")]) == 0
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


def unfold(page: Any) -> None:
    """Open all tables."""
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


@pytest.mark.parametrize("page", [390, 1440], indirect=True)
def test_what_to_deploy_comes_first(page: Any) -> None:
    first = page.locator(".finding").first
    said = first.inner_text().lower()
    assert "deploy" in said or "nothing can be recommended" in said
    assert first.bounding_box()["y"] < 200
    order = [
        ".finding",
        "#figure-quality-energy",
        "#comparison",
        "#energy",
        "#time",
        "#impact-by-scope",
        "#decision",
        "#methods-and-conservation",
    ]
    places = [page.locator(one).first.bounding_box()["y"] for one in order]
    assert places == sorted(places)


@pytest.mark.parametrize("page", [1440], indirect=True)
def test_the_first_screen_has_the_whole_answer_and_the_page_eight_screens(page: Any) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    for finding in page.locator(".finding").all():
        for part in (".heading", ".saving", ".facts", ".thousand", ".known", ".sentence"):
            box = finding.locator(part).bounding_box()
            assert box["y"] + box["height"] <= 900, part
        said = finding.locator(".thousand").inner_text()
        assert all(word in said for word in ("Energy", "Carbon", "Water", "Money"))
    assert page.locator("#verified").bounding_box()["y"] <= 900
    assert page.evaluate("document.documentElement.scrollHeight") <= 8 * 900
    for section in page.locator("main > section").all():
        assert section.bounding_box()["height"] <= 900, section.get_attribute("id")


def test_every_table_can_be_reached_and_scrolled_by_keyboard(page: Any) -> None:
    assert page.locator(".table:not([tabindex='0'])").count() == 0
    section = "#quality-and-energy"
    folded = page.locator(f"{section} details:not([open]) > summary")
    while folded.count():
        folded.first.focus()
        page.keyboard.press("Enter")
    page.locator(f"{section} a").first.focus()
    reached = set()
    for _ in range(page.locator(f"{section} :is(a, button, summary, .table)").count()):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('.table')?.getAttribute('aria-label')"))
    captions = page.locator(f"{section} .table").all()
    assert {caption.get_attribute("aria-label") for caption in captions} <= reached


@pytest.mark.parametrize("page", [390, 1280], indirect=True)
def test_every_figure_is_shown_and_described(page: Any) -> None:
    unfold(page)
    assert page.locator("figure").count() >= 5
    for figure in page.locator("figure").all():
        assert figure.locator("figcaption").inner_text()
        drawings = figure.locator(".panel svg[role=img]").all()
        assert drawings
        for drawing in drawings:
            box = drawing.bounding_box()
            assert box["width"] > 250
            assert box["height"] > 70
            assert len(drawing.get_attribute("aria-label")) > 40
            assert drawing.locator("path").count() > 5


@pytest.mark.parametrize("page", [1440], indirect=True)
def test_small_multiples_fill_the_width(page: Any) -> None:
    boxes = [one.bounding_box() for one in page.locator("#figure-quality-energy .panel").all()]
    rows = {round(box["y"] + box["height"]) for box in boxes}
    assert len(rows) == 1, "beside each other"


@pytest.mark.parametrize("page", [360, 390, 768, 1280, 1440], indirect=True)
def test_the_page_never_scrolls_sideways(page: Any) -> None:
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = page.locator(".table").all()
    assert len(boxes) > 8
    for box in boxes:
        assert box.bounding_box()["width"] <= page.viewport_size["width"]


@pytest.mark.parametrize("page", [390], indirect=True)
def test_letters_can_be_read_on_a_phone(page: Any) -> None:
    unfold(page)
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
    unfold(page)
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
    unfold(page)
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
    unfold(page)
    table = page.locator(".table", has=page.locator("#table-comparison"))
    table.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    assert table.evaluate("one => one.scrollLeft") > 0
    for cell in page.locator("#table-comparison td.recipe").all():
        assert 0 <= cell.bounding_box()["x"] < 100


def test_modelled_is_said_in_words(page: Any) -> None:
    unfold(page)
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


# --- filtering, copying, derivations ---


def test_one_experiment_can_be_shown_alone(page: Any) -> None:
    unfold(page)
    names = page.eval_on_selector_all("article[data-experiment]", "all => all.map(one => one.dataset.experiment)")
    if len(names) == 1:
        pytest.skip("the study has one experiment")
    page.locator("#experiment").select_option(names[1])
    assert page.locator("article:visible").count() == 1
    shown = page.locator("#table-comparison tbody tr:visible td:first-child").all_inner_texts()
    assert set(shown) == {names[1]}
    page.locator("#experiment").select_option("")
    assert page.locator("article:visible").count() == len(names)


def test_a_table_is_copied_with_a_click(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#comparison > summary").click()
    page.locator("#comparison .copy").click()
    page.locator("#comparison .copy", has_text="Copied").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(lines) == 1 + page.locator("#table-comparison tbody tr").count()
    assert lines[0].split("\t")[0].startswith("Experiment")
    assert len({line.count("\t") for line in lines}) == 1


def test_a_number_shows_its_derivation_by_click_and_by_keyboard(page: Any) -> None:
    page.locator(".finding .thousand .derived").first.click()
    dialog = page.locator("dialog[open]")
    said = dialog.inner_text()
    assert "energy per request" in said
    assert "ledger/" in said
    assert "95 % interval" in said
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    page.locator("#impact > summary").click()
    page.locator("#impact .table").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert dialog.locator("h4").count() >= 2


# --- without JavaScript, on paper, for everyone ---


def test_without_javascript_all_is_there(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator(".finding .sentence").first.is_visible()
    page.locator("#comparison > summary").click()
    assert page.locator("#table-comparison").is_visible()
    assert page.locator("#comparison .formulas").is_visible()
    context.close()


def test_on_paper_the_answer_and_the_figures_remain(page: Any) -> None:
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator(".finding .sentence").first.is_visible()
    assert page.locator("#figure-quality-energy svg").first.is_visible()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which npm fetches for the test run."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
    if subprocess.run(command, capture_output=True, timeout=120, check=False).returncode:
        pytest.skip("axe-core can't be fetched by npm")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.parametrize("page", [390, 1440], indirect=True)
def test_axe_finds_nothing_serious(page: Any, axe: str) -> None:
    unfold(page)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = {
        one["id"]: [node["target"] for node in one["nodes"]][:5]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert serious == {}, json.dumps(serious, indent=1)
