"""The study that `config/config.yaml` holds: two applications and two recipes, minutes on two cores."""

from greenllm.config.models import (
    Config,
    EmbeddedData,
    Experiment,
    Model,
    Preprocessing,
    Recipe,
    TokenizerSettings,
    TrainingOverride,
)

DEFAULT = Config(
    experiments={
        "support": Experiment(
            task="customer-service",
            data=EmbeddedData(source="embedded"),
            model=Model(init="scratch", size="tiny", context=128),
            train=TrainingOverride(epochs=4),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
        "dates": Experiment(
            task="translation",
            data=EmbeddedData(source="embedded", languages=["zh", "de", "fr"]),
            model=Model(init="scratch", size="tiny", context=128),
            preprocess=Preprocessing(tokenizer=TokenizerSettings(kind="characters")),
            train=TrainingOverride(epochs=4, batch=32, learning_rate=3e-3, prompt_weight=0.1),
            recipes=["baseline", "int8"],
            seeds=[1],
        ),
    },
    recipes={
        "baseline": Recipe(train=TrainingOverride()),
        "int8": Recipe(parent="baseline", quantize="int8"),
    },
)
