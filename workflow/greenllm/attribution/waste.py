"""Which attempts were wasted."""

import hashlib
import json
from collections.abc import Hashable
from typing import Any

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.lineage import Lineage

UNSUCCESSFUL = ("failed", "killed", "lost")
WASTE = (*UNSUCCESSFUL, "superseded")


def waste_classes(lineage: Lineage) -> dict[str, str]:
    """Return {id: failed, killed, lost or superseded} for the attempts whose energy is waste.

    An attempt is superseded where a later one made the same output again with the same configuration: the same paths
    (or, without named outputs, the same wildcards) by the same rule, with the same `config_hash`, from the same inputs
    or from inputs that were made with the same configuration. Meters inside an attempt share its class, unless they
    have their own. Meters inside one attempt don't supersede each other: a server may be started for several visits.
    """
    fates = {a.id: a.status for a in lineage.attempts if a.status in UNSUCCESSFUL}
    configurations = _configurations(lineage)
    newest: dict[Hashable, Attempt] = {}
    for attempt in lineage.in_order:
        product = _product(attempt, lineage)
        if attempt.status != "succeeded" or product is None:
            continue
        same = (product, configurations[attempt.id])
        if (earlier := newest.get(same)) is not None:
            around = lineage.around(attempt)
            if around is not None and around == lineage.around(earlier):
                continue
            if attempt.id in {inner.id for inner in lineage.inside(earlier)}:
                continue  # it ran inside the earlier one, as part of making the same output
            fates[earlier.id] = "superseded"
        newest[same] = attempt
    for attempt in sorted(lineage.attempts, key=lambda a: -a.id.count(".")):  # the nearest around an attempt first
        if (fate := fates.get(attempt.id)) is not None:
            for inner in lineage.inside(attempt):
                fates.setdefault(inner.id, fate)
    return fates


def _product(attempt: Attempt, lineage: Lineage) -> Hashable | None:
    """Return what an attempt made: a rule and paths, or a rule and wildcards; None where it names neither."""
    job = attempt.start.job
    if outputs := lineage.outputs(attempt):
        return job.rule, *sorted(outputs)
    return (job.rule, json.dumps(job.wildcards, sort_keys=True)) if job.rule else None


def _configurations(lineage: Lineage) -> dict[str, str]:
    """Return {id: digest of everything that determines an attempt's result}: its own settings, and those of its inputs.

    An input that an attempt made is represented by that attempt's configuration, not by its fingerprint: a model that
    is made again from the same inputs differs in its modification time, or by chance. Any other input is represented by
    its fingerprint. A nested meter that does not name its inputs has those of the meter around it.
    """
    configurations: dict[str, str] = {}
    for attempt in lineage.in_order:  # a maker began before those that read what it made
        origins = lineage.origins(attempt)
        made_from: Any
        if origins is None:
            made_from = configurations.get(lineage.around(attempt) or "")
        else:
            made_from = [(o.path, configurations[o.maker.id] if o.maker else o.fingerprint) for o in origins]
        text = json.dumps([attempt.start.config_hash, made_from], sort_keys=True)
        configurations[attempt.id] = hashlib.sha256(text.encode()).hexdigest()
    return configurations
