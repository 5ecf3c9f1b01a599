"""AI Energy Score: rows of `master_results.csv`, and a benchmark report with its summary for each served recipe.

Columns, report and files: https://github.com/huggingface/AIEnergyScore, results_aggregator.py, summarize_gpu_wh.py
(commit a5b9a04). The score counts the energy of the GPUs alone, in Wh. The figures are those of this study's own
requests on its own GPU; the official score asks for 1,000 prompts of its data set on an NVIDIA H100.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from greenllm.account.document import Account
from greenllm.comparison.rows import ModelRow, RecipeRow
from greenllm.estimate import Interval
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, Json, known

COLUMNS = (
    "model_name", "model_class", "task", "reasoning_state", "total_prompts", "successful_prompts", "failed_prompts",
    "total_duration_seconds", "avg_total_time", "avg_time_to_first_token", "total_tokens", "total_prompt_tokens",
    "total_completion_tokens", "throughput_tokens_per_second", "gpu_energy_wh", "wh_per_1000_queries",
    "co2_emissions_g", "tokens_per_joule", "avg_energy_per_prompt_wh", "timestamp", "error_message",
)  # fmt: skip
# Largest model of a class, in parameters (index.md, "Text Generation Model Classes"); larger ones are of class C.
CLASSES = ((20e9, "A"), (66e9, "B"))
J_PER_Wh = 3600.0
LANGUAGE_MODELS = ("transformers", "onnxruntime-genai", "openai-endpoint")  # engines


class _Scored(NamedTuple):
    """A recipe that was served on GPUs: its models of all seeds, and the GPUs' energy for their requests (Wh)."""

    experiment: str
    recipe: RecipeRow
    models: Sequence[ModelRow]
    gpu_Wh: float

    @property
    def name(self) -> str:
        return f"{self.experiment}-{self.recipe.recipe}"

    def total(self, field: str) -> float | None:
        """Return the sum of a count over the models; None if it is unknown of one."""
        counts = [getattr(model.serving, field) for model in self.models]
        return None if None in counts else sum(counts)

    @property
    def tokens(self) -> float | None:
        """The tokens of prompts and answers."""
        parts = (self.total("prompt_tokens"), self.total("completion_tokens"))
        return None if None in parts else sum(part for part in parts if part is not None)

    @property
    def duration_s(self) -> float:
        """The length of all rounds."""
        return sum(float(model.serving.duration_s) for model in self.models if model.serving)


def _files(exported: Exported) -> Files:
    account = exported.account
    scored = list(_scored(account))
    if not scored:
        raise DoesNotApplyError(_why_none(account))
    site = consequences(account, exported.footprint)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(account, one, site) for one in scored)
    files = {"master_results.csv": text.getvalue()}
    for one in scored:
        report = {"energy": _energy(one, site), "summary": _summary(one)}
        summary = {
            "units": "Wh",
            "total": one.gpu_Wh,
            "format": "ai_energy_benchmarks",
            "decode_wh": one.gpu_Wh,  # its summary puts all energy that is not divided into phases here
        }
        files[f"{one.name}/benchmark_report.json"] = json.dumps(report, indent=2) + "\n"
        files[f"{one.name}/GPU_ENERGY_SUMMARY.json"] = json.dumps(summary, indent=2) + "\n"
        files[f"{one.name}/GPU_ENERGY_WH.txt"] = f"{one.gpu_Wh:.6g}\n"
    return files


def _scored(account: Account) -> Iterator[_Scored]:
    for name, experiment in account.experiments.items():
        for recipe in experiment.comparison.recipes:
            models = [m for m in account.models if (m.experiment, m.recipe) == (name, recipe.recipe)]
            served = [m for m in models if m.serving and m.serving.answered and m.engine in LANGUAGE_MODELS]
            per_1000 = recipe.accelerator_Wh_per_1000_requests
            if served and per_1000 is not None and per_1000.value > 0:
                answered = sum(model.serving.answered for model in served if model.serving)
                yield _Scored(name, recipe, served, per_1000.value * answered / 1000)


def _why_none(account: Account) -> str:
    if not any(model.engine in LANGUAGE_MODELS for model in account.models):
        return "the AI Energy Score is for language models here, and the study has none"
    if not any(part.component == "gpu" for job in account.jobs for part in job.components):
        return "the AI Energy Score counts the energy of GPUs, and no job of the study held one"
    return "the AI Energy Score counts the energy of GPUs, and no server was measured on one with its energy known"


def _row(account: Account, one: _Scored, site: Consequences) -> Json:
    energy, summary = _energy(one, site), _summary(one)
    failed = one.total("failed")
    tokens, answered = one.tokens, one.total("answered")
    parameters = one.recipe.parameters
    return known(
        model_name=one.name,
        model_class=None if parameters is None else _class(parameters),
        task="text_gen",
        reasoning_state="Off (N/A)",
        avg_total_time=summary.get("avg_latency_seconds"),
        gpu_energy_wh=one.gpu_Wh,
        wh_per_1000_queries=answered and one.gpu_Wh / answered * 1000,
        avg_energy_per_prompt_wh=answered and one.gpu_Wh / answered,
        co2_emissions_g=energy.get("emissions_g_co2eq"),
        tokens_per_joule=tokens and tokens / (one.gpu_Wh * J_PER_Wh),
        timestamp=account.until,
        error_message=f"PARTIAL FAILURE: {failed:g}/{one.total('requests'):g} prompts failed" if failed else None,
        **{name: value for name, value in summary.items() if name in COLUMNS},
    )


def _class(parameters: float) -> str:
    return next((name for most, name in CLASSES if parameters <= most), "C")


def _energy(one: _Scored, site: Consequences) -> Json:
    joules = one.gpu_Wh * J_PER_Wh
    carbon = site.carbon_it_g(Interval(joules, joules, joules))
    return known(gpu_energy_wh=one.gpu_Wh, emissions_g_co2eq=carbon and carbon.value)


def _summary(one: _Scored) -> Json:
    """Return the summary of a benchmark report; the time to the first token is left out, since its mean is unknown."""
    latencies = [model.serving.latency_s.mean for model in one.models if model.serving]
    known_s = [latency for latency in latencies if latency is not None]
    return known(
        total_prompts=one.total("requests"),
        successful_prompts=one.total("answered"),
        failed_prompts=one.total("failed"),
        total_duration_seconds=one.duration_s,
        avg_latency_seconds=sum(known_s) / len(known_s) if known_s else None,
        total_tokens=one.tokens,
        total_prompt_tokens=one.total("prompt_tokens"),
        total_completion_tokens=one.total("completion_tokens"),
        throughput_tokens_per_second=one.tokens / one.duration_s if one.tokens and one.duration_s else None,
    )


FORM = Form("ai-energy-score", "AI Energy Score rows and summary", _files)
