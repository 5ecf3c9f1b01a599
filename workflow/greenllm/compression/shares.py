"""How many layers, heads and neurons shares of them are: plain arithmetic, so that a study can be checked with it."""

from dataclasses import dataclass

from greenllm.errors import UserError
from greenllm.training.model_sizes import HEAD_WIDTH, Size

# Feed-forward widths stay multiples of this block, which kernels and quantisers process at once.
NEURONS = 32
# Tolerance of a share given to three digits: 0.333 means one of three.
HALF_A_THOUSANDTH = 5e-4


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder's layers, which are all equal."""

    layers: int
    groups: int
    """Key-value heads; each is kept or removed together with the `heads_per_group` query heads that it serves."""
    heads_per_group: int
    head_width: int
    feed_forward: int


def shape_of(size: Size) -> Shape:
    """Return the shape of a model from scratch, each of whose heads has keys and values of its own."""
    return Shape(size.layers, size.heads, 1, HEAD_WIDTH, size.feed_forward)


@dataclass(frozen=True)
class Remaining:
    """How many layers are kept, and in each how many key-value groups and feed-forward neurons."""

    layers: int
    groups: int
    neurons: int


def remaining(shape: Shape, *, heads: float, feed_forward: float, layers: float) -> Remaining:
    """Return what is left if these shares (0 to 1) of heads, neurons and layers are removed.

    Raises `UserError` if a share is not a whole number of key-value groups or layers.
    """
    return Remaining(
        layers=shape.layers - _whole(layers, shape.layers, "layers", "layers"),
        groups=shape.groups
        - _whole(heads, shape.groups, "heads", f"key-value groups of {shape.heads_per_group} heads"),
        neurons=shape.feed_forward - _neurons(feed_forward, shape.feed_forward),
    )


def _whole(share: float, count: int, key: str, what: str) -> int:
    """Return the number of parts in a share of `count`; raise `UserError` if that is not a whole number."""
    part = round(share * count)
    if share == 0 or (abs(part / count - share) < HALF_A_THOUSANDTH and 0 < part < count):
        return part
    possible = ", ".join(f"{part / count:.3g}" for part in range(1, count))
    raise UserError(
        f"prune.{key}: {share:g} of {count} {what} is no whole number of them; "
        + (f"expected a share such as {possible}" if possible else "none can be removed; leave it out")
    )


def _neurons(share: float, count: int) -> int:
    """Return how many of `count` neurons to remove; a multiple of `NEURONS` is kept a multiple."""
    step = NEURONS if count % NEURONS == 0 else 1
    removed = round(share * count / step) * step
    if share and not 0 < removed < count:
        raise UserError(
            f"prune.feed_forward: {share:g} of {count} neurons removes {'nothing' if not removed else 'everything'}, "
            f"in steps of {step}; expected a share from {step / count:.2g} to {1 - step / count:.2g}"
        )
    return removed
