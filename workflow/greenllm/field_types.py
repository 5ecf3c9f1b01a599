"""Types of a record's fields: plain types with the constraints that pydantic checks where the record is read.

A module that writes records needs no pydantic: the constraints are data until pydantic asks for them.
"""

from collections.abc import Callable
from typing import Annotated, Any


class Exact:
    """No conversion (the text "1" is no number), and constraints by their names in pydantic's core schemas."""

    def __init__(self, **constraints: float | bool) -> None:
        self._constraints = constraints

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Return the schema of the plain type, with the constraints."""
        return {**handler(source), "strict": True, **self._constraints}


Number = Annotated[float, Exact(allow_inf_nan=False)]
Positive = Annotated[float, Exact(allow_inf_nan=False, gt=0)]
NotNegative = Annotated[float, Exact(allow_inf_nan=False, ge=0)]
Whole = Annotated[int, Exact()]
Flag = Annotated[bool, Exact()]
Text = Annotated[str, Exact()]
Word = Annotated[str, Exact(min_length=1)]
