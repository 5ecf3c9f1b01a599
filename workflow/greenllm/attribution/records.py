"""Validates a ledger's start and end record: a damaged one cannot be relied on (format: docs/reference/ledger.md)."""

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from greenllm.ledger.file import HOST_COLUMNS, SCHEMA, counter_columns
from greenllm.ledger.records import EndRecord, StartRecord

Record = TypeVar("Record", StartRecord, EndRecord)

_START, _END = TypeAdapter(StartRecord), TypeAdapter(EndRecord)


class DamagedRecordError(ValueError):
    """A record cannot be relied on; the message says why."""


def start_record(record: dict[str, Any] | None) -> StartRecord:
    """Return a start record, typed. Raises DamagedRecordError where it is missing or damaged."""
    if record is None:
        raise DamagedRecordError("no start record")
    if (schema := record.get("schema")) != SCHEMA:
        raise DamagedRecordError(f"its schema is {schema!r}; expected {SCHEMA}, which this version of greenllm reads")
    start = _validated(_START, record)
    if fault := _fault(start):
        raise DamagedRecordError(f"start record's {fault}")
    return start


def end_record(record: dict[str, Any]) -> EndRecord:
    """Return an end record, typed. Raises DamagedRecordError where it is damaged."""
    return _validated(_END, record)


def _validated(adapter: TypeAdapter[Record], record: dict[str, Any]) -> Record:
    try:
        return adapter.validate_python(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        fault = f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise DamagedRecordError(f"{record['record']} record's {fault}") from None


def _fault(start: StartRecord) -> str | None:
    """Return which parts of a start record contradict each other; None if none do."""
    if start.parent is not None and not start.id.startswith(f"{start.parent}."):
        return f"id is not that of its parent {start.parent}, a dot and a suffix"
    needed = dict.fromkeys(HOST_COLUMNS)
    for sensor in start.sensors:
        name = f"sensor {sensor.component} {sensor.device}"
        if sensor.counts:
            needed |= dict.fromkeys(counter_columns(sensor.component, sensor.device))
        for term in sensor.terms:
            if term.parameter not in start.parameters:
                return f"parameters lack {term.parameter}, which {name} names"
        if sensor.uses("counter") and not sensor.counts:
            return f"{name} counts, but has no counter"
    if missing := [column for column in needed if column not in start.columns]:
        return f"columns lack {', '.join(missing)}"
    if len(set(start.columns)) < len(start.columns):
        return "columns name one twice"
    return None
