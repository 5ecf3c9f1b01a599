"""What a ledger's start and end records must say, or they cannot be relied on (format: greenllm/meter/README.md)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr, ValidationError

from greenllm.meter.ledger import HOST_COLUMNS, SCHEMA, counter_columns

Number = Annotated[FiniteFloat, Field(strict=True)]
Positive = Annotated[Number, Field(gt=0)]
# Unix time; later than the year 9999 it cannot be written as RFC 3339
WallClock = Annotated[Number, Field(ge=0, lt=253402300800)]
Word = Annotated[StrictStr, Field(min_length=1)]


class _Record(BaseModel):
    """What is not named here is not looked at."""

    model_config = ConfigDict(extra="ignore")


class _Term(_Record):
    parameter: StrictStr
    of: Literal["counter", "time", "busy"]
    factor: Number


class _Counter(_Record):
    unit_J: Positive
    wrap: Positive | None = None
    shared: StrictBool = True
    ticks: StrictBool = False
    max_W: Positive | None = None
    still_s: Positive | None = None


class _Gauge(_Record):
    unit_W: Positive
    mean_s: Annotated[Number, Field(ge=0)] = 0.0


class _Sensor(_Record):
    component: Literal["gpu", "cpu", "dram", "platform"]
    device: Word
    method: Word
    quality: Literal["measured", "modelled"]
    reason: StrictStr | None = None
    terms: list[_Term]
    counter: _Counter | None = None
    gauge: _Gauge | None = None


class _Parameter(_Record):
    value: Number
    low: Number
    high: Number
    unit: StrictStr
    source: StrictStr


class _Job(_Record):
    rule: StrictStr | None = None
    wildcards: dict[str, StrictStr | StrictInt | Number | StrictBool | None] = {}


class _Gpu(_Record):
    uuid: Word


class _Start(_Record):
    id: Word
    parent: StrictStr | None = None
    run_id: StrictStr | None = None
    host: Word
    boot_id: Word
    cpus: Annotated[StrictInt, Field(gt=0, lt=2**31)]
    job: _Job
    command: list[StrictStr] | None = None
    cwd: StrictStr | None = None
    config_hash: StrictStr | None = None
    inputs: dict[str, Any] | None = None
    wall_s: WallClock = 0.0
    monotonic_s: Number = 0.0
    interval_s: Positive
    reserved_cpus: Annotated[Number, Field(ge=0)] | None = None
    gpus: list[_Gpu] = []
    columns: list[StrictStr]
    sensors: list[_Sensor]
    parameters: dict[str, _Parameter]


class _End(_Record):
    status: Literal["succeeded", "failed", "killed"]
    ended: StrictStr | None = None
    wall_s: WallClock = 0.0
    monotonic_s: Number = 0.0
    cpu_s: Number | None = None
    outputs: dict[str, Any] | None = None
    work: dict[str, Any] = {}
    components: list[dict[str, Any]] = []


def start_fault(record: dict[str, Any]) -> str | None:
    """Return what makes a start record useless, None where it is sound."""
    if (schema := record.get("schema")) != SCHEMA:
        return f"its schema is {schema!r}; expected {SCHEMA}, which this version of greenllm reads"
    try:
        start = _Start.model_validate(record)
    except ValidationError as error:
        return f"start record's {_first(error)}"
    if start.parent is not None and not start.id.startswith(f"{start.parent}."):
        return f"start record's id is not that of its parent {start.parent}, a dot and a suffix"
    needed = dict.fromkeys(HOST_COLUMNS)
    for sensor in start.sensors:
        name = f"sensor {sensor.component} {sensor.device}"
        if sensor.counter or sensor.gauge:
            needed |= dict.fromkeys(counter_columns(sensor.component, sensor.device))
        for term in sensor.terms:
            if term.parameter not in start.parameters:
                return f"start record's parameters lack {term.parameter}, which {name} names"
            if term.of == "counter" and not (sensor.counter or sensor.gauge):
                return f"start record's {name} counts, but has no counter"
    if missing := [column for column in needed if column not in start.columns]:
        return f"start record's columns lack {', '.join(missing)}"
    if len(set(start.columns)) < len(start.columns):
        return "start record's columns name one twice"
    return None


def end_fault(record: dict[str, Any]) -> str | None:
    """Return what makes an end record useless, None where it is sound."""
    try:
        _End.model_validate(record)
    except ValidationError as error:
        return f"end record's {_first(error)}"
    return None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}"
