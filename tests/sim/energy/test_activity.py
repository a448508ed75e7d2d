import pytest

from sim.energy import NET_CLASSES, UNCALIBRATED, Activity
from sim.errors import InputError
from sim.interval import Interval


def test_without_a_calibration_every_factor_is_one():
    assert {UNCALIBRATED.factor(name) for name in NET_CLASSES} == {Interval.exactly(1.0)}
    assert set(UNCALIBRATED.to_dict()["factors"]) == set(NET_CLASSES)
    assert {f["mark"] for f in UNCALIBRATED.to_dict()["factors"].values()} == {"assumed"}


def test_a_report_says_where_factors_come_from():
    half = Interval(0.4, 0.5, 1.0)
    activity = Activity(
        factors={"adders": half}, marks={"adders": "measured"}, source="test", data="real"
    )
    report = activity.to_dict()
    assert report["factors"]["adders"] == {**half.to_dict(), "mark": "measured"}
    assert report["factors"]["vector_unit"]["mark"] == "assumed"
    assert (report["data"], report["source"]) == ("real", "test")


def test_unknown_classes_are_refused():
    with pytest.raises(InputError, match=r"a class of nets is one of adders, .*, not wires"):
        Activity(factors={"wires": Interval.exactly(1.0)}, source="test")
    with pytest.raises(InputError, match=r"a class of nets is one of adders, .*, not wires"):
        Activity(marks={"wires": "assumed"}, source="test")
    with pytest.raises(InputError, match=r"a class of nets is one of adders, .*, not 'wires'"):
        UNCALIBRATED.factor("wires")
