"""No job took fewer joules than its operations can take on any machine of today."""

from collections.abc import Mapping
from typing import Any

from greenllm.attribution.jobs import JobEnergy
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.study.results import Key
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# The least energy of an operation (multiplication or addition), J.
# NVIDIA's Blackwell Ultra does 15e15 dense 4-bit operations a second (NVIDIA, "Inside NVIDIA Blackwell Ultra: The Chip
# Powering the AI Factory Era", developer.nvidia.com/blog, 2025; read) and draws 1,400 W (Tom's Hardware, "Nvidia shares
# Blackwell Ultra's secrets", 2025; read): 0.093 pJ. Its successor Rubin is announced with 50e15, at 1.8 to 2.3 kW by
# analysts that the press of 2026 quotes and NVIDIA has not confirmed: 0.04 pJ. A ninth of the first figure, a quarter
# of the second, leaves room for operations that pruning or sparsity leaves out though they are counted. How much room
# is a choice, not a measurement.
# Landauer's limit (kT ln 2 = 2.9e-21 J a bit at 300 K) would find nothing.
FLOOR_J = 1e-14
# The same for processors without an accelerator. With AMX, a core of an Intel Xeon does 1,024 bf16 or 2,048 8-bit
# operations a cycle (Intel, "Accelerate AI Workloads with Intel AMX", p. 4, as quoted in PyTorch's recipe on AMX; read
# there). A Xeon 6980P has 128 cores and a TDP of 500 W, and at 3.2 GHz (press reports of 2024, of lists from before its
# launch; Intel's own page was not at hand) would do 0.42e15 bf16 or 0.84e15 8-bit operations a second: 1.2 or 0.6 pJ
# each. A twelfth of the latter, again a choice.
PROCESSOR_FLOOR_J = 5e-14


def check_floor(evidence: Evidence) -> CheckOutcome:
    """Compare each attempt's energy with the least that its operations can take."""
    check = Check("floor", "no job took fewer joules than its operations can", "attempts")
    per_token = _operations_per_token(evidence)
    unknown = 0
    for job in evidence.attribution_again.jobs:
        operations = _operations(job, per_token)
        if operations is None or job.energy is None or job.status == "running":
            unknown += 1
            continue
        floor_J = operations * (FLOOR_J if job.attempt.gpus else PROCESSOR_FLOOR_J)
        check.expect(
            job.energy.high >= floor_J, f"ledger/{job.attempt.path}", "fewer joules than its operations can take",
            f"at least {floor_J:.3g} J for {operations:.3g} operations", f"{job.energy.high:.3g} J",
        )  # fmt: skip
    if unknown:
        check.skip(f"{unknown} attempts whose operations or whose energy are unknown")
    return check.outcome()


def _operations_per_token(evidence: Evidence) -> Mapping[Key, float]:
    """Return the operations that each model takes for a token, from its manifest."""
    try:
        manifests = evidence.study.manifests
    except UserError:
        return {}
    return {key: one.forward_flops.per_token for key, one in manifests.items() if one.forward_flops}


def _operations(job: JobEnergy, per_token: Mapping[Key, float]) -> float | None:
    """Return the operations that an attempt counted, or those of the tokens that it answered with."""
    work: Mapping[str, Any] = job.work
    if work.get("flops"):
        return float(work["flops"])
    names = job.wildcards.get("experiment"), job.wildcards.get("recipe"), job.wildcards.get("seed")
    if job.rule not in ("evaluate", "serve") or None in names or not work.get("tokens"):
        return None
    key = str(names[0]), str(names[1]).removesuffix("~twin"), int(str(names[2]))
    return per_token[key] * float(work["tokens"]) if key in per_token else None
