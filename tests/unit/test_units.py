"""Quantities: numbers with units, in um, s and molecules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exodiff.config.units import is_quantity, parse_quantity
from exodiff.core.dimensions import DIMENSIONLESS, LENGTH, PER_TIME, PER_VOLUME, TIME, VOLUME, dimension
from exodiff.core.errors import ConfigError
from exodiff.core.syntax import number_text


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("60 /h", 60 / 3600, PER_TIME),
        ("60 1/h", 60 / 3600, PER_TIME),
        ("1e9 /mL", 1e-3, PER_VOLUME),
        ("3 mPa*s", 3e-9, dimension(kg=1, um=-1, s=-1)),
        ("3 mPa s", 3e-9, dimension(kg=1, um=-1, s=-1)),
        ("1e-4 um^3/s", 1e-4, dimension(um=3, s=-1)),
        ("1e-4 µm**3/s", 1e-4, dimension(um=3, s=-1)),
        ("3 uM", 3 * 602.214076, PER_VOLUME),
        ("1 nM", 0.602214076, PER_VOLUME),
        ("1 mol", 6.02214076e23, DIMENSIONLESS),
        ("20 molecules", 20, DIMENSIONLESS),
        ("5 %", 0.05, DIMENSIONLESS),
        ("24 h", 86400, TIME),
        ("24h", 86400, TIME),
        ("10 min", 600, TIME),
        ("0.5 mL", 5e11, VOLUME),
        ("20 um", 20, LENGTH),
        ("-3 nm", -3e-3, LENGTH),
        ("2 /(um^3 s)", 2, dimension(um=-3, s=-1)),
        ("2 /um^3/s", 2, dimension(um=-3, s=-1)),
        ("40 mmHg", 40 * 133.322387415e-6, dimension(kg=1, um=-1, s=-2)),
        ("310 K", 310, dimension(K=1)),
        ("7", 7, DIMENSIONLESS),
    ],
)
def test_a_quantity_is_converted_to_internal_units(text, value, expected):
    found, its_dimension = parse_quantity(text, "w")
    assert found == pytest.approx(value, rel=1e-15)
    assert its_dimension == expected
    assert is_quantity(text)


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_in_internal_units_reads_back_to_the_same_bits(value):
    assert parse_quantity(f"{number_text(value)} 1/(um^3 s)", "w") == (value, dimension(um=-3, s=-1))


@pytest.mark.parametrize(
    "text", ["2 / k_on", "2 * k", "2 / k", "2 + 3", "k_on", "2 um + 3", "2 max(a, b)", "hill", "", "1 h)"]
)
def test_what_is_no_number_with_a_unit_is_no_quantity(text):
    assert not is_quantity(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10 umm", "'um'"),
        ("3 /hh", "'h'"),
        ("3 hourz", "'hour'"),
        ("3 parsecs", "'parsecs'"),
        ("3 um^99", "um^99"),
        ("3 um^x", "unknown unit"),
        ("3 (um", "unknown unit"),
        ("3 /", "unknown unit"),
        ("fast", "not a quantity"),
        ("1e999 s", "too large"),
        ("1e9999999999 s", "unknown unit"),
        ("3 " + "um " * 100, "not a quantity"),
        ("3 __import__('os')", "unknown unit"),
        ("3 $", "unknown unit"),
        ("nan s", "not a quantity"),
    ],
)
def test_a_bad_quantity_is_refused_with_the_nearest_unit(text, hint):
    with pytest.raises(ConfigError) as refused:
        parse_quantity(text, "run.duration")
    assert str(refused.value).startswith("run.duration: ")
    assert hint in str(refused.value)
    assert "\n" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789.eE+-*/^() umshLMgKµ%\n_", max_size=40))
def test_any_text_gives_a_quantity_or_a_config_error(text):
    try:
        parse_quantity(text, "w")
    except ConfigError:
        return
    assert is_quantity(text)
