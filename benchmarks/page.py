"""The page of a large study: its size, how long it takes to make, and how soon Chromium can use it.

    python benchmarks/page.py [--jobs 10000]

Two experiments with many recipes and seeds are simulated, so that the study has at least that many jobs. The page is
made by the workflow's commands. Exit status 1 if it is larger than 3 MB, or can't be used within 2 s: until then it
is laid out, and a table has been opened and sorted. It is loaded several times; the median counts.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulated_study import Simulation, config

from greenllm.config.read import validate
from greenllm.study.models import Config

MOST_MB, MOST_s = 3.0, 2.0
SEEDS = 10
LOADS = 5


def simulate(results: Path, jobs: int) -> Simulation:
    """Write a study of at least `jobs` metered jobs: its recipes are as many as that takes."""
    # For each recipe and seed: train, evaluate, and below `measure` a server and its load generator.
    recipes = [f"recipe-{number}" for number in range(1, max(2, jobs // (2 * SEEDS * 4)) + 1)]
    values = config(recipes, list(range(SEEDS))).model_dump(mode="json", by_alias=True, exclude_unset=True)
    settings: Config = validate({**values, "recipes": {name: {"train": {}} for name in recipes}}, Config, "benchmark")
    study = Simulation(results, settings)
    for experiment in study.config.experiments:
        study.prepare(experiment)
        for seed in range(SEEDS):
            for place, name in enumerate(recipes):
                study.train(experiment, name, seed, 10)
                study.evaluate(experiment, name, seed, 0.8 + 0.1 * place / len(recipes), 50)
            study.measure(experiment, seed, {name: 4 + place % 7 for place, name in enumerate(recipes)}, rounds=4)
    return study


def made(study: Simulation) -> Path:
    """Run the workflow's commands that lead to the page; return its path. Prints what each takes."""
    greenllm = Path(sys.executable).parent / "greenllm"
    account, page = study.results / "account", study.results / "report/index.html"
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    (study.results / "config.yaml").write_text(settings)
    commands: list[list[str | Path]] = [
        ["account", "--config", study.results / "config.yaml", "--results", study.results, "--out", account],
        ["footprint", study.results, "--out", account / "footprint.json"],
        [
            "report",
            "--account",
            account / "account.json",
            "--footprint",
            account / "footprint.json",
            "--out",
            page.parent,
        ],
    ]
    for command in commands:
        began = time.perf_counter()
        subprocess.run([greenllm, *command], check=True, stdout=subprocess.DEVNULL)
        print(f"greenllm {command[0]}: {time.perf_counter() - began:.1f} s", flush=True)
    return page


def usable_s(page: Path) -> float:
    """Return the seconds from loading the page until a table was opened and sorted: the median of some loads."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(LOADS):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.perf_counter()
            tab.goto(page.as_uri())
            tab.locator("#comparison > summary").click()
            tab.locator("#comparison th button").first.click()
            found.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    return statistics.median(found)


def main() -> int:
    """Simulate, make the page, measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder in which the study is left")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = simulate((arguments.keep or Path(folder)) / "results", arguments.jobs)
        page = made(study)
        size_MB, took_s = page.stat().st_size / 1e6, usable_s(page)
    print(f"{study.jobs} jobs: {size_MB:.2f} MB (at most {MOST_MB}), usable after {took_s:.2f} s (at most {MOST_s})")
    return 0 if size_MB <= MOST_MB and took_s <= MOST_s else 1


if __name__ == "__main__":
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    sys.exit(main())
