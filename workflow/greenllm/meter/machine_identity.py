"""The identity of this machine, by its hardware: two machines may have one name."""

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

from greenllm.meter.host import processor_identity, sysfs

PROCESSOR = (
    "vendor_id",
    "cpu family",
    "model",
    "stepping",
    "model name",
    "CPU implementer",
    "CPU part",
    "CPU revision",
)
PERMANENT = (
    "0"  # addr_assign_type of an address that is the card's own (Linux, Documentation/ABI/testing/sysfs-class-net)
)


def machine() -> dict[str, Any]:
    """Return the machine's identity: `processor`, and `network_cards`, the SHA-256 of their permanent addresses.

    Both survive reboots and new installations. /etc/machine-id does not: nodes that boot one image have the same, or
    a new one at each boot. A container with its own network sees no card, but does see the processor.
    """
    identity = processor_identity()
    cards = []
    for card in sorted((sysfs() / "class/net").glob("*")):
        with contextlib.suppress(OSError):
            if (card / "device").exists() and (card / "addr_assign_type").read_text().strip() == PERMANENT:
                cards.append(hashlib.sha256((card / "address").read_bytes().strip()).hexdigest())
    return {
        "processor": ", ".join(f"{name} {identity[name]}" for name in PROCESSOR if name in identity) or None,
        "network_cards": cards,
    }


def differ(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two identities are certainly of two machines; a part that either lacks is not compared."""
    if one is None or other is None:
        return False
    processors = {one["processor"], other["processor"]} - {None}
    cards, others = set(one["network_cards"]), set(other["network_cards"])
    return len(processors) > 1 or bool(cards and others and cards.isdisjoint(others))
