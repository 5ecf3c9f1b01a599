"""Training of causal language models on prepared data: reproducible, and resumed after it was killed."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.utils.logging import disable_progress_bar

from greenllm.config.models import Training
from greenllm.device_choice import DeviceChoice
from greenllm.errors import UserError
from greenllm.files import sha256_of
from greenllm.model_folder.flops import Flops
from greenllm.model_folder.written import context_of, try_to_count
from greenllm.tokens import read_tokenizer
from greenllm.training import checkpoints
from greenllm.training.batches import LengthBuckets, Rows, read_rows
from greenllm.training.budget import EnergyStopping, curve
from greenllm.training.device import be_deterministic, peak_memory_bytes, precision_of, prepare_device
from greenllm.training.loading import load
from greenllm.training.method import Method
from greenllm.training.model_sizes import Decoder, llama_config
from greenllm.training.parallel import backend, rank_of
from greenllm.training.planned_batches import PlannedBatches, Work
from greenllm.training.trainer import Run, Trainer, make_trainer

# On the CPU, attention written out trains rows up to about this long faster than PyTorch's fused kernel (by a quarter
# at 30 tokens, by a tenth at 256), whose backward pass works in large blocks; beyond, its memory grows with the square.
LONGEST_EAGER = 512


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
    device: DeviceChoice = "auto",
    model: Decoder | None = None,
    parent: Path | None = None,
    method: Method | None = None,
    report_work: Callable[[Work], None] = lambda work: None,
) -> Trained:
    """Train a causal language model on a prepared data set; of several processes the first alone returns.

    Args:
        settings: how to train.
        data: folder with train.parquet, validation.parquet and tokenizer/.
        checkpoint_folder: where checkpoints go; a training that was killed resumes from the newest whole one.
        seed: of the initial weights and the order of batches.
        threads: CPU threads of all processes; another number rounds sums otherwise, and so gives other weights.
        device: `auto`, `cpu` or `require` (a GPU).
        model: the model to train from scratch.
        parent: folder of the model to start from, instead of `model`.
        method: how the network learns, where otherwise than from the labels, with all its weights.
        report_work: told at each checkpoint, and at the end, the work done by this process so far.

    The same inputs, seed, threads, device and precision give the same weights, byte for byte, resumed or not.

    Raises `UserError` where the input cannot be trained on, the device or precision is not there, the disk is full, or
    training diverges.
    """
    method = method or Method()
    rank = rank_of(settings.processes)
    on_gpu = prepare_device(device, threads // rank.count, rank)
    precision = precision_of(settings.precision, on_gpu)
    run = Run(seed=seed, threads=threads, on_gpu=on_gpu, precision=precision, folder=checkpoint_folder, rank=rank)
    be_deterministic(on_gpu)
    tokenizer_folder = data / "tokenizer"
    eos_id, pad_id = _special_ids(tokenizer_folder)
    tokenizer = read_tokenizer(tokenizer_folder)
    disable_progress_bar()  # those of loading and saving; training's own stays
    set_seed(seed)
    network = load(parent) if parent else _from_scratch(model, tokenizer.get_vocab_size(), pad_id, eos_id)
    known = network.get_input_embeddings().weight.shape[0]
    if tokenizer.get_vocab_size() > known:
        raise UserError(
            f"{tokenizer_folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model in {parent} only "
            f"{known}; preprocess the data with `--model {parent}`"
        )
    context = context_of(network.config, parent or tokenizer_folder)
    rows, validation = _read_splits(data, tokenizer, eos_id=eos_id, context=context, settings=settings)

    parameters = _count(network.parameters())
    lengths = [len(row) for row in rows.rows]
    if not on_gpu and max(lengths) <= LONGEST_EAGER:
        network.set_attn_implementation("eager")
    network = method.adapt(network)
    planned = PlannedBatches(
        LengthBuckets(lengths, settings.batch, seed), settings.epochs, _training_flops(network.config, method)
    )
    fingerprint = _fingerprint(settings, run, data, model, parent, method)
    resume = rank.first(lambda: checkpoints.open_folder(checkpoint_folder, fingerprint))
    first = checkpoints.step_of(resume) if resume else 0
    if resume and rank.is_first:
        print(f"train: resuming from {resume}, step {first} of {planned.steps}", file=sys.stderr)
    stopping = EnergyStopping(settings, checkpoint_folder, rank)
    trainer = make_trainer(
        network,
        settings,
        run,
        rows=rows.rows,
        validation=validation.rows,
        planned=planned,
        pad_id=pad_id,
        done=lambda step: report_work(planned.work(first, step)),
        criterion=method.criterion,
        callbacks=[stopping],
    )
    _run_to_the_end(trainer, resume)

    rank.leave_to_first()
    report_work(planned.work(first, trainer.state.global_step))
    network = trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False).eval()  # no more autocast
    network.config.use_cache = True  # the Trainer turned the key-value cache off, which answering needs
    report = {
        "schema": "greenllm/training/1",
        "parameters": parameters,
        **_report(trainer, run, planned, stopping, truncated_rows=rows.truncated, resumed_from_step=first or None),
    }
    return Trained(model=network, report=report)


def _read_splits(
    data: Path, tokenizer: Tokenizer, *, eos_id: int, context: int, settings: Training
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to validate on; only without early stopping may the latter be none."""
    rows = read_rows(data / "train.parquet", tokenizer, eos_id=eos_id, context=context)
    validation = read_rows(data / "validation.parquet", tokenizer, eos_id=eos_id, context=context)
    if not rows.rows:
        raise UserError(f"{data / 'train.parquet'}: no rows; expected at least one to train on")
    for key in ("patience", "least_gain_per_kJ"):
        if getattr(settings, key) is not None and not validation.rows:
            raise UserError(
                f"{data / 'validation.parquet'}: no rows, but train.{key} needs some to validate on; "
                f"raise preprocess.validation_share, or set {key} to null"
            )
    return rows, validation


