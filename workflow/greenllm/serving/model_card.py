"""The model card of a bundle, with the metadata that the Hugging Face hub reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from greenllm.documents.evaluation import ModelQuality
from greenllm.model_folder.manifest import Manifest
from greenllm.serving.scripted_replies import FILE as REPLIES
from greenllm.serving.scripted_replies import Replies


@dataclass(frozen=True)
class EnvironmentalImpact:
    """What an account says of a model's making and serving.

    `metadata` is `co2_eq_emissions` as the hub has it (https://huggingface.co/docs/hub/model-cards-co2); `rows` are the
    lines of the card's section "Environmental Impact", by what they say.
    """

    metadata: Mapping[str, Any]
    rows: Mapping[str, str]


def model_card(
    name: str,
    task: str | None,
    manifest: Manifest,
    evaluation: ModelQuality | None,
    wildcards: Mapping[str, str],
    replies: Replies | None,
    impact: EnvironmentalImpact | None = None,
) -> str:
    """Return a model card. Without `impact`, which only an account knows, the card says where it is found."""
    from huggingface_hub import EvalResult, ModelCardData  # not with every `greenllm serve`

    metrics = evaluation.metrics if evaluation else {}
    data = wildcards.get("experiment", task or "unknown")
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=data,
            dataset_name=data,
            dataset_split="test",
            metric_type=metric,
            metric_value=interval.value,
        )
        for metric, interval in metrics.items()
    ]
    known: dict[str, Any] = {"co2_eq_emissions": dict(impact.metadata)} if impact else {}
    metadata = ModelCardData(
        library_name=manifest.engine,
        pipeline_tag="text-generation",
        tags=[tag for tag in ("greenllm", manifest.precision, task) if tag],
        model_name=name,
        eval_results=results or None,
        **known,
    )
    loader = jinja2.PackageLoader("greenllm.serving", ".")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("card.md.jinja").render(
        metadata=metadata.to_yaml(),
        name=name,
        task=task,
        manifest=manifest,
        wildcards=wildcards,
        replies=replies,
        replies_file=REPLIES,
        evaluation=evaluation,
        impact=impact,
    )
