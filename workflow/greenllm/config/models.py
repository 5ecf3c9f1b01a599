"""The sections of the configuration: the single source of its schema, its defaults and its documentation.

`greenllm.study.models` puts them together, with the recipes.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from greenllm.config.section import Name, Sha256, Share, Strict, UserPath, override_of


class DataSection(Strict):
    """Where data come from."""

    @property
    def files(self) -> dict[str, str]:
        """The files on this machine that the data come from, by the key that names them."""
        return {}


class EmbeddedData(DataSection):
    """Data that the project makes itself, without a network."""

    source: Literal["embedded"]
    rows: int = Field(12_000, ge=100, description="Rows to make before cleaning.")
    seed: int = Field(0, ge=0, description="Seed of the generator; another seed gives other rows.")
    languages: list[str] = Field(
        ["zh", "de", "fr"],
        min_length=1,
        description="Translation, question answering: languages beside English (CLDR codes).",
    )


class Mapped(DataSection):
    """How the columns of a data set that somebody else made are to be read."""

    format: Literal["auto", "json", "jsonl", "csv", "parquet", "text"] = Field(
        "auto", description="File format; `auto` goes by the file's ending."
    )
    separator: str | None = Field(
        None,
        pattern=r'^[^"\r\n]$',
        description="CSV: the character between two cells; null finds comma, semicolon, tab or bar by the header.",
    )
    columns: dict[Literal["prompt", "completion", "text", "group", "subset", "reply"], str] = Field(
        default_factory=dict,
        description="Our column → the file's. Rows of one `group` stay in one split, a `subset` is reported apart, and "
        "`reply` is the text that a chat is answered with where the model gives this completion.",
    )
    encoding: str = Field("utf-8", description="Text encoding of the file.")
    licence: str | None = Field(None, description="Licence of the data, for its card.")
    origin: str | None = Field(None, description="Who made the data, for its card.")


class FileData(Mapped):
    """Files on this machine."""

    source: Literal["file"]
    train: UserPath = Field(description="The file to train on; without `test`, a part of it is held out.")
    test: UserPath | None = Field(None, description="A test file of its own, never trained on.")

    @property
    def files(self) -> dict[str, str]:
        """The files to train and to test on."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})


class Download(Strict):
    """One file to download."""

    url: str = Field(pattern=r"^https?://", description="Address of the file.")
    sha256: Sha256 = Field(description="SHA-256 of the file; a download that differs is refused.")


class UrlData(Mapped):
    """Files to download."""

    source: Literal["url"]
    train: Download = Field(description="The file to train on.")
    test: Download | None = Field(None, description="A test file of its own, never trained on.")


class HubData(Mapped):
    """A data set on the Hugging Face hub."""

    source: Literal["hub"]
    id: str = Field(description="Data set id, such as `owner/name`.")
    revision: str = Field(description="Commit or tag, so that the data stay what they were.")
    subset: str | None = Field(None, description="Name of the subset (the hub calls it configuration).")
    train: str = Field("train", description="Split to train on.")
    test: str | None = Field(None, description="Split to test on.")


class GraphData(DataSection):
    """Question answering: a knowledge graph of your own, from whose triples questions and answers are made."""

    source: Literal["graph"]
    file: UserPath = Field(description="N-Triples, Turtle, or TSV of subject, predicate and object.")
    format: Literal["auto", "nt", "turtle", "tsv"] = Field("auto", description="`auto` goes by the file's ending.")
    languages: list[str] = Field(["en"], min_length=1, description="Languages of the labels to ask and answer in.")
    rows: int = Field(12_000, ge=100, description="Questions to make before cleaning.")
    seed: int = Field(0, ge=0, description="Seed of the generator; another seed gives other rows.")
    licence: str | None = Field(None, description="Licence of the graph, for its card.")
    origin: str | None = Field(None, description="Who made the graph, for its card.")

    @property
    def files(self) -> dict[str, str]:
        """The graph's file."""
        return {"file": self.file}


Data = Annotated[EmbeddedData | FileData | UrlData | HubData | GraphData, Field(discriminator="source")]


class TokenizerSettings(Strict):
    """The tokenizer to train from the data; a model that is already trained brings its own."""

    kind: Literal["bpe", "characters"] = Field("bpe", description="Byte-pair encoding, or one token a character.")
    vocabulary: int = Field(3000, ge=64, description="Most tokens that BPE may learn.")
    lowercase: bool = Field(False, description="Lower-case all text first.")


