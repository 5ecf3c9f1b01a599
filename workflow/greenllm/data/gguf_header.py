"""The header of a GGUF file, read in a tenth of a second: its settings, and how its tensors are stored.

Format: docs/gguf.md of ggml. gguf's own GGUFReader takes seconds, since it makes arrays of each token of a vocabulary.
"""

import math
import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAGIC, VERSIONS = b"GGUF", (2, 3)
TEXT, LIST = 8, 9
# The other types of a setting, by number, as struct names them.
NUMBERS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
ALIGNMENT = 32  # bytes, unless general.alignment names another


@dataclass(frozen=True)
class GgufHeader:
    """The settings of a GGUF file without those that are lists, and its tensors, counted by type (F32, Q4_1, …)."""

    settings: Mapping[str, object]
    tensors: Mapping[str, int]

    def text(self, key: str) -> str | None:
        """Return a setting that is text; None where it is missing or something else."""
        value = self.settings.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """Return a setting that is a whole number; None where it is missing or something else."""
        value = self.settings.get(key)
        return value if isinstance(value, int) else None


def read_header(path: Path) -> GgufHeader:
    """Return the header of a GGUF file whose tensors are all there.

    Raises ValueError if it is no GGUF file or was cut off, OSError if it can't be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return _read(content)
        except struct.error:
            raise ValueError("ends within its header") from None


class _Reading:
    """A place in a file's content, which moves on with each value that is read."""

    def __init__(self, content: mmap.mmap, order: str, place: int) -> None:
        self.content, self.order, self.place = content, order, place

    def number(self, kind: str) -> int | float | bool:
        (value,) = struct.unpack_from(self.order + kind, self.content, self.place)
        self.place += struct.calcsize(self.order + kind)
        return value  # type: ignore[no-any-return]

    def whole(self, kind: str) -> int:
        return int(self.number(kind))

    def text(self) -> str:
        start = self.place + 8
        self.place = start + self.whole("Q")
        return self.content[start : self.place].decode()

    def pass_list(self) -> None:
        kind, length = self.whole("I"), self.whole("Q")
        if kind == TEXT:
            size_of = struct.Struct(self.order + "Q").unpack_from
            content, place = self.content, self.place
            for _ in range(length):
                place += 8 + size_of(content, place)[0]
            self.place = place
        else:
            self.place += length * struct.calcsize(self.order + _number(kind))


def _read(content: mmap.mmap) -> GgufHeader:
    if content[:4] != MAGIC:
        raise ValueError("does not begin with GGUF")
    # A file of a big-endian machine has its version, a small number, in the upper half.
    (version,) = struct.unpack_from("<I", content, 4)
    reading = _Reading(content, "<" if version & 0xFFFF else ">", 4)
    if (version := reading.whole("I")) not in VERSIONS:
        raise ValueError(f"has the version {version} of the format; expected 2 or 3")
    tensors, length = reading.whole("Q"), reading.whole("Q")
    settings: dict[str, object] = {}
    for _ in range(length):
        name, kind = reading.text(), reading.whole("I")
        if kind == LIST:
            reading.pass_list()
        else:
            settings[name] = reading.text() if kind == TEXT else reading.number(_number(kind))
    counts, end = _tensors(reading, tensors)
    alignment = settings.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError("general.alignment is no number of bytes")
    if tensors and -(-reading.place // alignment) * alignment + end > len(content):
        raise ValueError("ends within its tensors")
    return GgufHeader(settings, counts)


def _tensors(reading: _Reading, number: int) -> tuple[Mapping[str, int], int]:
    """Return how many tensors there are of each type, and where the last one ends, in bytes from the first."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    counts: Counter[str] = Counter()
    end = 0
    for _ in range(number):
        reading.text()  # its name
        shape = [reading.whole("Q") for _ in range(reading.whole("I"))]
        kind, start = GGMLQuantizationType(reading.whole("I")), reading.whole("Q")
        weights, size = GGML_QUANT_SIZES[kind]  # in a block: so many weights take so many bytes
        end = max(end, start + math.prod(shape) // weights * size)
        counts[kind.name] += 1
    return counts, end


def _number(kind: int) -> str:
    if kind not in NUMBERS:
        raise ValueError(f"has a setting of the unknown type {kind}")
    return NUMBERS[kind]
