"""The study of `config/config.yaml`: three applications and four recipes, some minutes on two cores."""

from greenllm.config.models import (
    EmbeddedData,
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
            recipes=["baseline", "int8", "int4", "sparse"],
            seeds=[1],
        ),
        "questions": Experiment(
            task="question-answering",
            data=EmbeddedData(source="embedded", rows=7000, languages=["en"]),
            model=Model(init="scratch", size="tiny", context=192),
            preprocess=Preprocessing(tokenizer=TokenizerSettings(vocabulary=1000, lowercase=True)),
            train=Override[Training](
                epochs=2.6, batch=32, learning_rate=4e-3, weight_decay=0.1, prompt_weight=0.3, evaluations=2
            ),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
        "dates": Experiment(
            task="translation",
            data=EmbeddedData(source="embedded", languages=["zh", "de", "fr"]),
            model=Model(init="scratch", size="tiny", context=128),
            preprocess=Preprocessing(tokenizer=TokenizerSettings(kind="characters")),
            train=Override[Training](epochs=4, batch=32, learning_rate=3e-3, prompt_weight=0.1),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
    },
    recipes={
        "baseline": Recipe(train=Override[Training]()),
        "int8": Recipe(parent="baseline", quantize="int8"),
        "int4": Recipe(parent="baseline", quantize="int4"),
        "sparse": Recipe(parent="baseline", sparsify={"share": 0.5}),
    },
)
DEFAULT = Config(**dict(WRITTEN))
"""The same with the controls that its recipes need."""
