"""The output of a meter outside the host is read as watts or joules; ambiguous output is refused."""

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


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *[(text, "") for text in ("power_kW: 0.12", "power in kW: 0.12", "kilowatts = 0.12", "0.12 kW")],
        *[
            (text, "")
            for text in ('{"powerKW":0.12}', '{"power_kw_avg":0.12}', '{"kw_power":0.12}', '{"kilowatts":0.12}')
        ],
        *[
            (text, "")
            for text in (
                '{"kilo_watts":0.12}',
                '{"powerkw":0.12}',
                '{"PowerInKiloWatts":0.12}',
                "Power (kW)\n0.12",
                "milliwatts: 120000",
            )
        ],
        *[("Power (kW): 0.12", key) for key in ("Power", "Power (kW)", "1")],
        ("total_power_kw 0.12", "total_power_kw"),
        ("kW 0.12", "kW"),
        ("PSU 1 120 W", "PSU 1"),
        ("power: 0.12\nunit: kW", "power"),
        ("power_kw 1: 0.12", "2"),
        ("power 0.12 (kW), volts 230", "power"),
        ('{"power (kW)":0.12,"v":1}', "power (kW)"),
        ('{"power_kW":{"avg":0.12,"n":3}}', "avg"),
        ('{"x":{"power":0.12},"unit":"kW"}', "x.power"),
        ('{"x":[{"power":0.12}],"unit":"kW"}', "1"),
        ('{"power":0.12,"power_unit":"kW","temperature":20,"temperature_unit":"C"}', "power"),
        ('{"state":"0.12","attributes":{"unit_of_measurement":"kW"}}', "state"),
        ("[120, 5]", "1"),
        ('{"a":5,"b":{"power":120}}', "2"),
        ('# TYPE plug_watts gauge\nplug_watts{relay="0"} 120', "plug_watts"),
        ('plug_watts{relay="0"} 120', ""),
        ('plug_power{unit="kW",relay="0"} 0.12', "plug_power"),
        ("energy 5 kWh, power 120", "power"),
    ],
)
def test_a_unit_is_read_wherever_the_source_says_it(text, key):
    assert reading(text, "power", key) == pytest.approx(120)


@pytest.mark.parametrize(
    "text",
    ["energy_kwh: 5", '{"energyKwh":5}', '{"energy_kilowatt_hours":5}', '{"kilowattHours":5}', '{"kilojoules":18000}'],
)
def test_a_unit_of_energy_is_read_in_a_name(text):
    assert reading(text, "energy") == pytest.approx(18e6)


@pytest.mark.parametrize(
    ("text", "quantity", "key", "said"),
    [
        ('{"voltage_mv":230000,"power_mw":115000}', "power", "power_mw", "power_mw"),
        ('{"voltage_mv":230000,"power_mw":115000}', "power", "voltage_mv", "voltage_mv"),
        ('{"power_mw":120000}', "power", "", "power_mw"),
        ('{"powerMw":250}', "power", "", "powerMw"),
        ('{"powerMW":250}', "power", "", "powerMW"),
        ('{"POWER_MW":250}', "power", "", "POWER_MW"),
        ('{"power_mva":5}', "power", "", "power_mva"),
        ('{"power_mw":{"now":5}}', "power", "now", "mw"),
        ("power_mw: 120000", "power", "", "power_mw"),
        ("power_mw 120000", "power", "1", "power_mw"),
        ('{"energy_mwh":5}', "energy", "", "energy_mwh"),
        ('{"total_energy_mj":5}', "energy", "", "total_energy_mj"),
        ("power in kW or W: 5", "power", "", "kW and W"),
        ("power_kW: 5 W", "power", "", "two units"),
        ('{"power_kw":5,"unit":"W"}', "power", "power_kw", "two units"),
        ('{"outletkW":5}', "power", "outletkW", "two units"),
        ('{"x":{"power":5},"unit":"mw"}', "power", "x.power", "mw"),
        ("[120, 5]", "power", "", "(1, 2)"),
        ('{"5":1,"1":7}', "power", "1", "a name or a place"),
        *[
            (f"{name}: 5", "power", "", name)
            for name in ("power_factor", "power_limit", "power_on_hours", "power cycles")
        ],
        *[(f'{{"{name}":5}}', "power", "", name) for name in ("power_state", "apparent_power", "power_limit_w")],
        ("- 5 W", "power", "", "may be negative"),
        ("Power \u2013 5 W", "power", "Power", "may be negative"),
        *[("12 345 W", "power", key, "a blank may separate thousands") for key in ("", "1", "2")],
        ("power 12 345.5 W", "power", "power", "a blank may separate thousands"),
        ('{"p":1e400}', "power", "p", "too large"),
    ],
)
def test_a_unit_or_a_name_in_doubt_is_refused_and_named(text, quantity, key, said):
    with pytest.raises(ReadingError) as caught:
        reading(text, quantity, key)
    assert said in str(caught.value)
