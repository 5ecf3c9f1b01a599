"""The sections of the configuration: the single source of its schema, its defaults and its documentation.

`greenllm.study.models` puts them together with the recipes.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from greenllm.config.section import Name, Override, Sha256, Share, Strict, UserPath


class DataSection(Strict):
    """The source of the data."""

    @property
    def files(self) -> dict[str, str]:
        """The local files that the data come from, by their keys."""
        return {}


class EmbeddedData(DataSection):
    """Data that the project generates itself, without a network."""

    source: Literal["embedded"]
    rows: int = Field(12_000, ge=100, description="Rows to generate, before cleaning.")
    seed: int = Field(0, ge=0, description="Seed of the generator; another seed generates other rows.")
    languages: list[str] = Field(
        ["zh", "de", "fr"],
        min_length=1,
        description="Translation, question answering: languages besides English (CLDR codes).",
    )


ColumnName = Literal[
    "prompt", "completion", "text", "choices", "answer", "messages", "conversations", "instruction", "input", "output",
    "system", "group", "subset", "reply",
]  # fmt: skip


class Mapped(DataSection):
    """How the file and columns of a data set are read."""

    format: Literal["auto", "json", "jsonl", "csv", "parquet", "text"] = Field(
        "auto", description="File format; `auto` chooses by the file name's ending."
    )
    separator: str | None = Field(
        None,
        pattern=r'^[^"\r\n]$',
        description="CSV: the character between two cells; null detects comma, semicolon, tab or bar from the header.",
    )
    columns: dict[ColumnName, str] = Field(
        default_factory=dict,
        description="Our column → the file's. `choices` is a list of texts (in CSV, as JSON), `answer` the number "
        "of the right one, counted from 0, or its letter. Rows of one `group` stay in one split, a `subset` is "
        "reported separately, and `reply` answers a chat when the model answers with this completion.",
    )
    encoding: str = Field("utf-8", description="Text encoding of the file.")
    licence: str | None = Field(None, description="Licence of the data, for the data card.")
    origin: str | None = Field(None, description="Who made the data, for the data card.")


class FileData(Mapped):
    """Local files."""

    source: Literal["file"]
    train: UserPath = Field(description="The file to train on; without `test`, a part of it is held out for testing.")
    test: UserPath | None = Field(None, description="A separate test file, never trained on.")

    @property
    def files(self) -> dict[str, str]:
        """The files to train and to test on."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})


class Download(Strict):
    """One file to download."""

    url: str = Field(pattern=r"^https?://", description="Address of the file.")
    sha256: Sha256 = Field(description="SHA-256 of the file; a download with another hash is refused.")


class UrlData(Mapped):
    """Files to download."""

    source: Literal["url"]
    train: Download = Field(description="The file to train on.")
    test: Download | None = Field(None, description="A separate test file, never trained on.")


class HubData(Mapped):
    """A data set on the Hugging Face hub."""

    source: Literal["hub"]
    id: str = Field(description="Data set id, such as `owner/name`.")
    revision: str = Field(description="Commit or tag, so that the data never change.")
    subset: str | None = Field(None, description="Name of the subset (a configuration, in the hub's terms).")
    train: str = Field("train", description="Split to train on.")
    test: str | None = Field(None, description="Split to test on.")


class GraphData(DataSection):
    """Question answering, multiple choice: your own knowledge graph. The questions are generated from its triples."""

    source: Literal["graph"]
    file: UserPath = Field(description="N-Triples, Turtle, or TSV of subject, predicate and object.")
    format: Literal["auto", "nt", "turtle", "tsv"] = Field(
        "auto", description="`auto` chooses by the file name's ending."
    )
    languages: list[str] = Field(
        ["en"], min_length=1, description="Languages of the questions and answers: those of the labels to use."
    )
    rows: int = Field(12_000, ge=100, description="Questions to generate, before cleaning.")
    seed: int = Field(0, ge=0, description="Seed of the generator; another seed generates other rows.")
    licence: str | None = Field(None, description="Licence of the graph, for the data card.")
    origin: str | None = Field(None, description="Who made the graph, for the data card.")

    @property
    def files(self) -> dict[str, str]:
        """The file of the graph."""
        return {"file": self.file}


