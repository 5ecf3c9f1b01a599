"""For a paper: a paragraph on methods with the study's numbers filled in, and the sources as BibTeX."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from greenllm.account.document import Account
from greenllm.estimate import UNSEEN, Interval
from greenllm.files import replacing, require_own
from greenllm.report.causes import measured_text
from greenllm.report.equivalence import KNOWN
from greenllm.report.findings import Finding
from greenllm.report.grid_notes import carbon_notes
from greenllm.report.language import listed, plural, text
from greenllm.report.names import day, metric_name
from greenllm.report.numbers import percent, quantity

_MARK = "written by GreenLLM"


def write(account: Account, found: Sequence[Finding], folder: Path) -> None:
    """Write methods.md and sources.bib. Raises UserError if one exists that is not GreenLLM's."""
    contents = {
        "methods.md": f"<!-- {_MARK} -->\n\n" + "\n\n".join(_methods(account, found)) + "\n",
        "sources.bib": f"% {_MARK}\n\n" + "\n\n".join(_entries(account)) + "\n",
    }
    for name in contents:
        require_own(folder / name, _MARK)
    for name, content in contents.items():
        with replacing(folder / name) as path:
            path.write_text(content, encoding="utf-8")


def _methods(account: Account, found: Sequence[Finding]) -> Iterator[str]:
    """Yield the paragraphs."""
    yield "## " + text("Methods")
    total = account.spent.total
    if account.until:
        yield text(
            "{experiments} were run as one Snakemake workflow (GreenLLM) in {runs}, with results up to {time}. "
            "All {attempts} attempts at its jobs were metered and took {energy} together; {waste} of that was wasted "
            "by attempts that failed, were killed, lost or superseded.",
            experiments=listed(list(account.experiments)),
            runs=plural("{count} run", "{count} runs", len(account.spent.runs)),
            time=day(account.until),
            attempts=total.attempts,
            energy=quantity(total.energy_J, "J"),
            waste=_nothing_or(total.waste_J),
        )  # fmt: skip
        if total.unknown:
            yield plural(
                "The energy of {count} attempt, or a part of it, is unknown and not in these sums.",
                "The energy of {count} attempts, or a part of it, is unknown and not in these sums.",
                total.unknown,
            )
    yield "\n".join(_sensors(account))
    yield text(
        "Energy was attributed to jobs by the policy “{policy}”. Recipes were measured side by side, in blocks in "
        "which each server answered one round of requests in random order; all intervals are 95 %.",
        policy=text(account.policy),
    )
    for one in found:
        experiment = account.experiments[one.experiment]
        measured = measured_text(experiment.comparison)
        quality = text("Quality is {metric}.", metric=metric_name(experiment.primary))
        yield f"**{one.experiment}.** {one.sentence} {one.twin}{measured} {quality}"
    yield " ".join(carbon_notes(account))


def _sensors(account: Account) -> Iterator[str]:
    """Yield a line for each device: how its energy is known, and how much of the counted energy it is."""
    for row in account.methods:
        known = text("{share} of the counted energy", share=percent(_share(account, row.energy_J)))
        how = known if row.energy_J is not None else text("unknown: {why}", why=row.reason)
        yield "- " + text(
            "{component} on {host}: {method}, {quality} ({how}).",
            component=row.component.upper(), host=row.host, method=row.method, quality=text(row.quality), how=how,
        )  # fmt: skip


def _nothing_or(waste: Interval | None) -> str:
    return text("none") if waste is not None and not waste.value else quantity(waste, "J")


def _share(account: Account, energy_J: float | None) -> float:
    whole = sum(row.energy_J for row in account.methods if row.energy_J and row.component != "platform")
    return (energy_J or 0.0) / whole if whole else 0.0


def _entries(account: Account) -> Iterator[str]:
    """Yield a BibTeX entry for each source: the grid factor, the sensors' constants, the data, the known energies."""
    if grid := account.grid:
        yield _entry("grid", f"Carbon intensity of electricity, {grid.place}", grid.source, grid.year, grid.licence)
    constants: dict[str, list[str]] = {}
    for name, one in account.parameters.items():
        if not name.startswith(UNSEEN):
            constants.setdefault(one.source, []).append(name)
    for index, (source, names) in enumerate(constants.items(), 1):
        yield _entry(f"constant{index}", f"Constants {', '.join(names)}", source)
    for name, experiment in account.experiments.items():
        if card := experiment.card:
            yield _entry(f"data-{name}", f"Data of the experiment {name}", card.origin, licence=card.licence)
    for index, known in enumerate(KNOWN, 1):
        yield _entry(f"known{index}", f"{known.name}", known.source)
    for package in ("codecarbon", "snakemake", "torch", "transformers", "onnxruntime", "onnxruntime-genai"):
        if version := account.packages.get(package):
            yield _entry(f"package-{package}", f"{package} {version}", f"https://pypi.org/project/{package}/{version}/")


def _entry(key: str, title: str, source: str | None, year: int | None = None, licence: str | None = None) -> str:
    fields = {"title": title, "howpublished": source, "year": year, "note": licence and f"Licence: {licence}"}
    lines = [f"  {name} = {{{_escaped(value)}}}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@misc{{greenllm-{key},", *lines, "}"])


def _escaped(value: object) -> str:
    """Return a value as BibTeX reads it: braces balanced, LaTeX's signs escaped."""
    plain = str(value).replace("\\", "/").replace("{", "(").replace("}", ")")
    for sign in "&%$#_":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.replace("₂", "$_2$")
