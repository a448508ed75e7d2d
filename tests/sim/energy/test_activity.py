import pytest

from sim.energy import NET_CLASSES, UNCALIBRATED, Activity
from sim.errors import InputError
from sim.interval import Interval


def test_without_a_calibration_every_factor_is_one():
    assert {UNCALIBRATED.factor(name) for name in NET_CLASSES} == {Interval.exactly(1.0)}
    assert set(UNCALIBRATED.to_dict()["factors"]) == set(NET_CLASSES)


def test_unknown_classes_are_refused():
    with pytest.raises(InputError, match=r"a class of nets is one of adders, .*, not wires"):
        Activity(factors={"wires": Interval.exactly(1.0)}, source="test")
    with pytest.raises(InputError, match=r"a class of nets is one of adders, .*, not 'wires'"):
        UNCALIBRATED.factor("wires")
