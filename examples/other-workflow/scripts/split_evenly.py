"""Choose words whose counts add up to half of all words, or as near to it as possible."""
# ruff: noqa: F821 - Snakemake defines `snakemake`

from pathlib import Path

from greenllm.meter import Meter

with Meter(rule=snakemake.rule, wildcards=snakemake.wildcards, threads=snakemake.threads) as meter:
    lines = Path(snakemake.input[0]).read_text().splitlines()
    counts = {word: int(count) for count, word in map(str.split, lines)}
    chosen: dict[int, list[str]] = {0: []}  # words for each possible sum of counts
    for word, count in counts.items():
        chosen |= {total + count: [*words, word] for total, words in chosen.items() if total + count not in chosen}
    in_all = sum(counts.values())
    nearest = min(chosen, key=lambda total: abs(2 * total - in_all))
    Path(snakemake.output[0]).write_text(f"{nearest} of {in_all}: {' '.join(chosen[nearest])}\n")
    meter.work(words=in_all)
