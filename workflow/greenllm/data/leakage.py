"""Training rows that also stand, nearly or exactly, in a held-out part."""

from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

from greenllm.data.cleaning import normalised

NGRAM = 3
PERMUTATIONS = 128


def leaking(texts: Sequence[str], held_out: Sequence[str], near: float | None) -> tuple[set[int], set[int]]:
    """Return which of `texts` (by index) equal a held-out text, and which others are nearly equal to one.

    Equal means the same words; nearly equal a Jaccard similarity of the sets of character 3-grams of at least `near`
    (null: not looked for). MinHash finds the candidates (Broder 1997, and locality-sensitive hashing), whose
    similarity is then computed exactly, so nothing below `near` is taken; with 128 permutations a pair at or above
    it is missed rarely.
    """
    known = {normalised(text) for text in held_out}
    keys = [normalised(text) for text in texts]
    equal = {index for index, key in enumerate(keys) if key in known}
    if near is None or not known:
        return equal, set()
    # Rather more candidates than fewer; and at 1 the bands would be too few.
    index = MinHashLSH(threshold=min(near, 0.9), num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    grams = {key: _grams(key) for key in sorted(known)}
    for key, sketch in zip(grams, _sketches(list(grams.values())), strict=True):
        index.insert(key, sketch)
    rest = [number for number in range(len(keys)) if number not in equal]
    near_equal = set()
    rest_grams = [_grams(keys[number]) for number in rest]
    for number, own, sketch in zip(rest, rest_grams, _sketches(rest_grams), strict=True):
        if any(_jaccard(own, grams[candidate]) >= near for candidate in index.query(sketch)):
            near_equal.add(number)
    return equal, near_equal


def _grams(text: str) -> frozenset[str]:
    padded = f" {text} "
    return frozenset(padded[start : start + NGRAM] for start in range(max(1, len(padded) - NGRAM + 1)))


def _sketches(grams: Sequence[frozenset[str]]) -> list[MinHash]:
    sets = (
        [gram.encode() for gram in own]
        for own in tqdm(grams, desc="near-duplicates", unit=" rows", mininterval=5, delay=2)
    )
    return list(MinHash.generator(sets, num_perm=PERMUTATIONS, seed=1))


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    both = len(first & second)
    return both / (len(first) + len(second) - both)
