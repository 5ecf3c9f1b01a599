"""The host's memory modules, as its firmware lists them (SMBIOS, in sysfs for root alone)."""

from dataclasses import dataclass

from greenllm.meter.host import sysfs

# Memory types of structure type 17 (DMTF DSP0134, System Management BIOS reference specification, table "Memory Device:
# Type"). Others, such as the "RAM" of virtual machines, are of no known generation.
GENERATIONS = {0x18: "DDR3", 0x1A: "DDR4", 0x22: "DDR5"}
MEMORY_DEVICE, END_OF_TABLE = 17, 127
SIZE, TYPE, EXTENDED_SIZE = 0x0C, 0x12, 0x1C  # offsets in a structure of type 17
UNKNOWN_SIZE, SEE_EXTENDED_SIZE, IN_KIB = 0xFFFF, 0x7FFF, 0x8000


@dataclass(frozen=True)
class Module:
    """A memory module. `generation`: DDR3, DDR4 or DDR5, None where it is another; `size_MiB`: None if unknown."""

    generation: str | None
    size_MiB: int | None


def memory_modules() -> list[Module]:
    """Return the modules that are plugged in; none where the firmware's table cannot be read, or is damaged."""
    try:
        return modules_of((sysfs() / "firmware/dmi/tables/DMI").read_bytes())
    except (OSError, ValueError):
        return []


def modules_of(table: bytes) -> list[Module]:
    """Return the modules in an SMBIOS table (DSP0134, section "Memory Device (Type 17)").

    Raises ValueError where a structure is cut short.
    """
    modules, at = [], 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        strings = table.find(b"\0\0", at + length)  # a structure's texts end with an empty one
        if length < 4 or strings < 0:
            raise ValueError(f"SMBIOS structure at byte {at} is cut short")
        if kind == MEMORY_DEVICE and length > TYPE and (module := _module(table[at : at + length])):
            modules.append(module)
        if kind == END_OF_TABLE:
            break
        at = strings + 2
    return modules


def _module(structure: bytes) -> Module | None:
    """Return the module of a structure of type 17; None where nothing is plugged in."""
    size: int | None = int.from_bytes(structure[SIZE : SIZE + 2], "little")
    if not size:
        return None
    if size == SEE_EXTENDED_SIZE:
        size = int.from_bytes(structure[EXTENDED_SIZE : EXTENDED_SIZE + 4], "little") & 0x7FFFFFFF or None
    elif size == UNKNOWN_SIZE:
        size = None
    elif size & IN_KIB:
        size = (size & ~IN_KIB) // 1024
    return Module(GENERATIONS.get(structure[TYPE]), size)