class Preprocessing(Strict):
    """Cleaning, splitting and tokenizing."""

    test_share: Share = Field(0.1, description="Share of the groups held out for testing, where no test file is given.")
    validation_share: Share = Field(0.05, description="Share of the training groups held out to watch training.")
    most_bad_rows: Share = Field(0.01, description="Stop where more than this share of the rows is unusable.")
    near_duplicate: Share = Field(
        0.9, description="Training rows at least this similar (Jaccard, word or character 3-grams) to a test row go."
    )
    seed: int = Field(0, ge=0, description="Seed of the split.")
    tokenizer: TokenizerSettings = TokenizerSettings()


class Model(Strict):
    """The model an experiment starts from."""

    init: UserPath = Field(
        "scratch",
        description="`scratch`, a local folder, a Hugging Face model id, or the address of an OpenAI endpoint that "
        "runs already, such as http://127.0.0.1:8000/v1.",
    )
    size: Literal["tiny", "small", "base"] = Field(
        "tiny", description="From scratch: about 1 (tiny), 4 (small) or 20 (base) million parameters."
    )
    context: int = Field(256, ge=16, description="From scratch: longest prompt and completion together, in tokens.")
    revision: str | None = Field(None, description="Hub: commit or tag.")
    chat: bool = Field(False, description="Put each prompt into the model's chat template, as instruct models need.")
    system: str | None = Field(None, description="With `chat`: the system message before each prompt.")
    served_name: str | None = Field(None, description="Endpoint: the model's name there; null takes the first it has.")
    key_variable: str | None = Field(None, description="Endpoint: environment variable that holds its key.")
    cgroup: str | None = Field(
        None, description="Endpoint on this host: control group of its processes, by which its energy is metered."
    )


class Training(Strict):
    """How a model is trained."""

    epochs: float = Field(8, gt=0, description="Passes over the training rows.")
    batch: int = Field(64, ge=1, description="Rows a step.")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or plain SGD.")
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Literal["one-cycle", "cosine", "linear", "constant"] = Field("one-cycle")
    warmup_share: Share = Field(0.1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.01, ge=0)
    prompt_weight: Share = Field(0.2, description="Weight of the prompt's loss beside the completion's.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="`auto` is bf16 where the processor or GPU has it, else fp32."
    )
    patience: int | None = Field(
        None, ge=1, description="Early stopping: evaluations without a better validation loss; null trains to the end."
    )
    evaluations: int = Field(4, ge=1, description="Validations in the course of training; a checkpoint at each.")
    processes: int = Field(
        1, ge=1, description="Data-parallel processes (torchrun): the batch and the threads are divided among them."
    )
    budget_J: float | None = Field(
        None,
        gt=0,
        description="Hard budget: stop when the job has used so much energy. Training ends wherever the budget does: "
        "one-cycle, cosine and linear still have a high learning rate there, so set epochs to about what it pays for, "
        "or schedule: constant.",
    )
    least_gain_per_kJ: float | None = Field(
        None,
        gt=0,
        description="Stop where a further kilojoule lowers the validation loss by less (nats per token). Compares "
        "neighbouring validations; place them several sampling intervals apart.",
    )


if TYPE_CHECKING:

    class TrainingOverride(Training):
        """Training settings that differ from those of the section above."""

        def __init__(self, **keys: Any) -> None: ...
else:
    TrainingOverride = override_of(Training, "TrainingOverride")


class Evaluation(Strict):
    """How quality is measured."""

    rows: int | None = Field(None, ge=1, description="Only the first rows of the test split; null takes all.")
    batch: int = Field(32, ge=1, description="Prompts generated together.")
    max_tokens: int = Field(64, ge=1, description="Longest answer, in tokens.")
    bootstrap: int = Field(1000, ge=100, description="Bootstrap samples behind each 95 % interval.")
    threshold: Share = Field(0.5, description="Confidence below which an answer is handed over to a person.")


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, int) else given


