"""Finds training rows that also occur, exactly or nearly, in a held-out part."""

import functools
from collections.abc import Iterator, Sequence
from itertools import islice

from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

from greenllm.data.cleaning import normalised

NGRAM = 3
PERMUTATIONS = 128
HASHED = 4096  # 3-grams permuted at once, since each takes 1 kB


def leaking(texts: Sequence[str], held_out: Sequence[str], near: float | None) -> tuple[set[int], set[int]]:
    """Return the indices of `texts` that equal a held-out text, and of others that nearly equal one.

    Equal means the same words. Nearly equal means that the sets of character 3-grams have a Jaccard similarity of at
    least `near` (None: not searched). MinHash with locality-sensitive hashing (Broder 1997) finds candidates, whose
    similarity is then computed exactly. So no pair below `near` is returned; with 128 permutations, a pair at or above
    it is rarely missed.
    """
    known = {normalised(text) for text in held_out}
    keys = [normalised(text) for text in texts]
    equal = {index for index, key in enumerate(keys) if key in known}
    if near is None or not known:
        return equal, set()
    # More candidates rather than fewer; a threshold of 1 would leave too few bands.
    index = MinHashLSH(threshold=min(near, 0.9), num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    # A cache of the most compared: the 3-grams of all texts would take a hundred times the memory of the texts.
    grams = functools.lru_cache(maxsize=1024)(_grams)
    for key, sketch in _sketched(sorted(known)):
        index.insert(key, sketch)
    near_equal = set()
    rest = [number for number in range(len(keys)) if number not in equal]
    for number, (key, sketch) in zip(rest, _sketched([keys[number] for number in rest]), strict=True):
        candidates = index.query(sketch)
        own = _grams(key) if candidates else frozenset()
        if any(_jaccard(own, grams(candidate)) >= near for candidate in candidates):
            near_equal.add(number)
    return equal, near_equal


def _grams(text: str) -> frozenset[str]:
    padded = f" {text} "
    return frozenset(padded[start : start + NGRAM] for start in range(max(1, len(padded) - NGRAM + 1)))


def _sketched(texts: Sequence[str]) -> Iterator[tuple[str, MinHash]]:
    """Yield each text with its sketch."""
    empty = MinHash(num_perm=PERMUTATIONS, seed=1)
    for text in tqdm(texts, desc="near-duplicates", unit=" rows", mininterval=5, delay=2):
        sketch, grams = empty.copy(), iter(_grams(text))
        while some := list(islice(grams, HASHED)):
            sketch.update_batch(gram.encode() for gram in some)
        yield text, sketch


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    both = len(first & second)
    return both / (len(first) + len(second) - both)
