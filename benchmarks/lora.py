"""What does a low-rank adapter (LoRA) save against full fine-tuning, at the same quality?

    python benchmarks/lora.py [--size tiny|small|base] [--threads N] [--rank N]

A model is pretrained on messages of a bank's customers, then learns a shop's intents twice: with all its weights, and
with only an adapter, each at a constant learning rate. "The same quality" is the worse of their two best validation
losses; the energy until then is read from the training's meter at each validation. Takes about four minutes on two
otherwise idle cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

GREENLLM = [sys.executable, "-m", "greenllm"]
TASK = "customer-service"
OF_A_SHOP = ("order_", "item_", "delivery_", "discount_", "in_stock", "warranty_", "invoice_")


@dataclass(frozen=True)
class Bench:
    """The folder of the files, and the settings that all trainings share."""

    folder: Path
    threads: int

    def run(self, *command: str) -> None:
        done = subprocess.run([*GREENLLM, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}:\n{done.stdout}")

    def prepare(self, name: str, rows: pd.DataFrame, *options: str) -> Path:
        """Clean, split and tokenize the rows of one domain."""
        raw, data = self.folder / f"raw-{name}", self.folder / f"data-{name}"
        raw.mkdir()
        rows.to_parquet(raw / "train.parquet")
        (raw / "card.json").write_bytes((self.folder / "raw" / "card.json").read_bytes())
        self.run("preprocess", "--task", TASK, "--settings", "{}", "--data", str(raw), "--out", str(data), *options)
        return data

    def train(self, name: str, recipe: str, settings: dict[str, Any], data: Path, *options: str) -> dict[str, Any]:
        """Train under the meter, in a separate process, and return training.json."""
        folder = self.folder / name
        meter = ["meter", "--threads", str(self.threads), "--ledger", str(self.folder / "ledger"), "--", *GREENLLM]
        train = ["train", "--recipe", recipe, "--settings", json.dumps(settings), "--data", str(data)]
        train += ["--threads", str(self.threads), "--device", "cpu", "--checkpoints", str(folder / "checkpoints")]
        self.run(*meter, *train, "--out", str(folder / "model"), *options)
        report: dict[str, Any] = json.loads((folder / "model" / "training.json").read_text())
        return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="small", help="of the model")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--rank", type=int, default=8, help="of the adapter (default 8)")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of full fine-tuning (default 0.001)")
    parser.add_argument("--lora-rate", type=float, default=5e-3, help="learning rate of the adapter (default 0.005)")
    parser.add_argument("--epochs", type=float, default=3, help="of pretraining, and of adaptation (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.threads)
        bench.run("collect", "--task", TASK, "--settings", "{source: embedded}", "--out", f"{folder}/raw")
        rows = pd.read_parquet(f"{folder}/raw/train.parquet")
        of_a_shop = rows["completion"].str.startswith(OF_A_SHOP)
        bank = bench.prepare("bank", rows[~of_a_shop])
        model = json.dumps({"size": arguments.size, "context": 128})
        base = bench.train("base", "{train: {}}", {"epochs": arguments.epochs}, bank, "--model", model)
        print(f"base: {base['parameters']:,} parameters, validation loss {_best_loss(base):.3f} nats a token")

        parent = str(bench.folder / "base" / "model")
        shop = bench.prepare("shop", rows[of_a_shop], "--model", parent)
        recipes = {"full": "{train: {}}", "LoRA": f"{{lora: {{rank: {arguments.rank}, alpha: {2 * arguments.rank}}}}}"}
        rates = {"full": arguments.rate, "LoRA": arguments.lora_rate}
        settings = {"schedule": "constant", "warmup_share": 0, "epochs": arguments.epochs, "evaluations": 12}
        trainings = {
            name: bench.train(name, recipe, settings | {"learning_rate": rates[name]}, shop, "--from", parent)
            for name, recipe in recipes.items()
        }
        print(_table(trainings))
    return 0


def _best_loss(report: dict[str, Any]) -> float:
    return min(entry["loss"] for entry in report["validation_loss"])


def _table(trainings: dict[str, dict[str, Any]]) -> str:
    """Return the comparison, in Markdown."""
    goal = max(map(_best_loss, trainings.values()))
    rows = []
    for name, report in trainings.items():
        reached = next(point for point in report["energy_J"] if point["validation_loss"] <= goal)
        joules = reached["energy_J"]
        rows.append(
            [
                name,
                f"{report['trainable_parameters']:,}",
                f"{report['peak_memory_bytes'] / 1e6:.0f}",
                reached["step"],
                f"{report['flops'] * reached['step'] / report['steps'] / 1e12:.2f}",
                f"{joules['value']:.0f} ({joules['low']:.0f} to {joules['high']:.0f})",
                f"{_best_loss(report):.4f}",
                f"{report['energy_J'][-1]['energy_J']['value']:.0f}",
            ]
        )
    headers = ["", "trainable parameters", "peak memory, MB", "steps", "TFLOP", "J (95 %)", "best loss", "J in all"]
    said = f"Until the validation loss is {goal:.4f} nats a token:"
    return f"{said}\n\n{tabulate(rows, headers=headers, tablefmt='github', disable_numparse=True)}"


if __name__ == "__main__":
    sys.exit(main())
