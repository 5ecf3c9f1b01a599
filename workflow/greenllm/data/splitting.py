"""Splits that hold out whole groups."""

from collections.abc import Sequence

from sklearn.model_selection import GroupShuffleSplit

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
    split = GroupShuffleSplit(n_splits=1, test_size=number, random_state=seed)
    # Ranks instead of texts: each text in a NumPy array takes as much memory as the longest.
    rank = {group: number for number, group in enumerate(sorted(set(groups)))}
    ranks = [rank[group] for group in groups]
    kept, held = next(split.split(ranks, groups=ranks))
    return sorted(map(int, kept)), sorted(map(int, held))
