"""The share of a model that pruning removes."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError


def _some_but_not_all(share: float) -> float:
    if not 0 < share < 1:
        what = "nothing" if share == 0 else "everything" if share == 1 else "no part of a whole"
        raise PydanticCustomError("share", f"would remove {what}; expected a share above 0 and below 1, such as 0.5")
    return share


# The bounds in the schema are for editors.
Removed = Annotated[
    float,
    AfterValidator(_some_but_not_all),
    Field(json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
]
