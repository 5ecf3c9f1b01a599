"""Which attempts were in vain."""

import json
from collections.abc import Sequence

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.sharing import parent_among

UNSUCCESSFUL = ("failed", "killed", "lost")
WASTE = (*UNSUCCESSFUL, "superseded")


def waste_classes(attempts: Sequence[Attempt]) -> dict[str, str]:
    """Return {id: failed, killed, lost or superseded} for the attempts whose energy is waste.

    An attempt is superseded where a later one made the same output (rule and wildcards) again with the same
    configuration. What ran inside an attempt shares its fate, unless it has one of its own.
    """
    kinds = {a.id: a.status for a in attempts if a.status in UNSUCCESSFUL}
    newest: dict[tuple[str, ...], Attempt] = {}
    for attempt in sorted(attempts, key=lambda a: (str(a.start.get("started")), a.id)):
        job = attempt.start["job"]
        if attempt.status != "succeeded" or not job.get("rule"):
            continue
        wildcards = json.dumps(job.get("wildcards", {}), sort_keys=True)
        same = (str(job["rule"]), wildcards, str(attempt.start.get("config_hash")))
        if (earlier := newest.get(same)) is not None:
            kinds[earlier.id] = "superseded"
        newest[same] = attempt
    by_id = {a.id: a for a in attempts}
    fates = dict(kinds)
    for attempt in sorted(attempts, key=lambda a: a.id.count(".")):  # parents first
        parent = parent_among(attempt, set(fates), by_id)
        if attempt.id not in fates and parent is not None:
            fates[attempt.id] = fates[parent]
    return fates
