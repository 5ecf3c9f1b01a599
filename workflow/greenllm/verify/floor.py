"""No job took fewer joules than its operations can take on any machine of today."""

from collections.abc import Mapping
from typing import Any

from greenllm.attribution.jobs import JobEnergy
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.study.results import Key
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

# The least energy of an operation (multiplication or addition), J. NVIDIA's Blackwell Ultra, the most frugal
# accelerator with published figures, does 15e15 dense 4-bit operations a second at a board power of 1,400 W (NVIDIA,
# "Inside NVIDIA Blackwell Ultra", 2025): 0.093 pJ. A ninth of that, for accelerators to come and for operations that
# pruning or sparsity leaves out though they are counted.
# Landauer's limit (kT ln 2 = 2.9e-21 J a bit at 300 K) would find nothing.
FLOOR_J = 1e-14
# The same for processors without an accelerator. Intel's Xeon 6980P does 128 cores · 2,048 operations a cycle (AMX,
# bf16) · 3.2 GHz (its all-core turbo) = 0.84e15 a second at a TDP of 500 W (Intel ARK; AMX: Intel's optimization
# manual): 0.6 pJ; 8-bit operations take half of that. A sixth of the latter.
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
