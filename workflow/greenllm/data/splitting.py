"""Splits that hold out whole groups."""

from collections.abc import Sequence

import numpy as np

from greenllm.errors import UserError


def hold_out(groups: Sequence[str], share: float, seed: int, what: str) -> tuple[list[int], list[int]]:
    """Return the indices kept and those held out: about `share` of the groups, no group in both, ascending.

    Raises UserError if one of the two would be empty.
    """
    distinct = len(set(groups))
    if share == 0:
        return list(range(len(groups))), []
    if distinct < 2 or share == 1:
        raise UserError(
            f"preprocess.{what}_share: {share:g} of {distinct} group{'' if distinct == 1 else 's'} of rows can't be "
            "held out with something left on both sides; expected more rows with different prompts, or a share below 1"
        )
    number = min(max(1, round(share * distinct)), distinct - 1)
    # As scikit-learn's GroupShuffleSplit, whose import alone takes 80 MB. Groups by rank: each text in a NumPy array
    # would take as much memory as the longest.
    drawn = {int(rank) for rank in np.random.RandomState(seed).permutation(distinct)[:number]}
    held_groups = {group for rank, group in enumerate(sorted(set(groups))) if rank in drawn}
    kept = [index for index, group in enumerate(groups) if group not in held_groups]
    held = [index for index, group in enumerate(groups) if group in held_groups]
    return kept, held
