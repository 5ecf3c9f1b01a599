"""Training of causal language models with transformers.Trainer: reproducible, resumable, in batches by length."""

import itertools
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    EarlyStoppingCallback,
    ProgressCallback,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers import Trainer as HuggingFaceTrainer
from transformers.trainer_utils import EvalLoopOutput
from transformers.utils.logging import disable_progress_bar

from greenllm.config.models import Model, Training
from greenllm.errors import UserError
from greenllm.files import sha256_of
from greenllm.recipes import checkpoints
from greenllm.recipes.batches import Collator, LengthBuckets, Row, read_rows
from greenllm.recipes.flops import Flops
from greenllm.recipes.manifest import context_of, read_config, try_to_count
from greenllm.recipes.sizes import llama_config

Device = Literal["auto", "cpu", "require"]
# On the CPU, attention written out trains rows up to about this long faster than PyTorch's fused kernel (by a quarter
# at 30 tokens, by a tenth at 256), whose backward pass works in large blocks; beyond, its memory grows with the square.
LONGEST_EAGER = 512
# transformers' names of the schedules that it brings; one-cycle is PyTorch's.
SCHEDULES = {
    "one-cycle": "constant",
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant_with_warmup",
}


@dataclass(frozen=True)
class Work:
    """What a stretch of training processed: rows, their tokens without padding, operations with it."""

    samples: int
    tokens: int
    flops: float | None


class Plan:
    """The batches of a whole training, known before it begins: so work is counted outside the hot loop."""

    def __init__(self, buckets: LengthBuckets, epochs: float, flops: Flops | None) -> None:
        self.steps_per_epoch = len(buckets)
        self.steps = max(1, math.ceil(epochs * self.steps_per_epoch))
        self.flops = flops
        self._totals = [(0, 0, 0.0)]
        every = (buckets.of_epoch(epoch) for epoch in itertools.count())
        for batch in itertools.islice(itertools.chain.from_iterable(every), self.steps):
            samples, tokens, operations = self._totals[-1]
            lengths = [buckets.lengths[row] for row in batch]
            # The last token of a row is a target only.
            added = flops.of(max(lengths) - 1, len(batch)) if flops else 0.0
            self._totals.append((samples + len(batch), tokens + sum(lengths), operations + added))

    def work(self, first: int, last: int) -> Work:
        """Return the work of the steps after `first` up to `last`."""
        before, after = self._totals[first], self._totals[last]
        operations = after[2] - before[2] if self.flops else None
        return Work(samples=after[0] - before[0], tokens=after[1] - before[1], flops=operations)


