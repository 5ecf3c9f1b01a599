"""Training of causal language models on prepared data: reproducible, and resumed after a kill."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import set_seed
from transformers.utils.logging import disable_progress_bar

from greenllm.config.models import Training
from greenllm.device_choice import DeviceChoice
from greenllm.documents.training import TrainingReport
from greenllm.errors import UserError
from greenllm.model_folder.flops import Flops
from greenllm.model_folder.inspection import try_to_count
from greenllm.training import checkpoints
from greenllm.training.batches import LengthBuckets, Rows, read_rows
from greenllm.training.budget import EnergyStopping
from greenllm.training.device import be_deterministic, precision_of, prepare_device
from greenllm.training.fingerprint import fingerprint_of
from greenllm.training.method import Method
from greenllm.training.model_sizes import Decoder
from greenllm.training.parallel import rank_of
from greenllm.training.patience import stopped_at
from greenllm.training.pausing import Pausing, planned_pause
from greenllm.training.planned_batches import PlannedBatches, Work
from greenllm.training.report import count, report_of
from greenllm.training.starting_point import StartingPoint, starting_point
from greenllm.training.trainer import Run, Trainer, make_trainer

# On the CPU, attention written out trains rows up to about this long faster than PyTorch's fused kernel (by a quarter
# at 30 tokens, by a tenth at 256), whose backward pass works in large blocks; beyond, its memory grows with the square.
LONGEST_EAGER = 512


@dataclass(frozen=True)
class Trained:
    """A trained model and its report (training.json)."""

    model: Any
    report: TrainingReport


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
    """Train a causal language model on a prepared data set; with several processes, only the first one returns.

    Args:
        settings: how to train.
        data: folder with train.parquet, validation.parquet and tokenizer/.
        checkpoint_folder: where checkpoints go; a killed training resumes from the newest whole one.
        seed: of the initial weights and the order of batches.
        threads: CPU threads of all processes of a node; another number rounds sums differently, so the weights differ.
        device: `auto`, `cpu` or `require` (a GPU).
        model: the model to train from scratch.
        parent: folder of the model to start from, instead of `model`.
        method: how the network learns; None: from the labels, with all its weights.
        report_work: called at each checkpoint, and at the end, with the work done by this process so far.

    The same inputs, seed, threads, device and precision make the same weights, byte for byte, resumed or not.

    Raises `PausedError` if it paused at a checkpoint, as planned; `UserError` if the input cannot be trained on, the
    device or precision is not available, the disk is full, or training diverges.
    """
    method = method or Method()
    run = _prepared(settings, seed, threads, device, checkpoint_folder)
    start = starting_point(data / "tokenizer", model, parent)
    rows, validation = _read_splits(data, start, settings)

    parameters = count(start.network.parameters())
    lengths = [len(row) for row in rows.rows]
    if not run.on_gpu and max(lengths) <= LONGEST_EAGER:
        start.network.set_attn_implementation("eager")
    network = method.adapt(start.network)
    planned = PlannedBatches(
        LengthBuckets(lengths, settings.batch, seed), settings.epochs, _training_flops(network.config, method)
    )
    resume, first = _newest_checkpoint(run, fingerprint_of(settings, run, data, model, parent, method), planned)
    # The attempt before this one may have been killed after its last step.
    planned.buckets.ended = first >= planned.steps or (resume is not None and stopped_at(resume, settings.patience))
    pausing = Pausing(planned_pause())
    stopping = EnergyStopping(settings, checkpoint_folder, run.rank)
    trainer = make_trainer(
        network,
        settings,
        run,
        rows=rows.rows,
        validation=validation.rows,
        planned=planned,
        pad_id=start.pad_id,
        done=lambda step: report_work(planned.work(first, step)),
        criterion=method.criterion,
        callbacks=[stopping, pausing],
    )
    _run_to_the_end(trainer, resume)
    if pausing.paused_at is not None:
        report_work(planned.work(first, pausing.paused_at))
        raise checkpoints.PausedError(pausing.paused_at)

    run.rank.leave_to_first()
    report_work(planned.work(first, trainer.state.global_step))
    network = trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False).eval()  # no more autocast
    network.config.use_cache = True  # the Trainer turned the key-value cache off, which answering needs
    report = report_of(
        trainer, run, planned, stopping, parameters=parameters, truncated_rows=rows.truncated, first_step=first
    )
    return Trained(network, report)


def _prepared(settings: Training, seed: int, threads: int, device: DeviceChoice, checkpoint_folder: Path) -> Run:
    """Prepare this process, its device and its random numbers; return what the training runs with."""
    rank = rank_of(settings.all_processes)
    on_gpu = prepare_device(device, threads // settings.processes, rank)
    precision = precision_of(settings.precision, on_gpu)
    be_deterministic(on_gpu)
    disable_progress_bar()  # those of loading and saving; training's own stays
    set_seed(seed)
    return Run(seed=seed, threads=threads, on_gpu=on_gpu, precision=precision, folder=checkpoint_folder, rank=rank)


def _newest_checkpoint(run: Run, fingerprint: str, planned: PlannedBatches) -> tuple[Path | None, int]:
    """Return the newest whole checkpoint with this fingerprint, and its step; None and 0 if there is none."""
    newest = run.rank.first(lambda: checkpoints.open_folder(run.folder, fingerprint))
    step = checkpoints.step_of(newest) if newest else 0
    if newest and run.rank.is_first:
        print(f"train: resuming from {newest}, step {step} of {planned.steps}", file=sys.stderr)
    return newest, step


def _read_splits(data: Path, start: StartingPoint, settings: Training) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to validate on; with early stopping, there must be some of the latter."""
    rows, validation = (
        read_rows(data / f"{name}.parquet", start.tokenizer, eos_id=start.eos_id, context=start.context)
        for name in ("train", "validation")
    )
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


def _run_to_the_end(trainer: Trainer, resume: Path | None) -> None:
    """Train, from the checkpoint `resume` if there is one; raise `UserError` if the disk is full."""
    folder = Path(trainer.args.output_dir)
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except (OSError, RuntimeError, SafetensorError) as error:
        # Weights, gradients and AdamW's two moments, in fp32.
        needed_bytes = 12 * count(trainer.model.parameters())
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
