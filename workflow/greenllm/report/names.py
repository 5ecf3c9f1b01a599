"""The report's names of metrics, stages, times and units of work."""

import datetime

from babel.dates import format_datetime

from greenllm.report.language import current, noted, text

# Metrics that are shares of something or out of a hundred: their differences are reported in points.
_POINTS = {"accuracy": 100.0, "accuracy_by_length": 100.0, "macro_f1": 100.0, "exact_match": 100.0, "f1": 100.0,
           "squad_exact_match": 100.0, "squad_f1": 100.0, "contains": 100.0, "chrf": 1.0}  # fmt: skip
_METRICS = {
    "accuracy": noted("accuracy"),
    "accuracy_by_length": noted("accuracy by length"),
    "score": noted("score"),
    "macro_f1": noted("macro-F1"),
    "exact_match": noted("exact match"),
    "f1": noted("token F1"),
    "squad_exact_match": noted("exact match (SQuAD)"),
    "squad_f1": noted("token F1 (SQuAD)"),
    "contains": noted("answer contains the reference"),
    "chrf": noted("chrF"),
    "bits_per_byte": noted("bits per byte"),
    "perplexity": noted("perplexity"),
}
# Words of the account that have a translation: verdicts, how an energy is known, standings, changes, stages, tasks.
WORDS = (
    noted("baseline"), noted("saves"), noted("loss"), noted("not resolvable"), noted("unknown"), noted("yes"),
    noted("no"), noted("measured"), noted("modelled"), noted("partly modelled"), noted("measured and modelled"),
    noted("recommended"), noted("current"), noted("earlier"), noted("running"), noted("failed"), noted("killed"),
    noted("paused"), noted("lost"), noted("superseded"),
    noted("succeeded"), noted("engine"), noted("device"), noted("shared"),
    noted("all"), noted("none"), noted("study"), noted("attempt"), noted("server under load"), noted("collect"),
    noted("collect_model"), noted("preprocess"), noted("train"), noted("compress"), noted("evaluate"), noted("deploy"),
    noted("measure"), noted("probe"), noted("serve"), noted("load"), noted("account"), noted("total"),
    noted("total, at least"), noted("customer-service"), noted("question-answering"), noted("translation"),
    noted("chat"), noted("language-modelling"), noted("multiple-choice"), noted("harness"), noted("seen"),
    noted("held out"),
    noted("allocated"), noted("active"),
    noted("request"), noted("token"), noted("training token"), noted("FLOP"), noted("billion parameter"), noted("cost"),
    noted("all others, and several together"), noted("what readings left open"), noted("spread between repetitions"),
    noted(
        "from wind and nuclear power (11 and 12) to coal (820, at most 910): IPCC AR5, WG III, Annex III, Table A.III.2"
    ),
    noted("from no overhead to a small server room"), noted("published values of one card differ 3.5-fold"),
    noted("all prices of electricity above zero"), noted("to one server, up to all that the slowest can do"),
)  # fmt: skip


def metric_name(metric: str) -> str:
    """Return a metric's name as a reader knows it."""
    return text(_METRICS.get(metric, metric.replace("_", " ")))


def points_per_unit(metric: str) -> float | None:
    """Return how many points one of a metric's unit is (100 of a share); None where points mean nothing."""
    return _POINTS.get(metric)


def moment(timestamp: str) -> str:
    """Return an RFC 3339 time to the second, in UTC."""
    return datetime.datetime.fromisoformat(timestamp).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def day(timestamp: str) -> str:
    """Return an RFC 3339 time for readers, to the minute, in UTC: "29 November 2026, 03:33 UTC"."""
    when = datetime.datetime.fromisoformat(timestamp).astimezone(datetime.UTC)
    shown = format_datetime(when, text("d MMMM yyyy, HH:mm"), locale=current().locale)
    return text("{time} UTC", time=shown)
