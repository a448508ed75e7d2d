"""The plot of a study: every point inside, the capacity too, also of a single load."""

import pytest

pytest.importorskip("matplotlib")


def study(*rates, capacity=10.0):
    latency = {"p50": 0.1, "p50_ci95": 0.01, "p99": 0.4, "p99_ci95": None}
    return {
        "model": "m", "accelerators": 1, "system": "s", "router": "random",
        "scheduler": {"policy": "chunked"}, "capacity_requests_per_second": capacity,
        "points": [
            {"offered_rate": rate, "saturated": rate > capacity, "ttft_s": latency,
             "tpot_s": {}, "end_to_end_s": latency,
             "tokens_per_joule": {"low": 1.0, "nominal": 2.0, "high": 3.0},
             "usd_per_million_tokens": None}
            for rate in rates
        ],
    }


@pytest.mark.parametrize("rates", [(5.0,), (1.0, 4.0), (8.0, 30.0)])
def test_load_and_capacity_are_inside(rates, monkeypatch):
    from signacc import serving_plot

    drawn = []
    monkeypatch.setattr(serving_plot, "png_bytes", lambda figure: drawn.append(figure) or b"png")
    assert serving_plot.serving_plot(study(*rates)) == b"png"
    for axes in drawn[0].axes:
        low, high = axes.get_xlim()
        assert low == 0
        assert high > max(*rates, 10.0)
        assert "capacity" in [text.get_text() for text in axes.texts]
    left = drawn[0].axes[0]
    markers = {
        label: container[0].get_marker()
        for container, label in zip(*left.get_legend_handles_labels(), strict=True)
    }
    assert markers["first token, p50"] != markers["first token, p99"]  # also without lines
    hollow = [line for line in left.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 4 * sum(rate > 10 for rate in rates)  # two latencies, two percentiles


@pytest.mark.parametrize("name", ["a $\\frac{", "数据 🙂", "m\udcff"])
def test_any_name_can_be_drawn(name):
    from signacc.serving_plot import serving_plot

    assert serving_plot(study(5.0) | {"system": name, "model": name})[-8:-4] == b"IEND"