class Deployment(Strict):
    """How a served model is measured."""

    concurrency: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        [1], description="Requests under way at once; several give the batch curve, the first compares."
    )
    rate_per_s: float | None = Field(
        None, gt=0, description="Arrivals per second (Poisson); null sends the next as soon as one is answered."
    )
    requests: int = Field(300, ge=1, description="Least requests at each concurrency, from the test split.")
    rounds: int = Field(
        10, ge=1, description="Measurements that these are divided into: their spread is in the interval."
    )
    round_s: float = Field(1.0, ge=0, description="Least length of a measurement; more requests are sent where short.")
    narrow: float = Field(
        0.05, gt=0, description="Further rounds until energy per request is known to this share (95 %) between rounds."
    )
    most_s: float = Field(15.0, gt=0, description="Seconds at one concurrency after which no further round begins.")
    warmup: int = Field(20, ge=0, description="Requests before the measurement, not counted.")
    idle_s: float = Field(3.0, ge=0, description="How long the server's idle energy is measured.")
    batch: int = Field(8, ge=1, description="Most requests the server generates together.")
    agreement: Share = Field(
        0.98, description="Least share of answers equal to what evaluate got; below it the stage fails."
    )
    server: str | None = Field(
        None,
        description="Command of another OpenAI server instead of ours, with {model}, {name}, {port} and {context}: "
        "`.venv-vllm/bin/vllm serve {model} --served-model-name {name} --port {port}`.",
    )


class Decision(Strict):
    """What a recipe must reach to be recommended, and for how many requests."""

    quality: float | None = Field(None, description="The primary metric must be at least this good.")
    worse_by: float | None = Field(
        0.01, ge=0, description="… and at most so much worse than the baseline's (0.01 of an accuracy is a point)."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="How sure that must be (one-sided).")
    requests: int = Field(1_000_000, ge=1, description="Requests expected, over which training is spread.")


class Needs(Strict):
    """What one stage needs of the machine."""

    threads: int = Field(
        2, ge=1, description="CPU slots; also the most threads its libraries use. Another number trains other weights."
    )
    gpu: int = Field(0, ge=0, description="GPUs, at most; without one that it can use the job runs on the CPU.")
    memory_MB: int = Field(4000, ge=100, description="Main memory (for SLURM).")
    runtime_min: int = Field(60, ge=1, description="Longest run time (for SLURM).")


class Resources(Strict):
    """What the stages need of the machine."""

    collect: Needs = Needs(threads=1, memory_MB=2000)
    preprocess: Needs = Needs(threads=1)
    train: Needs = Needs(gpu=1)
    compress: Needs = Needs(gpu=1)
    evaluate: Needs = Needs(gpu=1)
    deploy: Needs = Needs(gpu=1)


class Site(Strict):
    """Where the machines stand: what a joule means in grams is bound late, from here."""

    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|WORLD)$")] | None = Field(
        "WORLD", description="ISO 3166 alpha-3 code, WORLD for the world's mean (a wide interval), or null (no carbon)."
    )
    carbon_g_per_kWh: float | None = Field(None, gt=0, description="Your own grid factor instead of the country's.")
    carbon_source: str | None = Field(None, description="Where your own factor comes from; required with it.")
    carbon_year: int | None = Field(None, ge=1990, le=2100, description="The year your own factor holds for.")
    pue: float | None = Field(None, ge=1, description="Power usage effectiveness; null counts the IT equipment alone.")


class Metering(Strict):
    """How energy is metered and attributed."""

    interval_s: float = Field(1.0, gt=0, le=60, description="Time between two readings of the sensors.")
    policy: Literal["allocated", "active"] = Field(
        "allocated", description="`allocated` charges a job the idle part of what it reserved, `active` does not."
    )


if TYPE_CHECKING:

    class EvaluationOverride(Evaluation):
        """Evaluation settings of one experiment."""

    class DeploymentOverride(Deployment):
        """Deployment settings of one experiment."""

    class DecisionOverride(Decision):
        """Decision settings of one experiment."""
else:
    EvaluationOverride = override_of(Evaluation, "EvaluationOverride")
    DeploymentOverride = override_of(Deployment, "DeploymentOverride")
    DecisionOverride = override_of(Decision, "DecisionOverride")


class Experiment(Strict):
    """One task, its data and model, and the recipes to compare on them."""

    task: str = Field(description="The application: one of those in workflow/greenllm/tasks.")
    data: Data = Field(description="Where the data come from.")
    model: Model = Model()
    preprocess: Preprocessing = Preprocessing()
    train: TrainingOverride = Field(TrainingOverride(), description="Training settings of this experiment.")
    evaluate: EvaluationOverride = Field(EvaluationOverride(), description="How quality is measured here.")
    deploy: DeploymentOverride = Field(DeploymentOverride(), description="How the served model is measured here.")
    decision: DecisionOverride = Field(DecisionOverride(), description="What must be reached here.")
    recipes: list[Name] = Field(min_length=1, description="Recipes to compare; parents they need are made as well.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field([1], min_length=1, description="One model is made for each seed.")