class HarnessData(DataSection):
    """Tasks of EleutherAI's lm-evaluation-harness, with their own data; for the task harness."""

    source: Literal["harness"]
    tasks: list[str] = Field(
        min_length=1, description="Names of the tasks or groups, as `lm_eval ls tasks` lists them."
    )
    num_fewshot: int | None = Field(
        None, ge=0, description="Solved examples before each question; null: as the task says."
    )
    limit: int | None = Field(None, ge=1, description="Number of examples of each task, from the first; null: all.")
    include_path: UserPath | None = Field(
        None, description="Folder with task files of your own; relative to data_folder."
    )
    metric: str | None = Field(
        None, description="The metric that recipes are compared by; null: the first one of each task."
    )

    @property
    def files(self) -> dict[str, str]:
        """The folder with task files."""
        return {} if self.include_path is None else {"include_path": self.include_path}


Data = Annotated[EmbeddedData | FileData | UrlData | HubData | GraphData | HarnessData, Field(discriminator="source")]


class TokenizerSettings(Strict):
    """The tokenizer to train on the data; a model that is trained already has its own."""

    kind: Literal["bpe", "characters"] = Field("bpe", description="Byte-pair encoding, or one token per character.")
    vocabulary: int = Field(3000, ge=64, description="Largest number of tokens that BPE may learn.")
    lowercase: bool = Field(False, description="Convert all text to lower case first.")


class Preprocessing(Strict):
    """Cleaning, splitting and tokenizing."""

    test_share: Share = Field(0.1, description="Share of the groups held out for testing, if no test file is given.")
    validation_share: Share = Field(
        0.05, description="Share of the training groups held out for validation during training."
    )
    most_bad_rows: Share = Field(0.01, description="Stop if more than this share of the rows is unusable.")
    near_duplicate: Share = Field(
        0.9, description="Drop training rows at least this similar (Jaccard, character 3-grams) to a test row."
    )
    seed: int = Field(0, ge=0, description="Seed of the split.")
    long_rows: Literal["cut", "drop", "refuse"] = Field(
        "cut",
        description="Rows longer than the model's context: training cuts them at their beginning; or they are dropped, "
        "test rows without room for an answer too; or the preparation stops.",
    )
    tokenizer: TokenizerSettings = TokenizerSettings()


class Model(Strict):
    """The model that an experiment starts from."""

    init: UserPath = Field(
        "scratch",
        description="`scratch`, a local folder, a GGUF file, `package:NAME` (weights that a Python package ships), a "
        "Hugging Face model id, or the address of an OpenAI endpoint that is running, such as http://127.0.0.1:8000/v1.",
    )
    size: Literal["tiny", "small", "base"] = Field(
        "tiny", description="From scratch: about 1 (tiny), 4 (small) or 20 (base) million parameters."
    )
    context: int = Field(
        256, ge=16, description="From scratch: largest length of prompt and completion together, in tokens."
    )
    revision: str | None = Field(None, description="Hub: the model's commit or tag. Package: its version.")
    chat: bool = Field(False, description="Put each prompt into the model's chat template, as instruct models need.")
    system: str | None = Field(None, description="With `chat`: the system message before each prompt.")
    served_name: str | None = Field(
        None, description="Endpoint: the model's name there; null takes the first one it lists."
    )
    key_variable: str | None = Field(None, description="Endpoint: environment variable that holds its API key.")
    cgroup: str | None = Field(
        None, description="Endpoint on this host: control group of its processes, so that their energy is metered."
    )


