"""The check of a whole configuration: first each section, then what needs more than one section."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from greenllm.checks.experiments import experiment_problems
from greenllm.checks.files import file_problems, use_problems
from greenllm.checks.harness import harness_problems
from greenllm.checks.recipes import process_problems, recipe_problems, step_problems
from greenllm.checks.recovery import readable_study
from greenllm.checks.refusals import refusals
from greenllm.config.read import ConfigError, validate
from greenllm.footprint.equipment import equipment_of
from greenllm.footprint.site_factors import own_tables_of, recorded_carbon_of, site_factors_of
from greenllm.study.models import Config


def check_config(values: Mapping[str, Any], source: str, gpu_limit: int | None = None) -> Config:
    """Return the checked configuration.

    `source` names the file in messages; `gpu_limit` is the run's `--resources gpu=…`, None if it has none.
    Raises ConfigError with all mistakes at once, one line each.
    """
    if not isinstance(values, Mapping):
        raise ConfigError([f"{source}: expected keys such as experiments and recipes, got {str(values)[:60]!r}"])
    problems: list[str] = []
    try:
        config: Config = validate(values, Config, source)
    except ConfigError as error:
        problems, config = error.problems, readable_study(values)
    recipes, experiments = recipe_problems(config), experiment_problems(config)
    found = [*recipes, *experiments, *file_problems(config), *_site(config)]
    if not recipes and not experiments:  # a chain of recipes may be endless otherwise
        found += [*process_problems(config), *step_problems(config), *use_problems(config), *harness_problems(config)]
    found += _gpus(config, gpu_limit)
    problems = [*problems, *(f"{source}: {problem}" for problem in found)]
    if problems:
        raise ConfigError(problems)
    return config


def _site(config: Config) -> list[str]:
    """Return what is wrong with the site and its equipment: an incomplete or implausible factor, no such place."""
    site = config.site
    own = (site.carbon_g_per_kWh, site.carbon_source, site.carbon_year)
    if any(value is not None for value in own) and None in own:
        return ["site: carbon_g_per_kWh, carbon_source and carbon_year belong together; set all three or none"]
    year = date.today().year
    problems = [
        *refusals(site_factors_of, site, year),
        *refusals(equipment_of, config.hardware, (), year, own_tables_of(site)),
        *refusals(recorded_carbon_of, site),
    ]
    return [problem.removeprefix("config: ") for problem in dict.fromkeys(problems)]  # both read the tables


def _gpus(config: Config, limit: int | None) -> list[str]:
    """Return the stages whose jobs ask for more GPUs than the run allows: Snakemake would never start them."""
    if limit is None or config.device == "cpu":
        return []
    return [
        f"resources.{stage}.gpu: {needs.gpu} is more than the run's limit of {limit}; "
        f"lower it, or allow more by --resources gpu={needs.gpu}"
        for stage, needs in config.resources
        if needs.gpu > limit
    ]