class Trainer(HuggingFaceTrainer):  # type: ignore[misc]
    """transformers.Trainer with batches by length, a loss weighted by token, and the one-cycle schedule."""

    def __init__(self, *, settings: Training, buckets: LengthBuckets, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.settings = settings
        self.buckets = buckets
        self.remove_callback(ProgressCallback)
        self.progress = Progress()
        self.add_callback(self.progress)
        # The loss is a mean over the step's tokens already.
        self.loss_is_scaled_for_ga = True

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches, grouped by length."""
        loader = DataLoader(self.train_dataset, batch_sampler=self.buckets, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return the validation batches, sorted by length."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        size = self.buckets.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        loader = DataLoader(rows, batch_sampler=batches, collate_fn=Collator(self.data_collator.pad_id, 0.0))
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the learning-rate schedule; one-cycle (Smith and Topin 2017, arXiv 1708.07120) is PyTorch's."""
        if self.settings.schedule != "one-cycle":
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            self._created_lr_scheduler = True
            self.lr_scheduler: Any = torch.optim.lr_scheduler.OneCycleLR(
                optimizer or self.optimizer,
                max_lr=self.settings.learning_rate,
                total_steps=num_training_steps,
                # Its arithmetic needs a first step that rises and a last one that falls.
                pct_start=min(max(self.settings.warmup_share, 2 / num_training_steps), 0.99),
                cycle_momentum=False,
            )
        return self.lr_scheduler

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean loss over the step's tokens, each with its weight, in nats."""
        output = model(input_ids=inputs["input_ids"], use_cache=False)
        weights = inputs["weights"]
        loss = (_losses(output.logits, inputs["targets"]) * weights).sum() / weights.sum().clamp(min=1e-6)
        return (loss, output) if return_outputs else loss

    @torch.no_grad()
    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Return the mean loss per completion token, in nats, over the whole validation split."""
        self.model.eval()
        total = count = torch.zeros((), dtype=torch.float64, device=self.args.device)
        for batch in dataloader:
            logits = self.model(input_ids=batch["input_ids"], use_cache=False).logits
            total = total + (_losses(logits, batch["targets"]) * batch["weights"]).sum()
            count = count + batch["weights"].sum()
        metrics = {f"{metric_key_prefix}_loss": (total / count).item()}
        rows = len(dataloader.dataset)  # type: ignore[arg-type]
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=rows)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing in the hot loop; see `recipes.flops`."""
        return 0


def _losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return each target's cross entropy in nats, of the shape of `targets`."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


class Progress(ProgressCallback):  # type: ignore[misc]
    """The progress bar, with the loss beside it instead of a line for each."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the newest losses; stop where one is not a number."""
        shown = {name: logs[name] for name in ("loss", "eval_loss") if name in logs}
        for name, value in shown.items():
            if not math.isfinite(value):
                raise UserError(
                    f"train: the {name} is {value} at step {state.global_step}: training diverged; "
                    "set a lower train.learning_rate"
                )
        if self.training_bar is not None:
            self.training_bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """End the bar's line, so that what is said next stands on one of its own."""
        if self.training_bar is not None:
            self.training_bar.close()


class Checkpointing(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint when its last file has been written, and tells what has been done so far."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self.done = done

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint just written."""
        checkpoints.mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self.done(state.global_step)
        tqdm.write(f"train: checkpoint of step {state.global_step} written", file=sys.stderr)


@dataclass(frozen=True)
class Trained:
    """A trained model and its report (training.json)."""

    model: Any
    report: dict[str, Any]


def train(
    settings: Training,
    *,
    data: Path,
    checkpoint_folder: Path,
    seed: int,
    threads: int,
    device: Device = "auto",
    model: Model | None = None,
    parent: Path | None = None,
    report_work: Callable[[Work], None] = lambda work: None,
) -> Trained:
    """Train a causal language model on a prepared data set.

    Args:
        settings: how to train.
        data: folder with train.parquet, validation.parquet and tokenizer/.
        checkpoint_folder: where checkpoints go; a training that was killed resumes from the newest whole one.
        seed: of the initial weights and the order of batches.
        threads: CPU threads; another number rounds sums otherwise, and so gives other weights.
        device: `auto`, `cpu` or `require` (a GPU).
        model: size and context of a model from scratch.
        parent: folder of the model to start from, instead of `model`.
        report_work: told at each checkpoint, and at the end, the work done by this process so far.

    The same inputs, seed, threads, device and precision give the same weights, byte for byte, resumed or not.

    Raises `UserError` where the input cannot be trained on, the device or precision is not there, the disk is full, or
    training diverges.
    """
    on_gpu = _prepare_device(device, threads)
    precision = precision_of(settings.precision, on_gpu)
    _be_deterministic(on_gpu)
    tokenizer_folder = data / "tokenizer"
    eos_id, pad_id = _special_ids(tokenizer_folder)
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    disable_progress_bar()  # those of loading and saving; training's own stays
    set_seed(seed)
    network = _load(parent) if parent else _from_scratch(model, tokenizer.get_vocab_size(), pad_id, eos_id)
    known = network.get_input_embeddings().weight.shape[0]
    if tokenizer.get_vocab_size() > known:
        raise UserError(
            f"{tokenizer_folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model in {parent} only "
            f"{known}; preprocess the data with `--model {parent}`"
        )
    context = context_of(network.config, parent or tokenizer_folder)
    rows = read_rows(data / "train.parquet", tokenizer, eos_id=eos_id, context=context)
    validation = read_rows(data / "validation.parquet", tokenizer, eos_id=eos_id, context=context)
    if not rows.rows:
        raise UserError(f"{data / 'train.parquet'}: no rows; expected at least one to train on")
    if settings.patience and not validation.rows:
        raise UserError(
            f"{data / 'validation.parquet'}: no rows, but train.patience needs some to validate on; "
            "raise preprocess.validation_share, or set patience to null"
        )

    flops = try_to_count(network.config)
    lengths = [len(row) for row in rows.rows]
    if not on_gpu and max(lengths) <= LONGEST_EAGER:
        network.set_attn_implementation("eager")
    buckets = LengthBuckets(lengths, settings.batch, seed)
    plan = Plan(buckets, settings.epochs, flops.training if flops else None)
    resume = checkpoints.open_folder(
        checkpoint_folder,
        checkpoints.fingerprint(
            {
                "settings": settings.model_dump(),
                "model": model.model_dump() if model and not parent else None,
                "parent": {file.name: sha256_of(file) for file in sorted(parent.glob("*.*"))} if parent else None,
                "data": [sha256_of(data / name) for name in ("train.parquet", "validation.parquet")],
                "tokenizer": sha256_of(tokenizer_folder / "tokenizer.json"),
                "run": [seed, threads, on_gpu, precision],
                "torch": torch.__version__,
            }
        ),
    )
    first = checkpoints.step_of(resume) if resume else 0
    if resume:
        print(f"train: resuming from {resume}, step {first} of {plan.steps}", file=sys.stderr)

    trainer = make_trainer(
        network,
        settings,
        rows=rows.rows,
        validation=validation.rows,
        buckets=buckets,
        pad_id=pad_id,
        steps=plan.steps,
        seed=seed,
        on_gpu=on_gpu,
        precision=precision,
        folder=checkpoint_folder,
        done=lambda step: report_work(plan.work(first, step)),
    )
    # Weights, gradients and AdamW's two moments, in fp32.
    needed_bytes = 12 * sum(parameter.numel() for parameter in network.parameters())
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except (OSError, RuntimeError, SafetensorError) as error:
        if not checkpoints.no_space(error, checkpoint_folder, needed_bytes):
            raise
        step = trainer.state.global_step
        checkpoints.remove_broken(checkpoint_folder)
        raise checkpoints.no_space_error(
            checkpoint_folder,
            f"the checkpoint of step {step}",
            needed_bytes,
            "make room and run again: training resumes from the newest whole checkpoint",
        ) from None
    finally:
        trainer.progress.close()

    state = trainer.state
    done = plan.work(0, state.global_step)
    report_work(plan.work(first, state.global_step))
    network.eval()
    network.config.use_cache = True  # the Trainer turned the key-value cache off, which answering needs
    losses = _history(state.log_history, "loss")
    validated = _history(state.log_history, "eval_loss")
    return Trained(
        model=network,
        report={
            "schema": "greenllm/training/1",
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "steps": state.global_step,
            "epochs": state.global_step / plan.steps_per_epoch,
            "tokens": done.tokens,
            "samples": done.samples,
            "flops": done.flops,
            "truncated_rows": rows.truncated,
            "precision": precision,
            "threads": threads,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "seed": seed,
            "world_size": 1,
            "resumed_from_step": first or None,
            "stopped_early": state.global_step < plan.steps,
            "loss": losses,
            "validation_loss": validated,
            "best_step": min(validated, key=lambda entry: entry["loss"])["step"] if validated else None,
        },
    )


def make_trainer(
    network: Any,
    settings: Training,
    *,
    rows: list[Row],
    validation: list[Row],
    buckets: LengthBuckets,
    pad_id: int,
    steps: int,
    seed: int,
    on_gpu: bool,
    precision: str,
    folder: Path,
    done: Callable[[int], None],
) -> Trainer:
    """Return the trainer of `network` on `rows`: `done(step)` is called when the checkpoint of a step is whole."""
    every = math.ceil(steps / settings.evaluations)
    log_every = max(1, every // 10)
    every = math.ceil(every / log_every) * log_every  # so that a resumed training logs the same means
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=not on_gpu,
        seed=seed,
        data_seed=seed,
        bf16=precision == "bf16",
        max_steps=steps,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        optim="adamw_torch_fused" if settings.optimizer == "adamw" else "sgd",
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=round(settings.warmup_share * steps),
        eval_strategy="steps" if validation else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=settings.patience is not None,
        metric_for_best_model="loss" if settings.patience else None,
        logging_steps=log_every,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        report_to="none",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several would mean DataParallel: neither fast nor deterministic
    trainer = Trainer(
        settings=settings,
        buckets=buckets,
        model=network,
        args=arguments,
        data_collator=Collator(pad_id, settings.prompt_weight),
        train_dataset=rows,
        eval_dataset=validation or None,
        callbacks=[Checkpointing(done)],
    )
    if settings.patience:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    return trainer


def _prepare_device(device: Device, threads: int) -> bool:
    """Set the threads and return whether to train on a GPU: the first of those this job may use."""
    torch.set_num_threads(threads)
    if device == "cpu" or not torch.cuda.is_available():
        if device == "require":
            raise UserError("train: device `require`, but PyTorch sees no GPU; check the driver, or set device: auto")
        return False
    if torch.cuda.device_count() > 1:
        print(f"train: uses one of the {torch.cuda.device_count()} GPUs that it may use", file=sys.stderr)
    return True


def precision_of(asked: str, on_gpu: bool) -> str:
    """Return `bf16` where it is asked for, or `auto` and the hardware computes in it; else `fp32`."""
    if on_gpu:
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        can = torch.cpu.get_capabilities()
        has_bf16 = bool(can.get("avx512_bf16") or can.get("amx_bf16") or can.get("bf16"))
    if asked == "bf16" and on_gpu and not has_bf16:
        raise UserError("train.precision: bf16, but this GPU does not compute in it; set auto or fp32")
    return "fp32" if asked == "fp32" or (asked == "auto" and not has_bf16) else "bf16"


def _be_deterministic(on_gpu: bool) -> None:
    """Choose algorithms that give the same bits each time (docs.pytorch.org/docs/stable/notes/randomness.html)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU a few operations of some architectures have no deterministic form: they are warned of, not refused.
    torch.use_deterministic_algorithms(True, warn_only=on_gpu)
    # Filling fresh memory with NaN finds bugs, and costs time at each allocation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def _special_ids(folder: Path) -> tuple[int, int]:
    """Return the ids of the tokenizer's end and padding tokens; where there is no padding, the end's for both."""
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder / 'tokenizer.json'}: no such file; expected the tokenizer `greenllm preprocess` wrote"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no eos_token, so a model could not learn to end its answers")
    eos_id = int(tokenizer.eos_token_id)
    return eos_id, eos_id if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _from_scratch(model: Model | None, vocabulary: int, pad_id: int, eos_id: int) -> Any:
    if model is None:
        raise UserError("train: neither --from nor --model; expected a model folder, or the size of a new model")
    config = llama_config(model.size, vocabulary=vocabulary, context=model.context, pad_id=pad_id, eos_id=eos_id)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _load(folder: Path) -> Any:
    read_config(folder)
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder}: cannot be loaded for training: {' '.join(str(error).split())[:300]}") from None


def _history(log: list[dict[str, Any]], key: str) -> list[dict[str, float]]:
    return [{"step": entry["step"], "loss": entry[key]} for entry in log if key in entry]
