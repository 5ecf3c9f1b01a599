"""The report's names of metrics, times and units of work."""

import datetime

# Metrics that are shares of something or out of a hundred: their differences are reported in points.
_POINTS = {"accuracy": 100.0, "macro_f1": 100.0, "exact_match": 100.0, "f1": 100.0, "chrf": 1.0}
_METRICS = {"macro_f1": "macro-F1", "f1": "token F1", "chrf": "chrF"}


def metric_name(metric: str) -> str:
    """Return a metric's name as a reader knows it."""
    return _METRICS.get(metric, metric.replace("_", " "))


def points_per_unit(metric: str) -> float | None:
    """Return how many points one of a metric's unit is (100 of a share); None where points mean nothing."""
    return _POINTS.get(metric)


def moment(timestamp: str) -> str:
    """Return an RFC 3339 time to the second, in UTC."""
    return datetime.datetime.fromisoformat(timestamp).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