def _training_flops(config: Any, method: Method) -> Flops | None:
    flops = try_to_count(config, method.adapt)
    return flops.training + method.criterion_flops if flops and method.criterion_flops else None


def _fingerprint(
    settings: Training, run: Run, data: Path, model: Decoder | None, parent: Path | None, method: Method
) -> str:
    """Return the fingerprint of all that the weights hang on: only checkpoints of the same one are resumed."""
    return checkpoints.fingerprint(
        {
            "settings": settings.model_dump(),
            "model": asdict(model) if model and not parent else None,
            "parent": hashes_of(parent) if parent else None,
            "method": method.depends_on,
            "data": [sha256_of(data / name) for name in ("train.parquet", "validation.parquet")],
            "tokenizer": sha256_of(data / "tokenizer" / "tokenizer.json"),
            "run": [run.seed, run.threads, run.on_gpu, run.precision],
            "torch": torch.__version__,
        }
    )


def hashes_of(model: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model folder, by name."""
    return {file.name: sha256_of(file) for file in sorted(model.glob("*.*"))}


def _run_to_the_end(trainer: Trainer, resume: Path | None) -> None:
    """Train, from the checkpoint `resume` where there is one; raise `UserError` where the disk is full."""
    folder = Path(trainer.args.output_dir)
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except (OSError, RuntimeError, SafetensorError) as error:
        # Weights, gradients and AdamW's two moments, in fp32.
        needed_bytes = 12 * _count(trainer.model.parameters())
        if not checkpoints.no_space(error, folder, needed_bytes):
            raise
        if trainer.rank.is_first:
            checkpoints.remove_broken(folder)
        raise checkpoints.no_space_error(
            folder,
            f"the checkpoint of step {trainer.state.global_step}",
            needed_bytes,
            "make room and run again: training resumes from the newest whole checkpoint",
        ) from None
    finally:
        trainer.progress.close()


def _report(
    trainer: Trainer,
    run: Run,
    planned: PlannedBatches,
    stopping: EnergyStopping,
    *,
    truncated_rows: int,
    resumed_from_step: int | None,
) -> dict[str, Any]:
    """Return what training.json says of a finished training; losses are in nats per token."""
    state = trainer.state
    done = planned.work(0, state.global_step)
    stopped_early = state.global_step < planned.steps
    validated = _history(state.log_history, "eval_loss")
    return {
        "trainable_parameters": _count(weight for weight in trainer.model.parameters() if weight.requires_grad),
        "peak_memory_bytes": peak_memory_bytes(run.on_gpu),
        "steps": state.global_step,
        "epochs": state.global_step / planned.steps_per_epoch,
        "tokens": done.tokens,
        "samples": done.samples,
        "flops": done.flops,
        "truncated_rows": truncated_rows,
        "precision": run.precision,
        "threads": run.threads,
        "device": torch.cuda.get_device_name() if run.on_gpu else "cpu",
        "seed": run.seed,
        "world_size": run.rank.count,
        "wrapper": type(trainer.model_wrapped).__name__ if run.rank.count > 1 else None,
        "backend": backend(),
        "resumed_from_step": resumed_from_step,
        "stopped_early": stopped_early,
        "stop_reason": (stopping.reason or "patience") if stopped_early else None,
        "loss": _history(state.log_history, "loss"),
        "validation_loss": validated,
        "energy_J": curve(state.log_history) or None,
        "best_step": min(validated, key=lambda entry: entry["loss"])["step"] if validated else None,
    }


def _count(weights: Iterable[torch.Tensor]) -> int:
    return sum(weight.numel() for weight in weights)


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


def _from_scratch(model: Decoder | None, vocabulary: int, pad_id: int, eos_id: int) -> Any:
    if model is None:
        raise UserError("train: neither --from nor --model; expected a model folder, or the size of a new model")
    config = llama_config(model.size, vocabulary=vocabulary, context=model.context, pad_id=pad_id, eos_id=eos_id)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _history(log: list[dict[str, Any]], key: str) -> list[dict[str, float]]:
    return [{"step": entry["step"], "loss": entry[key]} for entry in log if key in entry]
