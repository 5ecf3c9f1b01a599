"""What a meter outside the host says, as watts or joules; what could mean two things is refused."""

import pytest

from greenllm.meter.sensors.reading import reading
from greenllm.meter.units import ReadingError, scale

IPMI = """
    Instantaneous power reading:                   220 Watts
    Minimum during sampling period:                 10 Watts
"""
PLUG = '{"sys": {"id": 7}, "emeters": [{"power": {"value": 0.5, "unit": "kW"}, "total_kWh": 12.5}, {"power_mW": 250}]}'


@pytest.mark.parametrize(
    ("text", "quantity", "key", "number"),
    [
        ("12.5\n", "power", "", 12.5),
        ("+1.25e2", "power", "", 125),
        ("power=3.5e2 W.", "power", "", 350),
        ("1e3W", "power", "", 1000),
        ("1.5 MW", "power", "", 1.5e6),
        ("1.5 mW", "power", "", 1.5e-3),
        ("250 µW", "power", "", 250e-6),
        ("3 kilowatts", "power", "", 3000),
        ("1'234.5 W", "power", "", 1234.5),
        ("1.234,5 W", "power", "", 1234.5),
        ("1,234.5 W", "power", "", 1234.5),
        ("12\u202f345 W", "power", "", 12345),
        ("3 kWh", "energy", "", 10.8e6),
        ("3 KWH", "energy", "", 10.8e6),
        ("3 kW h", "energy", "", 10.8e6),
        ("2 watt hours", "energy", "", 7200),
        ("5 mJ", "energy", "", 5e-3),
        ("5 MJ", "energy", "", 5e6),
        ("ups.realpower: 123", "power", "", 123),
        ('{"apower": 123.4}', "power", "", 123.4),
        (IPMI, "power", "Instantaneous power reading", 220),
        (IPMI, "power", "2", 10),
        (PLUG, "power", "emeters.0.power.value", 500),
        (PLUG, "power", "value", 500),
        (PLUG, "power", "power_mW", 0.25),
        (PLUG, "energy", "total_kWh", 45e6),
    ],
)
def test_one_number_is_read_with_its_unit(text, quantity, key, number):
    assert reading(text, quantity, key) == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "quantity", "key"),
    [
        *[(text, "power", "") for text in ("", "no reading", "PSU1: n/a", "NaN", "-inf W", "null", "true")],
        *[(text, "power", "") for text in ("1,234 W", "12,5 W", "12 345 W", "10.0.0.7", "88 W or 90 W", "230 V 12 W")],
        *[
            (text, "power", "")
            for text in ("-3 W", "1e999 W", "0x7B", "1.5 mw", "12 VA", "50 %", "12 watt hours", "3 kWh")
        ],
        *[
            (text, "power", "")
            for text in ("HTTP 503 Service Unavailable", "error: 503", "curl: (7) failed", "in 10 s")
        ],
        *[(text, "power", "") for text in ('{"error": 503}', '{"power": 1, "power": 2}', '{"apower": 123.', IPMI)],
        *[(text, "energy", "") for text in ("220 W", "3 mwh", "power: 3")],
        *[(PLUG, "power", key) for key in ("", "power", "nothing", "emeters.0.total_kWh")],
        ('{"power": NaN}', "power", "power"),
        ('{"power": true}', "power", "power"),
        (IPMI, "power", "3"),
        (IPMI, "power", "0"),
        (IPMI, "power", "Maximum"),
    ],
)
def test_what_could_mean_two_things_or_nothing_is_refused_in_one_line(text, quantity, key):
    with pytest.raises(ReadingError) as caught:
        reading(text, quantity, key)
    assert "\n" not in str(caught.value)


def test_a_unit_of_one_quantity_is_none_of_the_other():
    assert (scale("kW", "power"), scale("kW", "energy")) == (1000, None)
    assert (scale("kWh", "energy"), scale("kWh", "power")) == (3.6e6, None)