class Training(Strict):
    """How a model is trained."""

    epochs: float = Field(8, gt=0, description="Passes over the training rows.")
    batch: int = Field(64, ge=1, description="Rows per step.")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or plain SGD.")
    learning_rate: float = Field(2e-3, gt=0)
    schedule: Literal["one-cycle", "cosine", "linear", "constant"] = Field("one-cycle")
    warmup_share: Share = Field(0.1, description="Share of the steps during which the learning rate rises.")
    weight_decay: float = Field(0.01, ge=0)
    prompt_weight: Share = Field(
        0.2,
        description="Weight of the prompt's loss; the completion's has weight 1. Of a conversation (task chat) the "
        "assistant's turns alone are learned: all others have weight 0.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="`auto` is bf16 if the processor or GPU supports it, else fp32."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Early stopping: validations without a lower loss before it stops; null trains to the end.",
    )
    evaluations: int = Field(4, ge=1, description="Validations during training, each with a checkpoint.")
    processes: int = Field(
        1, ge=1, description="Data-parallel processes (torchrun); batch and threads are divided among them."
    )
    nodes: int = Field(
        1,
        ge=1,
        description="Nodes of a cluster that train together, each with these processes and with the stage's threads, "
        "memory and GPUs; the batch is divided among all processes.",
    )
    budget_J: float | None = Field(
        None,
        gt=0,
        description="Hard budget: training stops when the job has used this energy. With one-cycle, cosine or linear "
        "the learning rate may still be high then: set epochs to what the budget allows, or schedule: constant.",
    )
    least_gain_per_kJ: float | None = Field(
        None,
        gt=0,
        description="Training stops when a further kilojoule lowers the validation loss by less than this (nats per "
        "token), from one validation to the next; these should be several sampling intervals apart.",
    )

    @property
    def all_processes(self) -> int:
        """The processes that train together, on all nodes."""
        return self.nodes * self.processes


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise PydanticCustomError("regex", "not a regular expression: {reason}", {"reason": str(error)}) from None
    return text


class Extraction(Strict):
    """How an answer is found in the text that a model generates: its steps, in this order, before it is scored.

    A text in which a step finds nothing has an empty answer, and is counted.
    """

    after: str | None = Field(None, min_length=1, description="The text after the first occurrence of this marker.")
    first_line: bool = Field(False, description="The first line that is not blank.")
    pattern: Annotated[str, AfterValidator(_regular_expression)] | None = Field(
        None,
        min_length=1,
        description="The first match of this regular expression of Python; where it has groups, the first group.",
    )

    @model_validator(mode="after")
    def _some_step(self) -> Self:
        if self.after is None and not self.first_line and self.pattern is None:
            raise PydanticCustomError("steps", "expected at least one of after, first_line and pattern")
        return self


class Sampling(Strict):
    """How answers are sampled."""

    temperature: float = Field(gt=0, le=2, description="Divides the logits; lower values make likely tokens likelier.")
    top_p: float = Field(
        1, ge=0, le=1, description="Only the most likely tokens that together have this probability are sampled."
    )
    draws: int = Field(4, ge=1, description="Answers to each row; a metric is the mean over them.")
    seed: int = Field(0, ge=0, description="Seed of the first answer; each other answer has the next one.")


class Evaluation(Strict):
    """How quality is measured."""

    rows: int | None = Field(
        None, ge=1, description="Number of rows of the test split to use, from the first; null uses all."
    )
    batch: int = Field(32, ge=1, description="Prompts answered in one batch.")
    max_tokens: int = Field(64, ge=1, description="Largest length of an answer, in tokens.")
    sampling: Sampling | None = Field(
        None, description="Sampled answers, also from the deployed server under load; null: greedy decoding."
    )
    bootstrap: int = Field(1000, ge=100, description="Bootstrap samples for each 95 % interval.")
    threshold: Share = Field(0.5, description="Answers with a confidence below this are handed over to a person.")
    extract: Extraction | None = Field(
        None, description="How the answer is found in the generated text before it is scored; null scores all of it."
    )


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, int) else given


