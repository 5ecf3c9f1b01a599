"""The console command `greenllm`: a subcommand for each stage, the meter, and the programs that read its ledgers."""

import argparse
import errno
import importlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from greenllm import __version__
from greenllm.errors import UserError
from greenllm.paths import expanded

# Subcommand → (module, help). The module has `configure(parser)` and `run(arguments) -> exit status`, and is
# imported only when its command is called: `greenllm meter` starts with every job and must stay light.
COMMANDS = {
    "collect": ("greenllm.stages.collect", "fetch or make a data set, with a card of its origin"),
    "collect-model": ("greenllm.stages.collect_model", "fetch a trained model"),
    "preprocess": ("greenllm.stages.preprocess", "clean and split a data set, train its tokenizer"),
    "train": ("greenllm.stages.train", "train a causal language model"),
    "compress": ("greenllm.stages.compress", "make a smaller or faster model from a trained one"),
    "evaluate": ("greenllm.stages.evaluate", "measure a model's quality on the test split"),
    "deploy": ("greenllm.stages.deploy", "make the bundle of a model: a folder that serves it"),
    "measure": ("greenllm.stages.measure", "serve bundles side by side and measure them under load"),
    "serve": ("greenllm.serving.command", "serve a bundle over an OpenAI-compatible HTTP interface"),
    "load": ("greenllm.load.command", "send requests to a server and time the answers"),
    "probe-threads": ("greenllm.load.probing", "answer prompts with several numbers of threads, without a server"),
    "probe-training": ("greenllm.training.probing", "train a few steps with each of several settings"),
    "tune": ("greenllm.stages.tune", "find the batch size, threads … with the least energy, by short metered probes"),
    "account": ("greenllm.stages.account", "attribute the ledgers' joules, make the efficiency and impact tables"),
    "footprint": ("greenllm.stages.footprint", "carbon, water and cost of a results folder, at any site; no job runs"),
    "recommend": ("greenllm.stages.recommend", "say which recipe to deploy, at a quality and number of requests"),
    "verify": ("greenllm.stages.verify", "compute every number of a results folder again, and check what was read"),
    "compare": ("greenllm.stages.compare", "compare the same experiment on several hosts or devices"),
    "plan": (
        "greenllm.stages.plan",
        "plan when and on which device jobs run, by the carbon or the price of electricity, or by joules (section "
        "policy)",
    ),
    "report": ("greenllm.stages.report", "make the report page, its figures and summary.json"),
    "export": ("greenllm.stages.export", "write the account in a form that others ask for, such as an ML-BOM"),
    "meter": ("greenllm.meter.command", "run any command under the energy meter"),
    "attribute": ("greenllm.attribution.command", "divide the joules of all ledgers among their jobs"),
    "calibrate": ("greenllm.attribution.calibration.command", "fit gain and offset of sensors to an external meter"),
    "watch": ("greenllm.stages.watch", "show a running workflow: jobs by state, power by host, joules, what is left"),
    "probe": ("greenllm.meter.probe", "say what can be measured on this host, and by which sensor"),
    "doctor": ("greenllm.stages.doctor", "check a cluster before a job is submitted to it"),
    "factors": ("greenllm.stages.factors", "list the factors known for a place, with year, interval and source"),
    "config": ("greenllm.stages.config", "check a configuration file, or write the schema"),
}

# A full or read-only disk, a quota, a missing permission, an invalid name: the user can fix these without a traceback.
USER_FIXABLE_ERRNOS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.ELOOP, errno.EBUSY, errno.EFBIG,
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status (2 for a user's mistake, reported in one line)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _replace_what_cannot_be_shown()
    parser = argparse.ArgumentParser(prog="greenllm", description=__doc__)
    parser.add_argument("--version", action="version", version=f"greenllm {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            importlib.import_module(module).configure(subparser)
    arguments = parser.parse_args(argv)
    try:
        _expand_home(arguments)
        return int(importlib.import_module(COMMANDS[arguments.command][0]).run(arguments))
    except UserError as error:
        print(f"greenllm {arguments.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"greenllm {arguments.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output ended, as in `greenllm probe | head -1`
        sys.stderr.close()
        return 141
    except OSError as error:
        if error.errno not in USER_FIXABLE_ERRNOS:
            raise
        print(f"greenllm {arguments.command}: error: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 2


def _replace_what_cannot_be_shown() -> None:
    """Make the streams replace lone surrogates and characters that the terminal's encoding lacks."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _expand_home(arguments: argparse.Namespace) -> None:
    """Replace `~` in paths by the home folder, as in the configuration; a shell does not do so in `--out=~/folder`."""
    for name, value in vars(arguments).items():
        if isinstance(value, Path):
            setattr(arguments, name, expanded(value))
        elif isinstance(value, list):
            setattr(arguments, name, [expanded(one) if isinstance(one, Path) else one for one in value])
