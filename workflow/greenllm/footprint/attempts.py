"""Every attempt at every job: whose it was, whether it still stands, and the joules it took."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from greenllm.meter.estimate import Estimate, Parameter
from greenllm.meter.estimate import total as sum_of

UNSUCCESSFUL = ("failed", "killed", "lost")
WASTE = (*UNSUCCESSFUL, "superseded")


@dataclass(frozen=True)
class Attempt:
    """One attempt. `standing` is "current" (its result is in use), "running", or one of `WASTE`.

    `energy_J` is None where no component of the host could be measured or modelled; `unknown` then, and where only some
    could, says which and why.
    """

    id: str
    parent: str | None
    run_id: str
    host: str
    rule: str
    experiment: str | None
    recipe: str | None
    seed: int | None
    number: int
    status: str
    standing: str
    started: str
    ended: str | None
    energy_J: Estimate | None
    components: tuple[Mapping[str, Any], ...]
    unknown: tuple[str, ...]

    @property
    def quality(self) -> str | None:
        """Return "measured", "modelled", or "partly modelled"; None where nothing is known."""
        known = {
            part["quality"] for part in self.components if part["component"] != "platform" and part["energy_J"] is not None
        }
        return "partly modelled" if len(known) > 1 else next(iter(known), None)

    @property
    def method(self) -> str:
        """Return how each component's energy was found, such as "cpu: rapl (measured); dram: dram-model (modelled)"."""
        found = {
            f"{part['component']}: {part['method']} ({part['quality']})": None
            for part in self.components
            if part["component"] != "platform" and part["energy_J"] is not None
        }
        return "; ".join(found)


def total(energies: Iterable[Estimate | None]) -> Estimate | None:
    """Return the sum of the energies that are known, or None where none is."""
    known = [energy for energy in energies if energy is not None]
    return sum_of(known) if known else None


def _energy(job: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Estimate | None:
    """Return a job's energy: the sum of its gpu, cpu and dram (platform contains them, and stands apart)."""
    return total(
        Estimate({term["parameter"]: term["coefficient"] for term in part["terms"]}, parameters)
        for part in job["components"]
        if part["component"] != "platform" and part["energy_J"] is not None
    )


def _job_key(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return (job["rule"], *sorted((name, str(value)) for name, value in job["wildcards"].items()))


def _standings(jobs: list[dict[str, Any]]) -> dict[str, str]:
    """Return each attempt's standing: of those that succeeded at one job, the last is current, the rest superseded.

    A nested attempt shares its parent's fate: the server of a deployment that failed was started in vain.
    """
    last: dict[tuple[Any, ...], str] = {}
    for job in sorted(jobs, key=lambda job: job["started"]):
        if job["status"] == "succeeded":
            last[_job_key(job)] = job["id"]
    standings = {
        job["id"]: ("current" if last[_job_key(job)] == job["id"] else "superseded")
        if job["status"] == "succeeded"
        else job["status"]
        for job in jobs
    }
    parents = {job["id"]: job.get("parent") for job in jobs}
    for job in jobs:
        ancestor = job["id"]
        while (parent := parents.get(ancestor)) in standings and parent is not None:
            ancestor = parent
        standings[job["id"]] = standings[ancestor]
    return standings


def attempts(attribution: Mapping[str, Any]) -> list[Attempt]:
    """Return all attempts of an attribution (the JSON of `greenllm attribute`), by the time they began."""
    jobs = list(attribution["jobs"])
    standings = _standings(jobs)
    parameters = {name: Parameter.from_json(value) for name, value in attribution["parameters"].items()}
    found = []
    for job in sorted(jobs, key=lambda job: (job["started"], job["id"])):
        wildcards = job["wildcards"]
        seed = wildcards.get("seed")
        found.append(
            Attempt(
                id=job["id"],
                parent=job.get("parent"),
                run_id=job["run_id"],
                host=job["host"],
                rule=job["rule"] or "(no rule)",
                experiment=wildcards.get("experiment"),
                recipe=wildcards.get("recipe"),
                seed=None if seed is None else int(seed),
                number=job["attempt"],
                status=job["status"],
                standing=standings[job["id"]],
                started=job["started"],
                ended=job["ended"],
                energy_J=_energy(job, parameters),
                components=tuple(job["components"]),
                unknown=tuple(
                    f"{part['component']}: {part['reason']}"
                    for part in job["components"]
                    if part["component"] != "platform" and part["energy_J"] is None
                ),
            )
        )
    return found
