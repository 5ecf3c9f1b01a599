"""The chain of a model: the jobs that made it and its ancestors, each once."""

from dataclasses import dataclass

from greenllm.study.plan import Plan


@dataclass(frozen=True)
class ChainJob:
    """One job in the making of a model; `recipe` and `seed` are None where all models of the experiment share it."""

    rule: str
    experiment: str
    recipe: str | None = None
    seed: int | None = None


def chain_jobs(plan: Plan, experiment: str, recipe: str, seed: int) -> list[ChainJob]:
    """Return the jobs whose energy is a model's cost to produce, in order, each ancestor's once."""
    found = [ChainJob("collect", experiment), ChainJob("preprocess", experiment)]
    if plan.starts_from_source(experiment):
        found.insert(1, ChainJob("collect_model", experiment))
    for name in plan.lineage(recipe):
        if step := plan.recipe(name).step:
            found.append(ChainJob(step.stage, experiment, name, seed))
    return found
