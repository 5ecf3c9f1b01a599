"""The stages of a study in figures: their colours, names and order."""

from greenllm.report.figures.style import BLUE
from greenllm.report.language import noted, text

# Hue and lightness both change, so that people with a colour vision deficiency see the difference.
_COLOURS = {
    "collect": "#c9b458",
    "collect_model": "#e3d18a",
    "preprocess": "#a88a2c",
    "train": BLUE,
    "compress": "#7a5195",
    "evaluate": "#38a3a5",
    "deploy": "#b9c4c9",
    "measure": "#8d979c",
    "probe": "#8c3b4a",
    "serve": "#de5d68",
    "load": "#efa6a0",
}
_OTHER = "#566066"
# Patterns tell stages apart in black and white.
_PATTERNS = {
    "collect_model": "-",
    "preprocess": "//",
    "compress": "xx",
    "evaluate": "||",
    "deploy": "/",
    "measure": "--",
    "probe": "++",
    "load": r"\\",
}
_NAMES = {
    "collect_model": noted("collect model"),
    "deploy": noted("deploy (rest)"),
    "measure": noted("measure (rest)"),
    "probe": noted("thread probes"),
    "serve": noted("server"),
    "load": noted("load generator"),
    "waste": noted("waste"),
}


def stage_colour(stage: str) -> str:
    """Return a stage's colour."""
    return _COLOURS.get(stage, _OTHER)


def stage_pattern(stage: str) -> str:
    """Return a stage's pattern."""
    return _PATTERNS.get(stage, "")


def stage_order(stage: str) -> tuple[int, str]:
    """Return the key that sorts stages in the order of a study."""
    names = list(_COLOURS)
    return (names.index(stage) if stage in names else len(names), stage)


def stage_name(stage: str) -> str:
    """Return a stage's name for readers."""
    return text(_NAMES.get(stage, stage))


def label_order(label: str) -> tuple[bool, tuple[int, str]]:
    """Return the key that sorts a legend's labels: stages as in `stage_order`, waste last."""
    stages = {stage_name(stage): stage for stage in _COLOURS}
    return label == stage_name("waste"), stage_order(stages.get(label, label))
