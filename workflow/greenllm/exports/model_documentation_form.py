"""EU AI Act, Model Documentation Form: the items on computation and energy, for each model.

The form is part of the General-Purpose AI Code of Practice, Transparency chapter (10 July 2025), which details Annex XI
of Regulation (EU) 2024/1689. It names no boundary for the energy, so all three are here: accelerators, hosts, facility.
AIO is the AI Office, NCA a national competent authority. What is unknown is "N/A", with the reason.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow
from greenllm.estimate import Interval, PartialInterval
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form
from greenllm.exports.stages import (
    MADE,
    DAY_s,
    Stage,
    duration_s,
    model_name,
    serving_of,
    stages_of,
    starts_from,
    summed,
    version_of,
)
from greenllm.footprint.places import UNKNOWN

J_PER_MWh = 3.6e9
MONTH_days = 365.25 / 12
RANGES = ((1.0, "less than 1 month"), (3.0, "1 to 3 months"), (6.0, "3 to 6 months"))  # the form's, else more than 6
ABSENT = "N/A"
BOTH = ("AIO", "NCA")
ACCELERATORS = "accelerators"


@dataclass(frozen=True)
class Item:
    """An item of the form: its value as text, with unit, or "N/A" and why; `to` names who may ask for it."""

    section: str
    item: str
    value: str
    to: tuple[str, ...]
    note: str | None = None


PROPERTIES = "Model properties"
COMPUTATION = "Computational resources (during training)"
ENERGY = "Energy consumption (during training and inference)"


def _files(exported: Exported) -> Files:
    account = exported.account
    files: dict[str, str] = {}
    for model in account.models:
        training = [stage for stage in stages_of(account, model) if stage.name in MADE]
        if not training:
            continue
        site = consequences(account, exported.footprint)
        items = list(_items(account, model, training, site))
        written = {"model": model_name(model), "items": [asdict(item) for item in items]}
        files[f"{model_name(model)}.json"] = json.dumps(written, indent=2, ensure_ascii=False) + "\n"
        files[f"{model_name(model)}.md"] = "\n".join(_markdown(model, items)) + "\n"
    if not files:
        raise DoesNotApplyError("the form asks for the training of a model, and the study trained or changed none")
    return files


def _items(account: Account, model: ModelRow, training: Sequence[Stage], site: Consequences) -> Iterator[Item]:
    unknown = ABSENT + ": the model has no parameters that GreenLLM counts"
    parameters = _scientific(model.parameters, "parameters") if model.parameters else unknown
    yield Item(PROPERTIES, "Total model size", parameters, ("AIO", "NCA"))
    start = starts_from(account, model.experiment)
    yield Item(PROPERTIES, "Model dependencies", start or ABSENT, BOTH)
    yield from _training_time(training)
    yield from _computation(account, model, training)
    yield from _energy(account, training, site, start)
    yield from _inference(account, model)


def _training_time(training: Sequence[Stage]) -> Iterator[Item]:
    days = _wall_clock_days(training)
    absent = f"{ABSENT}: an attempt has no end in its ledger"
    if days is None:
        yield Item(COMPUTATION, "Training time (range)", absent, ("NCA",))
        yield Item(COMPUTATION, "Training time (wall clock days)", absent, ("AIO",))
        yield Item(COMPUTATION, "Training time (hardware days)", absent, ("AIO",))
        return
    months = days / MONTH_days
    within = next((name for most, name in RANGES if months < most), "more than 6 months")
    yield Item(COMPUTATION, "Training time (range)", within, ("NCA",))
    yield Item(COMPUTATION, "Training time (wall clock days)", _scientific(days, "days"), ("AIO",), _attempts(training))
    hardware, kind = _hardware_days(training)
    value = absent if hardware is None else _scientific(hardware, f"{kind} days")
    yield Item(COMPUTATION, "Training time (hardware days)", value, ("AIO",))


def _computation(account: Account, model: ModelRow, training: Sequence[Stage]) -> Iterator[Item]:
    name, method = "Amount of computation used for training", "Measurement methodology (computation used for training)"
    counted = {f"{stage.name} {stage.recipe}": stage.work("flops") for stage in training}
    flops = math.fsum(amount for amount in counted.values() if amount is not None)
    if not flops:
        absent = f"{ABSENT}: no stage reported its operations"
        yield Item(COMPUTATION, name, absent, BOTH)
        yield Item(COMPUTATION, method, absent, ("AIO",))
        return
    magnitude = f"order of magnitude 10^{math.floor(math.log10(flops))}"
    yield Item(COMPUTATION, name, _scientific(flops, "FLOP"), BOTH, magnitude)
    uncounted = [stage for stage, amount in counted.items() if amount is None]
    left_out = f" Not counted: {', '.join(uncounted)}." if uncounted else ""
    text = (
        "Operations of the matrix products of forward and backward passes, counted by PyTorch's FlopCounterMode on the "
        "model's shape and multiplied by the batches that were computed, padding included; a multiply-add is two."
    )
    yield Item(COMPUTATION, method, text + left_out, ("AIO",))


def _energy(account: Account, training: Sequence[Stage], site: Consequences, start: str | None) -> Iterator[Item]:
    name = "Amount of energy used for training"
    accelerators = summed(stage.accelerator_J for stage in training)
    hosts = summed(stage.energy_J for stage in training)
    reasons = list(dict.fromkeys(reason for stage in training for reason in stage.unknown))
    withheld = f"the host's sensors are closed: {'; '.join(reasons)}" if reasons else "no sensor was read"
    no_gpu = "no accelerator with a known energy was used"
    of_site, pue = site.site_J(hosts), site.pue
    for boundary, energy_J, reason in (
        (ACCELERATORS, accelerators, no_gpu),
        ("hosts: processors, memory and accelerators", hosts, withheld),
        ("facility: hosts times PUE", of_site, "the provider's PUE is not known" if hosts else withheld),
    ):
        value = f"{ABSENT}: {reason}" if energy_J is None else _MWh(energy_J)
        how = _how_known(training, "gpu" if boundary == ACCELERATORS else None)
        if energy_J is of_site and pue and pue.place == UNKNOWN:
            how = f"estimated with a PUE of {pue.value:g}, that of an unknown site ({pue.source})"
        yield Item(ENERGY, f"{name} ({boundary})", value, BOTH, None if energy_J is None else how)
    methods = "; ".join(dict.fromkeys(stage.method for stage in training))
    text = (
        f"GreenLLM {version_of(account)} reads the host's sensors from each job's start to its end, and divides what "
        f"they counted among the jobs that ran ({methods}). {_attempts(training)}. Intervals are at 95 %; bounds of "
        "sums are added."
    )
    text += f" Left out, as unknown: {'; '.join(reasons)}." if reasons else ""
    text += f" The training of {start} was done elsewhere and is not included." if start else ""
    yield Item(ENERGY, "Measurement methodology (energy used for training)", text, ("AIO",))


def _how_known(training: Sequence[Stage], component: str | None) -> str:
    """Return "measured", or "estimated" where any part of a component's energy (None: of all) is modelled."""
    parts = [part for stage in training for part in stage.parts if component in (None, part.component)]
    found = {part.quality for part in parts if part.energy_J is not None}
    return "measured" if found == {"measured"} else "estimated"


