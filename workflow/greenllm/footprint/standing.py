"""Every attempt at every job: whose it was, whether it still stands, and the joules it took."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from greenllm.estimate import Estimate, Parameter
from greenllm.estimate import total as sum_of
from greenllm.study.chain import Step


@dataclass(frozen=True)
class Attempt:
    """One attempt.

    `standing` is "current" (its result is in use), "running", one of attribution's `WASTE`, or "earlier" (made with
    settings that have changed since: no waste, but not what the study now shows).

    `energy_J` is None where no component of the host could be measured or modelled; `unknown` then, and where only some
    could, says which and why. `unused` are the GPUs that it held and never used: their energy was spent, but is none of
    its work's, so that no ratio rests on it.
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
    exit_code: int | None
    work: Mapping[str, float | None]
    energy_J: Estimate | None
    components: tuple[Mapping[str, Any], ...]
    unknown: tuple[str, ...]
    unused: tuple[str, ...] = ()

    @property
    def step(self) -> Step | None:
        """Return the step in a model's making that it was at, None outside experiments."""
        return None if self.experiment is None else Step(self.rule, self.experiment, self.recipe, self.seed)

    @property
    def quality(self) -> str | None:
        """Return "measured", "modelled", or "partly modelled"; None where nothing is known."""
        known = {
            part["quality"]
            for part in self.components
            if part["component"] != "platform" and part["energy_J"] is not None
        }
        return "partly modelled" if len(known) > 1 else next(iter(known), None)

    @property
    def incomparable(self) -> str | None:
        """Why its energy may not be compared; None where it may.

        With a processor's part unknown it would flatter who uses that most; with an idle GPU's, who leased none.
        """
        reasons = [part for part in self.unknown if part.startswith(("cpu:", "gpu:"))]
        reasons += [f"gpu: {gpu} was leased, but never used" for gpu in self.unused]
        return "; ".join(reasons) or None

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


def _standings(jobs: list[dict[str, Any]]) -> dict[str, str]:
    """Return each attempt's standing: attribution knows what was in vain; of the rest, a job's last is current.

    The jobs are in the order in which they began; a wall clock that was set back would tell another.
    """
    last: dict[tuple[Any, ...], str] = {}
    for job in jobs:
        if job["status"] == "succeeded":
            last[_job_key(job)] = job["id"]
    return {
        job["id"]: job["waste"]
        or (
            job["status"]
            if job["status"] != "succeeded"
            else "current"
            if last[_job_key(job)] == job["id"]
            else "earlier"
        )
        for job in jobs
    }


def _job_key(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return (job["rule"], *sorted((name, str(value)) for name, value in job["wildcards"].items()))


def _unknown(components: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return "component: reason" for what has no energy; not where another method stood in for an unreadable sensor."""
    components = [part for part in components if part["component"] != "platform"]
    known = {part["component"] for part in components if part["energy_J"] is not None}
    return tuple(
        f"{part['component']}: {part['reason']}"
        for part in components
        if part["energy_J"] is None and (part["component"] == "gpu" or part["component"] not in known)
    )


def attempts(attribution: Mapping[str, Any]) -> list[Attempt]:
    """Return all attempts of an attribution (the JSON of `greenllm attribute`), in its order: as they began."""
    jobs = list(attribution["jobs"])
    standings = _standings(jobs)
    parameters = {name: Parameter.from_json(value) for name, value in attribution["parameters"].items()}
    found = []
    for job in jobs:
        wildcards = job["wildcards"]
        seed = wildcards.get("seed")
        found.append(
            Attempt(
                id=job["id"],
                parent=job.get("parent"),
                run_id=job["run_id"] or "(none)",
                host=job["host"],
                rule=job["rule"] or "(no rule)",
                experiment=wildcards.get("experiment"),
                recipe=wildcards.get("recipe"),
                seed=None if seed is None else int(seed),
                number=job["attempt"] or 1,
                status=job["status"],
                standing=standings[job["id"]],
                started=job["started"],
                ended=job["ended"],
                exit_code=job["exit_code"],
                work=job["work"] or {},
                energy_J=_energy(job, parameters),
                components=tuple(job["components"]),
                unknown=_unknown(job["components"]),
                unused=tuple(part["device"] for part in job["components"] if part.get("used") is False),
            )
        )
    return found
