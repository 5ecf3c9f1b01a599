"""Studies with names of folders and files that shells, patterns and Python's imports could misread."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from simulated_study import Simulation

from greenllm.config.read import validate
from greenllm.study.models import Config

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
ODD = "my 'res' \"x\" $HOME `id`; & *[a]? ü"


@pytest.fixture
def folder(tmp_path):
    """A user's working folder, with files named as Python modules, and data in a file with an odd name."""
    for name in ("types", "json", "yaml", "torch", "pyarrow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')\n")
    rows = "".join(f"question {n} about subject {n * 7919 % 997},label {n % 4}\n" for n in range(400))
    (tmp_path / "it's {my} $data.csv").write_text("prompt,completion\n" + rows)
    return tmp_path


def study(**more):
    return {
        "experiments": {
            "a": {
                "task": "customer-service",
                "data": {"source": "file", "train": "it's {my} $data.csv"},
                "recipes": ["int8"],
            }
        },
        "recipes": {"baseline": {"train": {"epochs": 1}}, "int8": {"from": "baseline", "quantize": "int8"}},
        **more,
    }


def snakemake(folder, settings, *options, **more):
    (folder / "my study.yaml").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--configfile", "my study.yaml", "--cores", "2", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, **more)


def said_of_the_study(done):
    """Return the lines that name the configuration; Snakemake's own come before them."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("my study.yaml: ")]


def test_a_results_folder_of_any_name_is_the_one_that_gets_the_results(folder):
    before = set(folder.iterdir())
    done = snakemake(folder, study(results=ODD), "--until", "preprocess")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / ODD / "data/a/prepared/report.json").is_file()
    assert (folder / ODD / "energy/preprocess/a.json").is_file()
    made = {path.name for path in set(folder.iterdir()) - before}
    assert made == {ODD, "my study.yaml", "logs", ".snakemake"}
    # All else that a shell reads is quoted as well: the plan's commands name the folder in one piece.
    plan = snakemake(folder, study(results=ODD), "--dry-run", "--printshellcmds")
    assert plan.returncode == 0, plan.stdout + plan.stderr


def test_home_is_meant_by_a_tilde_in_each_key(folder, tmp_path):
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (folder / "it's {my} $data.csv").rename(home / "data/rows.csv")
    settings = study(results="~/results", data_folder="~/data")
    settings["experiments"]["a"]["data"]["train"] = "rows.csv"
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "GREENLLM_LOCKS": str(tmp_path / "locks")}
    done = snakemake(folder, settings, "--until", "collect", env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "results/data/a/collected/card.json").is_file()
    assert not (folder / "~").exists()


@pytest.mark.parametrize("results", ["a{b}", "a<b>", "-r", "a\nb", " a"])
def test_a_results_folder_that_patterns_cannot_have_is_one_line(folder, results):
    done = snakemake(folder, study(results=results), "--dry-run")
    assert done.returncode == 2
    (line,) = said_of_the_study(done)
    assert line.startswith("my study.yaml: results: ")


def test_data_in_a_folder_that_the_study_makes_anew_are_refused(folder):
    own = folder / "results/data/a/collected"
    own.mkdir(parents=True)
    (folder / "it's {my} $data.csv").rename(own / "rows.csv")
    settings = study()
    settings["experiments"]["a"]["data"]["train"] = "results/data/a/collected/rows.csv"
    done = snakemake(folder, settings, "--until", "collect")
    assert done.returncode == 2
    assert "which this study replaces" in done.stderr
    assert (own / "rows.csv").is_file()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("site: {country: NO}", "'NO'"),
        ("recipes: {}", "'recipes' is there twice"),
        ("train: {epochs: 010}", "'010'"),
    ],
)
def test_what_yaml_takes_for_something_else_is_refused_before_anything_runs(folder, line, said):
    text = "experiments:\n  a: {task: translation, data: {source: embedded}, recipes: [base]}\n"
    done = snakemake(folder, f"{text}recipes:\n  base: {{train: {{}}}}\n{line}\n", "--dry-run")
    assert done.returncode == 2
    (message,) = said_of_the_study(done)
    assert message.startswith("my study.yaml: line 5: ") or message.startswith("my study.yaml: line 4: ")
    assert said in message


def test_a_job_has_what_it_reads_and_nothing_else(folder):
    def commands(**more):
        plan = snakemake(folder, study(**more), "--dry-run", "--printshellcmds", "--forceall")
        assert plan.returncode == 0, plan.stdout + plan.stderr
        lines = [line for line in (plan.stdout + plan.stderr).splitlines() if line.startswith("Shell command: meter")]
        return {line.split("--rule ")[1].split()[0]: line for line in lines}

    def changed(**more):
        usual, other = commands(), commands(**more)
        # The account holds the whole configuration, from which `recommend` decides anew.
        return {rule for rule in usual if usual[rule] != other[rule]} - {"account"}

    assert changed(train={"epochs": 3, "batch": 8}) == {"train"}
    assert changed(evaluate={"bootstrap": 200}) == {"evaluate"}
    assert changed(deploy={"warmup": 3}) == {"measure"}
    assert changed(decision={"requests": 5}) == set()
    assert changed(site={"pue": 1.5}) == set()
    settings = study()["experiments"]
    settings["a"]["model"] = {"context": 64}
    assert changed(experiments=settings) == {"preprocess", "train"}  # the one checks that prompts fit


def test_a_study_longer_than_an_argument_can_be_is_accounted(tmp_path):
    """Linux passes no argument of more than 128 KiB; the study of 600 recipes is longer."""
    recipes = {f"rate-{n}": {"train": {"learning_rate": n * 1e-6}} for n in range(1, 601)}
    experiment = {"task": "customer-service", "data": {"source": "embedded"}, "recipes": list(recipes)}
    settings = {"results": "results", "experiments": {"a": experiment}, "recipes": recipes}
    simulation = Simulation(tmp_path / "results", validate(settings, Config, "test"))
    simulation.prepare("a")
    for recipe in recipes:
        simulation.evaluate("a", recipe, 1, 0.9, 2)
    simulation.measure("a", 1, {"rate-1": 2.0})
    assert len(simulation.config.model_dump_json()) > 128 * 1024
    done = snakemake(tmp_path, settings, "--allowed-rules", "account", "--", "results/account/account.json")
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "logs/account.log").read_text()
    account = json.loads((tmp_path / "results/account/account.json").read_text())
    assert list(account["config"]["recipes"]) == list(recipes)
    assert len(account["models"]) == len(recipes)


def test_a_changed_series_of_the_site_is_read_again(tmp_path):
    series = tmp_path / "grid.csv"
    hours = "".join(f"2026-11-{day}T{hour:02}:00,400\n" for day in (18, 19) for hour in range(24))
    series.write_text("time (UTC),value (gCO2e/kWh)\n" + hours)
    experiment = {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["base"]}
    settings = {"experiments": {"a": experiment}, "recipes": {"base": {"train": {}}}, "site": {"series": "grid.csv"}}
    simulation = Simulation(tmp_path / "results", validate(settings, Config, "test"))
    simulation.prepare("a")
    simulation.evaluate("a", "base", 1, 0.9, 50)
    simulation.measure("a", 1, {"base": 2.0})
    options = ["--allowed-rules", "account", "impact", "--", "results/report/tables/impact.csv"]

    made = [tmp_path / "results" / file for file in ("account/account.json", "report/tables/impact.csv")]

    def written():
        done = snakemake(tmp_path, settings, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return [file.stat().st_mtime_ns for file in made]

    account, impact = written()
    series.touch()
    assert written() == [account, impact]
    series.write_text(series.read_text().replace("400", "300"))
    again = written()
    assert again[0] == account
    assert again[1] > impact
