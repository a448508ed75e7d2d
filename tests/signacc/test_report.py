import pytest

from signacc.report import _bar, quantity, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"), (1, "1 s"), (999.4, "999 s"), (999.6, "1 ks"), (0.00123, "1.23 ms"),
        (4.2e-12, "4.2 ps"), (1e-15, "0.001 ps"), (1.5e9, "1.5 Gs"), (2e15, "2e+03 Ts"),
    ],
)
def test_si(value, text):
    assert si(value, "s") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"), (999.4, "999"), (999.5, "1,000"), (999.96, "1,000"),
        (1000.4, "1,000"), (1234567.8, "1,234,568"),
    ],
)
def test_quantity(value, text):
    assert quantity(value) == text


def test_a_timeline_has_each_bound_for_its_share():
    operators = [
        {"phase": "decode", "time_s": 3.0, "bound_by": "array"},
        {"phase": "decode", "time_s": 1.0, "bound_by": "memory"},
        {"phase": "prefill", "time_s": 9.0, "bound_by": "link"},
    ]
    assert _bar({"operators": operators}, {"name": "decode"}) == "a" * 38 + "m" * 12
    assert _bar({"operators": operators}, {"name": "prefill"}) == "l" * 50