class Deployment(Strict):
    """How a served model is measured."""

    concurrency: Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_as_list), Field(min_length=1)] = Field(
        [1],
        description="Requests in flight at once; several values make a curve, and recipes are compared at the first.",
    )
    rate_per_s: float | None = Field(
        None, gt=0, description="Arrivals per second (Poisson); null sends a request as soon as one is answered."
    )
    requests: int = Field(
        100, ge=1, description="Smallest number of requests to each server at each concurrency, from the test split."
    )
    starts: int = Field(
        4,
        ge=1,
        description="How often each server is started. Another start of the same server is a little faster or "
        "slower, so the intervals rest on the spread between starts. With `narrow` it is the first stage.",
    )
    rounds: int | None = Field(
        None,
        ge=1,
        description="Rounds of each server at each concurrency, divided among its starts. In a block each server "
        "has one, in random order. null: 64, or 16 where a server uses a GPU.",
    )
    round_s: float | None = Field(
        None,
        ge=0,
        description="Shortest length of a round; more requests fill a shorter one. Short rounds let each block see the "
        "same host; a GPU's sensor is too slow for them. null: 0.125, or 2 where a server uses a GPU.",
    )
    narrow: float | None = Field(
        None,
        gt=0,
        description="From the spread in the first stage follows how many starts are needed until each ratio to the "
        "baseline is known to this share (Stein's two-stage rule); null starts each server `starts` times.",
    )
    most_s: float = Field(
        60.0, gt=0, description="With `narrow`: no more starts than fit into this time of rounds for each server."
    )
    twin: bool = Field(
        True, description="Serve the baseline twice: how far two equal servers differ is the control of the comparison."
    )
    controls: bool = Field(
        True,
        description="Where a recipe changes engine, device and numerics at once, compare the engine alone and the "
        "device alone as well: recipes with `export` and `device`, such as baseline-onnxruntime and baseline-cpu.",
    )
    loaded: Literal["auto", "all", "one"] = Field(
        "auto",
        description="`all` servers are loaded together; `one`: they are started one after the other, in random order; "
        "`auto`: all where memory allows.",
    )
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Threads of each server; `auto` probes which number takes the least energy per request.",
    )
    latency_s: float | None = Field(
        None,
        gt=0,
        description="Longest mean time of a request (of the engine alone) that `threads: auto` allows; null: any.",
    )
    warmup: int = Field(20, ge=0, description="Requests sent before the measurement and not counted.")
    idle_s: float = Field(3.0, ge=0, description="Length of the measurement of the idle server.")
    batch: int = Field(8, ge=1, description="Largest number of requests that the server answers in one batch.")
    agreement: Share = Field(
        0.98, description="A recipe is missing if a smaller share of its answers equals those of evaluate."
    )
    server: str | None = Field(
        None,
        description="Command of another OpenAI server, used instead of ours, with {model}, {name}, {port}, {context}: "
        "`.venv-vllm/bin/vllm serve {model} --served-model-name {name} --port {port}`.",
    )


class Decision(Strict):
    """The conditions under which a recipe is recommended."""

    quality: float | None = Field(None, description="Bound of the primary metric: it must be at least this good.")
    worse_by: float | None = Field(
        0.01,
        ge=0,
        description="The primary metric may be this much worse than the baseline's (0.01 is a point of accuracy).",
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="Confidence (one-sided) that quality and worse_by are met."
    )
    requests: int = Field(
        1_000_000, ge=1, description="Expected number of requests; the energy of training is divided among them."
    )


class Needs(Strict):
    """The resources that each job of a stage reserves."""

    threads: int = Field(
        2, ge=1, description="CPU slots, and the threads of the libraries. Another number trains other weights."
    )
    gpu: int = Field(0, ge=0, description="Largest number of GPUs; without a usable one the job runs on the CPU.")
    memory_MB: int = Field(4000, ge=100, description="Main memory in MB (for a cluster, and to share its energy).")
    runtime_min: int = Field(60, ge=1, description="Longest run time in minutes (for a cluster).")
    power_limit_W: float | None = Field(
        None,
        gt=0,
        description="Power limit of each GPU that a job leases, in watts, while it runs; needs the right to set it "
        "(root). null: the limits stay as they are.",
    )


class Resources(Strict):
    """The resources that the jobs of each stage reserve."""

    collect: Needs = Needs(threads=1, memory_MB=2000)
    preprocess: Needs = Needs(threads=1)
    train: Needs = Needs(gpu=1)
    compress: Needs = Needs(gpu=1)
    evaluate: Needs = Needs(gpu=1)
    deploy: Needs = Needs(threads=1)
    measure: Needs = Needs(gpu=1)


