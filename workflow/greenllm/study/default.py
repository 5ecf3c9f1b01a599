"""The study that `config/config.yaml` holds: four applications and four recipes, minutes on two cores."""

from greenllm.config.models import (
    DeploymentOverride,
    EmbeddedData,
    EvaluationOverride,
    Experiment,
    Model,
    Preprocessing,
    TokenizerSettings,
    TrainingOverride,
)
from greenllm.study.models import Config, Recipe

DEFAULT = Config(
    experiments={
        "support": Experiment(
            task="customer-service",
            data=EmbeddedData(source="embedded"),
            model=Model(init="scratch", size="tiny", context=128),
            train=TrainingOverride(epochs=4),
            recipes=["baseline", "int8", "int4", "sparse"],
            seeds=[1],
        ),
        "questions": Experiment(
            task="question-answering",
            data=EmbeddedData(source="embedded", rows=7000, languages=["en"]),
            model=Model(init="scratch", size="tiny", context=192),
            preprocess=Preprocessing(tokenizer=TokenizerSettings(vocabulary=1000, lowercase=True)),
            train=TrainingOverride(
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
            train=TrainingOverride(epochs=4, batch=32, learning_rate=3e-3, prompt_weight=0.1),
            deploy=DeploymentOverride(requests=100),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
        "prose": Experiment(
            task="language-modelling",
            data=EmbeddedData(source="embedded"),
            model=Model(init="scratch", size="tiny"),
            train=TrainingOverride(epochs=0.8, batch=16, learning_rate=3e-3, prompt_weight=1, evaluations=2),
            evaluate=EvaluationOverride(max_tokens=16, rows=400),
            deploy=DeploymentOverride(requests=100),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
    },
    recipes={
        "baseline": Recipe(train=TrainingOverride()),
        "int8": Recipe(parent="baseline", quantize="int8"),
        "int4": Recipe(parent="baseline", quantize="int4"),
        "sparse": Recipe(parent="baseline", sparsify={"share": 0.5}),
    },
)
