"""Plot of a study of serving: latency, tokens a joule and cost over the load."""

from __future__ import annotations

from typing import Any

from signacc.plots import new_figure, plain, png_bytes


def serving_plot(report: dict[str, Any]) -> bytes:
    """Draw latencies (left) and output tokens a joule (right) over requests a second, as PNG.

    Both axes begin at no load and end beyond the capacity: a single load has its place, too.

    Saturated loads are hollow; bars are 95 % confidence intervals (left) and ranges (right).
    """
    figure, subplots = new_figure(figsize=(10, 4.6))
    left, right = subplots(1, 2)
    points = sorted(report["points"], key=lambda point: point["offered_rate"])
    rates = [point["offered_rate"] for point in points]
    for name, colour, label in (
        ("ttft_s", "#1b6ca8", "first token"), ("tpot_s", "#66a182", "each token after it"),
        ("end_to_end_s", "#d1495b", "last token"),
    ):
        for percent, style, marker in ((50, "-", "o"), (99, "--", "^")):
            told = [
                (rate, found[f"p{percent}"], found[f"p{percent}_ci95"] or 0.0, point["saturated"])
                for rate, point in zip(rates, points, strict=True)
                if f"p{percent}" in (found := point[name])
            ]
            if not told:
                continue
            left.errorbar(
                [t[0] for t in told], [t[1] for t in told],
                # a logarithmic axis has no place for what reaches down to 0
                yerr=[[min(t[2], 0.9 * t[1]) for t in told], [t[2] for t in told]],
                linestyle=style, color=colour, capsize=2, linewidth=1, elinewidth=0.7,
                marker=marker, markersize=4, label=f"{label}, p{percent}",
            )
            for x, y, _, saturated in told:
                if saturated:
                    left.plot(x, y, marker, color=colour, markersize=4, markerfacecolor="white")
    capacity = report["capacity_requests_per_second"]
    left.set(yscale="log", xlabel="requests per second", ylabel="latency, s")
    left.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    with_tokens = [point for point in points if point["tokens_per_joule"]]
    values = [point["tokens_per_joule"] for point in with_tokens]
    nominal = [value["nominal"] for value in values]
    right.errorbar(
        [point["offered_rate"] for point in with_tokens], nominal,
        yerr=[[n - v["low"] for n, v in zip(nominal, values, strict=True)],
              [v["high"] - n for n, v in zip(nominal, values, strict=True)]],
        color="#1b6ca8", marker="o", markersize=4, capsize=3, linewidth=1,
    )
    right.set(xlabel="requests per second", ylabel="output tokens per joule", ylim=(0, None))
    costs = [(p["offered_rate"], p["usd_per_million_tokens"]["nominal"]) for p in points
             if p["usd_per_million_tokens"]]
    if costs:
        other = right.twinx()
        other.plot(*zip(*costs, strict=True), "s--", color="#edae49", markersize=4, linewidth=1)
        other.set(ylabel="USD per million output tokens (prices assumed)", yscale="log")
        other.yaxis.label.set_color("#a87a1f")
    for axes in (left, right):
        axes.axvline(capacity, color="#333333", linewidth=1.2, linestyle=":")
        axes.annotate("capacity", (capacity, 1), xycoords=("data", "axes fraction"),
                      xytext=(-3, -3), textcoords="offset points", rotation=90, fontsize=8,
                      ha="right", va="top", color="#333333")
        axes.set_xlim(0, 1.06 * max([capacity, *rates]))
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
    figure.suptitle(
        plain(f"{report['model']} on {report['accelerators']:,} × {report['system']}, "
              f"{report['scheduler']['policy']}, {report['router']}; hollow: saturated (modelled)"),
        fontsize=10,
    )
    return png_bytes(figure)