class Site(Strict):
    """The site of the machines: from it, joules are converted to grams when the account is made."""

    country: Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|WORLD)$")] | None = Field(
        "WORLD",
        description="ISO 3166 alpha-3 code, WORLD for the mean of the world (a wide interval), or null (no carbon).",
    )
    region: str | None = Field(
        None,
        description="Part of the country whose grid factor is used: ISO 3166-2 code such as US-CA or CN-GD, or bidding "
        "zone such as SE3.",
    )
    provider: str | None = Field(
        None, description="Provider of the data centre (aws, azure, google, meta), for its PUE and WUE."
    )
    carbon_g_per_kWh: float | None = Field(
        None, gt=0, description="Your own grid factor, used instead of the country's."
    )
    carbon_source: str | None = Field(None, description="Source of your own factor; required with it.")
    carbon_year: int | None = Field(None, ge=1990, le=2100, description="The year that your own factor is valid for.")
    market_carbon_g_per_kWh: float | None = Field(
        None, ge=0, description="Carbon of the electricity by contract (market-based), reported beside the grid's."
    )
    market_carbon_source: str | None = Field(None, description="The contract or certificate; required with it.")
    pue: float | None = Field(
        None, ge=1, description="Power usage effectiveness: energy of the site for each kWh of its IT equipment."
    )
    pue_source: str | None = Field(None, description="Source of the PUE.")
    wue_L_per_kWh: float | None = Field(
        None, ge=0, description="Water usage effectiveness: litres used on site for each kWh of its IT equipment."
    )
    wue_source: str | None = Field(None, description="Source of the WUE; required with it.")
    erf: Share | None = Field(None, description="Energy reuse factor: the share of the site's energy that is reused.")
    erf_source: str | None = Field(None, description="Source of the energy reuse factor; required with it.")
    renewable_share: Share | None = Field(
        None, description="Renewable energy factor: the share of the site's energy that is renewable."
    )
    renewable_source: str | None = Field(None, description="Source of the renewable share; required with it.")
    price_per_kWh: float | None = Field(None, description="Price of electricity; may be negative.")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = Field(
        None, description="Currency of the price, as ISO 4217 code such as EUR; required with it."
    )
    price_source: str | None = Field(None, description="Source of the price, such as the tariff; required with it.")
    price_year: int | None = Field(None, ge=1990, le=2100, description="The year that the price is valid for.")
    series: UserPath | None = Field(
        None,
        description="File with a recorded time series of the grid's carbon, used for the hours that it covers; "
        "a relative path starts from the folder of the run.",
    )
    elsewhere: list[Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|WORLD)$")]] = Field(
        default_factory=lambda: ["SWE", "FRA", "DEU", "USA", "CHN", "IND"],
        description="Places to which the study's total is projected, as ISO 3166 alpha-3 codes.",
    )
    factor_tables: list[UserPath] = Field(
        default_factory=list, description="CSV files with factors of your own, in the form of ours; they come first."
    )


EquipmentKind = Literal["processor", "gpu", "memory", "disk", "server"]


class OwnEquipment(Strict):
    """Embodied carbon and life of a kind of equipment, or of a device by its name."""

    kind: EquipmentKind | None = Field(None, description="Kind of a device that is given by name; null is a GPU.")
    embodied_kg: float | None = Field(
        None, gt=0, description="Embodied carbon in kgCO2e: of one device; for memory and disks, of one GB."
    )
    life_years: float | None = Field(None, gt=0, description="Years from purchase to disposal.")
    source: str = Field(min_length=1, description="Source of these values.")
    year: int | None = Field(None, ge=1990, le=2100, description="The year that the source is of.")


class Metering(Strict):
    """How energy is metered and attributed."""

    interval_s: float = Field(1.0, gt=0, le=60, description="Time between two readings of the sensors, in seconds.")
    policy: Literal["allocated", "active"] = Field(
        "allocated", description="`allocated` charges a job for the idle part of what it reserved, `active` does not."
    )


class Report(Strict):
    """The report page, its figures and tables."""

    language: Literal["en", "zh"] = Field("en", description="Language of the texts: English, or Chinese (zh).")


class Experiment(Strict):
    """One task, its data and model, and the recipes to compare on them."""

    task: str = Field(description="The application: a task in workflow/greenllm/tasks.")
    data: Data = Field(description="The source of the data.")
    model: Model = Model()
    preprocess: Preprocessing = Preprocessing()
    train: Override[Training] = Field(Override[Training](), description="Training settings of this experiment.")
    evaluate: Override[Evaluation] = Field(
        Override[Evaluation](), description="Evaluation settings of this experiment."
    )
    deploy: Override[Deployment] = Field(Override[Deployment](), description="Deployment settings of this experiment.")
    decision: Override[Decision] = Field(Override[Decision](), description="Decision settings of this experiment.")
    recipes: list[Name] = Field(min_length=1, description="Recipes to compare; their ancestors are made as well.")
    seeds: list[Annotated[int, Field(ge=0)]] = Field([1], min_length=1, description="One model is made for each seed.")

    @property
    def baseline(self) -> str:
        """The recipe that others are compared with: the one named baseline, else the first."""
        return "baseline" if "baseline" in self.recipes else self.recipes[0]
