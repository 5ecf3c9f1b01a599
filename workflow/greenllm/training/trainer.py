"""transformers.Trainer for this project: batches by length, a loss per token, complete checkpoints marked."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader  # type: ignore[import-untyped]
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainingArguments
from transformers import Trainer as HuggingFaceTrainer
from transformers.trainer_utils import EvalLoopOutput

from greenllm.config.models import Training
from greenllm.errors import UserError
from greenllm.training import checkpoints
from greenllm.training.batches import Collator, LengthBuckets, Row
from greenllm.training.method import Criterion, cross_entropy, labels_alone
from greenllm.training.parallel import ALONE, Rank
from greenllm.training.patience import Patience
from greenllm.training.planned_batches import PlannedBatches

# transformers' names of schedules. One-cycle is PyTorch's own, set in `Trainer.create_scheduler`.
SCHEDULES = {
    "one-cycle": "constant",
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant_with_warmup",
}

# Least number of parts in which gradients are exchanged: the first is sent while the others are computed.
BUCKETS = 4


@dataclass(frozen=True)
class Run:
    """Settings of one training run: seed, threads, device, precision (fp32 or bf16), checkpoint folder, rank."""

    seed: int
    threads: int
    on_gpu: bool
    precision: str
    folder: Path
    rank: Rank = ALONE


class Trainer(HuggingFaceTrainer):  # type: ignore[misc]
    """transformers.Trainer with batches by length, a loss weighted by token, and the one-cycle schedule."""

    def __init__(
        self, *, settings: Training, buckets: LengthBuckets, criterion: Criterion, rank: Rank, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.rank = rank
        self.settings = settings
        self.criterion = criterion
        self.buckets = buckets
        self.remove_callback(ProgressCallback)
        self.progress = Progress()
        self.add_callback(self.progress)
        # The loss already is a mean over the step's tokens.
        self.loss_is_scaled_for_ga = True
        if rank.count > 1:
            exchange = self.accelerator.ddp_handler
            exchange.gradient_as_bucket_view = True  # saves a copy of the gradients
            exchange.broadcast_buffers = False  # rotary frequencies, the same in all
            exchange.bucket_cap_mb = min(exchange.bucket_cap_mb, _gradients_MB(self.model) / BUCKETS)
            self.add_callback(RequireExchange(self))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches, grouped by length."""
        return self._on_device(
            DataLoader(self.train_dataset, batch_sampler=self.buckets, collate_fn=self.data_collator)
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return the validation batches, sorted by length."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        size = self.buckets.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        own = batches[self.rank.index :: self.rank.count]
        return self._on_device(DataLoader(rows, batch_sampler=own, collate_fn=Collator(self.data_collator.pad_id, 0.0)))

    def _on_device(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """Return a loader that puts its batches, already this process's share, on the device."""
        device = self.accelerator.device
        prepared = prepare_data_loader(loader, device, num_processes=1, process_index=0, put_on_device=True)
        return prepared  # type: ignore[no-any-return]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the learning-rate schedule; one-cycle is by Smith and Topin (2017, arXiv 1708.07120)."""
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
        """Return the criterion's loss; a network in the criterion computes in the training's precision too."""
        output = model(input_ids=inputs["input_ids"], use_cache=False)
        with self.accelerator.autocast():
            loss = self.criterion(output.logits, inputs) * inputs["share"]
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
            total = total + (cross_entropy(logits, batch["targets"]) * batch["weights"]).sum()
            count = count + batch["weights"].sum()
        total, count = self.rank.sum(torch.stack([total, count]))
        metrics = {f"{metric_key_prefix}_loss": (total / count).item()}
        rows = len(dataloader.dataset)  # type: ignore[arg-type]
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=rows)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing in the hot loop; see `PlannedBatches`."""
        return 0


def _gradients_MB(network: torch.nn.Module) -> float:
    sizes = (weight.numel() * weight.element_size() for weight in network.parameters() if weight.requires_grad)
    return sum(sizes) / 2**20


class Progress(ProgressCallback):  # type: ignore[misc]
    """The progress bar with the newest losses beside it, instead of a line for each loss."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the newest losses; raise UserError if one is not finite."""
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
        """End the bar's line, so that the next message starts a new one."""
        if self.training_bar is not None:
            self.training_bar.close()


class RequireExchange(TrainerCallback):  # type: ignore[misc]
    """Makes sure that the processes train one model together."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise RuntimeError if gradients would not be exchanged."""
        wrapped, known = self.trainer.model_wrapped, self.trainer.accelerator.num_processes
        if not isinstance(wrapped, DistributedDataParallel) or known != self.trainer.rank.count:
            raise RuntimeError(
                f"{self.trainer.rank.count} processes, but the Trainer knows of {known} and trains a "
                f"{type(wrapped).__name__}, not a DistributedDataParallel"
            )


class Checkpointing(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint as complete after its last file was written, and calls `done` with its step."""

    def __init__(self, done: Callable[[int], None], rank: Rank) -> None:
        self.done = done
        self.rank = rank

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the new checkpoint, after every process has written its random state."""
        self.rank.wait()
        if not self.rank.is_first:
            return
        checkpoints.mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")
        self.done(state.global_step)
        tqdm.write(f"train: checkpoint of step {state.global_step} written", file=sys.stderr)


def make_trainer(
    network: Any,
    settings: Training,
    run: Run,
    *,
    rows: list[Row],
    validation: list[Row],
    planned: PlannedBatches,
    pad_id: int,
    done: Callable[[int], None],
    criterion: Criterion = labels_alone,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trainer:
    """Return a trainer of `network` on `rows`; `done(step)` is called after each complete checkpoint.

    Without `validation` rows it only trains.
    """
    every = math.ceil(planned.steps / settings.evaluations)
    log_every = max(1, every // 10)
    every = math.ceil(every / log_every) * log_every  # a resumed training logs the same means
    arguments = TrainingArguments(
        output_dir=str(run.folder),
        use_cpu=not run.on_gpu,
        seed=run.seed,
        data_seed=run.seed,
        bf16=run.precision == "bf16",
        max_steps=planned.steps,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        optim="adamw_torch_fused" if settings.optimizer == "adamw" else "sgd",
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=round(settings.warmup_share * planned.steps),
        eval_strategy="steps" if validation else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=settings.patience is not None,
        metric_for_best_model="loss" if settings.patience else None,
        logging_steps=log_every,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=run.on_gpu,
        ddp_find_unused_parameters=False,
        average_tokens_across_devices=False,  # each batch has its share: saves one exchange a step
        remove_unused_columns=False,
        report_to="none",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # DataParallel is neither fast nor deterministic
    trainer = Trainer(
        settings=settings,
        buckets=planned.buckets,
        criterion=criterion,
        rank=run.rank,
        model=network,
        args=arguments,
        data_collator=Collator(pad_id, settings.prompt_weight, run.rank),
        train_dataset=rows,
        eval_dataset=validation or None,
        callbacks=[Checkpointing(done, run.rank), *callbacks],
    )
    if settings.patience:
        trainer.add_callback(Patience(settings.patience))
    return trainer
