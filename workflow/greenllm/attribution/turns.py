"""The energy of servers that use one reservation in turn, inside a job that holds it.

Several servers are loaded, and one answers at a time. The job around them reserves the processors and holds the GPUs;
the servers reserve nothing, so that one that waits is charged for nothing but what it does. In its turn a server is
charged for what it used, and for what the job holds for it:

- processors: those that its threads occupy, t of the host's n, so t/n of what the processors counted, or what it used
  where that is more. The idle part is taken from the job's, which is never exceeded.
- GPUs: what those that the job holds used, where the server uses GPUs.
- memory: what its processes use.

With the policy "active" it is charged for what it used alone, and for the GPUs.

So the energy of all turns is a part of the energy of the job and its servers, and no joule is in two turns.
"""

from greenllm.attribution.result import Attribution
from greenllm.estimate import Estimate


def energy_in_turn(
    attribution: Attribution, server_id: str, holder_id: str, window_s: tuple[float, float], *, threads: int, gpus: int
) -> Estimate | None:
    """Return the energy (J) of a server in its turn, a window of CLOCK_MONOTONIC seconds; None where it is unknown.

    `threads` are the server's, `gpus` the number of GPUs that it uses. Raises KeyError for an unknown id.
    """
    start_s, end_s = window_s
    energy = attribution.energy_between(server_id, start_s, end_s)
    holder = attribution.job(holder_id).attempt
    if energy is None:
        return None
    if gpus:
        held_by_gpus = attribution.energy_between(holder_id, start_s, end_s, ("gpu",))
        if held_by_gpus is None:
            return None
        energy += held_by_gpus
    if attribution.policy == "active":  # nobody pays for what is idle
        return energy
    used = attribution.energy_between(server_id, start_s, end_s, ("cpu",))
    held = attribution.energy_between(holder_id, start_s, end_s, ("cpu",))
    if used is None or held is None or held.value <= 0:
        return energy
    counted_J = attribution.counted_between(holder.boot_id, "cpu", start_s, end_s)
    occupied_J = counted_J * min(1.0, threads / holder.start.cpus)
    return energy + held.scaled(min(1.0, max(0.0, occupied_J - used.value) / held.value))
