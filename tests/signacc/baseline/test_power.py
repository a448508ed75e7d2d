import pytest

from signacc.baseline.power import Meter, UnsupportedError, trapezoid


class Board:
    """A fake board at a constant power, with or without an energy counter."""

    def __init__(self, clock, *, counter):
        self.clock, self.counter = clock, counter

    def joules(self):
        if not self.counter:
            raise UnsupportedError
        return 300.0 * self.clock()

    def watts(self):
        return 300.0


class Clock:
    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("counter", "source"), [(True, "counter"), (False, "sampled")])
def test_energy_is_power_times_time_and_says_its_source(counter, source):
    clock = Clock()
    meter = Meter(Board(clock, counter=counter), clock)

    def work():
        clock.now += 2

    reading = meter.measure(work)
    assert meter.source == reading.source == source
    assert reading.seconds == 2
    assert reading.joules == pytest.approx(600)


def test_the_sampling_thread_ends_when_the_work_fails():
    clock = Clock()
    meter = Meter(Board(clock, counter=False), clock)
    with pytest.raises(ZeroDivisionError):
        meter.measure(lambda: 1 / 0)


def test_trapezoid_of_a_ramp():
    assert trapezoid([(0, 0), (1, 10), (3, 30)]) == 5 + 40
    assert trapezoid([(1, 7)]) == 0