def _inference(account: Account, model: ModelRow) -> Iterator[Item]:
    name = "Benchmarked amount of computation used for inference"
    method = "Measurement methodology (computation used for inference)"
    serving = serving_of(account, model)
    read, generated = (
        (serving.served.prompt_tokens, serving.served.completion_tokens) if serving is not None else (None, None)
    )
    if serving is None or model.flops_per_token is None or read is None or generated is None:
        reason = "it was not served under a meter" if serving is None else "its operations or tokens were not counted"
        yield Item(ENERGY, name, f"{ABSENT}: {reason}", BOTH)
        yield Item(ENERGY, method, f"{ABSENT}: {reason}", ("AIO",))
        return
    served = serving.served
    yield Item(ENERGY, name, _scientific(model.flops_per_token * (read + generated), "FLOP"), BOTH)
    devices = ", ".join(dict.fromkeys(f"{part.component} {part.device}" for part in serving.parts))
    text = (
        f"Answering {served.answered:,} requests, reading {read:,} tokens and generating {generated:,}, "
        f"on {devices}; "
        f"{_scientific(model.flops_per_token, 'FLOP')} for each token, attention's growth with length left out."
    )
    yield Item(ENERGY, method, text, ("AIO",))


def _wall_clock_days(training: Sequence[Stage]) -> float | None:
    lasted_s = [stage.duration_s for stage in training]
    return None if None in lasted_s else math.fsum(seconds for seconds in lasted_s if seconds is not None) / DAY_s


def _hardware_days(training: Sequence[Stage]) -> tuple[float | None, str]:
    """Return the GPU days of the training, or None if unknown; the host days where no GPU was used."""
    jobs = [job for stage in training for job in stage.jobs]
    gpus = {job.id: len({part.device for part in job.components if part.component == "gpu"}) for job in jobs}
    kind = "GPU" if any(gpus.values()) else "host"
    amounts: list[float] = []
    for job in jobs:
        if (lasted_s := duration_s(job)) is None:
            return None, kind
        amounts.append(lasted_s * (gpus[job.id] if kind == "GPU" else 1))
    return math.fsum(amounts) / DAY_s, kind


def _attempts(training: Sequence[Stage]) -> str:
    count = sum(len(stage.attempts) for stage in training)
    failed = sum(job.status != "succeeded" for stage in training for job in stage.attempts)
    stages = ", ".join(dict.fromkeys(f"{stage.name} {stage.recipe}" for stage in training))
    return f"Attempts counted: {count} ({stages}), of which unsuccessful: {failed}"


def _MWh(energy_J: Interval | PartialInterval) -> str:
    value, low, high = (None if joules is None else _scientific(joules / J_PER_MWh, "MWh") for joules in energy_J)
    return f"{value} (its bounds are unknown)" if None in (low, high) else f"{value} (95 % interval {low} to {high})"


def _scientific(number: float, unit: str) -> str:
    """Return a number with two significant digits, as the form's examples are written: 5.1*10^17 FLOP."""
    if not number:
        return f"0 {unit}"
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits}*10^{int(exponent)} {unit}"


def _markdown(model: ModelRow, items: Sequence[Item]) -> Iterator[str]:
    yield f"# Model Documentation Form: {model_name(model)}"
    yield ""
    yield "The items on computation and energy; the others are the provider's to fill in."
    for section in dict.fromkeys(item.section for item in items):
        yield from ("", f"## {section}", "", "| item | value | for |", "| --- | --- | --- |")
        for item in items:
            if item.section == section:
                note = f" ({item.note})" if item.note else ""
                yield f"| {item.item} | {item.value}{note} | {', '.join(item.to)} |"


FORM = Form("eu-ai-act", "EU AI Act, Model Documentation Form", _files)
