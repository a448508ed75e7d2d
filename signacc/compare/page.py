"""A comparison as one HTML page: everything inside, nothing loaded, all texts escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from signacc.report import quantity, si

from .comparison import Comparison
from .figures import MARKS, METRICS, Absent, Entry, Figure
from .machines import facts_of
from .palette import DARK, LIGHT, css_variables
from .report import DEFINITIONS, absences, impossible, points_text, range_text
from .sensitivity import Flip

_TITLES = {
    "bars": "Speed and energy", "prefill": "Speed, time to first token, energy",
    "roofline": "Roofline", "heat_map": "Gain over batch and context",
    "crossover": "Where the winner changes",
}
_COLUMNS = {
    "tokens_per_second": "tokens/s", "joule_per_token": "J/token",
    "time_to_first_token_s": "time to first token, s",
    "tokens_per_second_per_watt": "tokens/s/W", "energy_delay_js": "energy × delay, J s",
    "weights_per_joule": "weights/J", "limit_share": "share of own limit",
    "linear_cycles": "FBI-linear cycles",
}  # fmt: skip
_FIGURES = (*_COLUMNS.values(), "gain", "factor that turns it")
_RIGHT = ' class="figure"'
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WINNERS = {
    "ours": '<span class="ours">ours</span>',
    "baseline": '<span class="baseline">baseline</span>',
    "open": '<abbr title="the interval holds 1">open</abbr>',
}


def _mark(mark: str) -> str:
    return f'<abbr class="mark" title="{escape(MARKS[mark])}">{escape(mark)}</abbr>'


def _cell(figure: Figure | None, reason: str | None = None) -> str:
    """Return a table cell: value, mark, interval; where there is none, the reason in words."""
    if figure is None:
        return f'<td class="none{" why" * bool(reason)}">{escape(reason or "not stated")}</td>'
    value, interval = figure.value.nominal, ""
    if range_text(figure):
        interval = f"{_number(figure.value.low)}–{_number(figure.value.high)}"
    return (
        f'<td class="figure" data-value="{value!r}">{_number(value)} {_mark(figure.mark)}'
        f"{f'<small>{interval}</small>' if interval else ''}</td>"
    )


def _number(value: float) -> str:
    return si(value, "").rstrip() if value >= 1e6 else quantity(value)


def _plain(text: object) -> str:
    """Return a label's cell; numbers sort as numbers."""
    data = f' data-value="{text}"' if isinstance(text, int) else ""
    return f"<td{data}>{escape(str(text))}</td>"


def _table(name: str, columns: Sequence[str], rows: Iterable[str]) -> str:
    heads = "".join(
        f'<th scope="col"{_RIGHT if column in _FIGURES else ""}>{escape(column)}</th>'
        for column in columns
    )
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table>'
        "</div>"
    )


def _row_head(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _verdicts(result: Comparison) -> str:
    if not result.verdicts:
        what = "baseline" if result.phase == "decode" else "prefill baseline"
        return f"<p>No {what} of {escape(result.name)} at these points.</p>"
    rows = (
        _row_head(v.machine) + _plain(v.aspect) + f"<td>{_WINNERS[v.winner]}</td>"
        + _cell(Figure(v.gain, v.mark)) + _plain(v.batch) + _plain(v.context)
        + _plain(v.against)
        for v in result.verdicts
    )
    table = _table(
        f"Verdicts: {result.phase}",
        ("machine", "aspect", "winner", "gain", "batch", "context", "against"), rows,
    )
    changes = "".join(
        f"<li>{escape(c.machine)}, {c.aspect}, context {c.context}: {c.before} at batch "
        f"{c.batches[0]}, {'baseline' if c.before == 'ours' else 'ours'} at batch {c.batches[1]} "
        f"{_mark('modelled')}</li>"
        for c in result.crossovers()
    )
    return (
        f'<p class="muted">{escape(DEFINITIONS["gain"])}; above 1 ours is better.</p>{table}'
        + (f"<p>Nominal winners change here:</p><ul>{changes}</ul>" if changes else "")
    )


def _entries(result: Comparison) -> str:
    """Return a table of all figures; a machine without any at a point has a row with the reason."""
    names = METRICS[result.phase]
    rows = []
    for entry in result.entries:
        cells = (_cell(getattr(entry, name), entry.reason(name)) for name in names)
        rows.append(_point(entry) + "".join(cells))
    for missing in result.absent:
        # A cell is as wide as the figures it spans, beyond the screen: the text in it is not.
        text = f'<div class="reason">{escape(missing.reason)}</div>'
        reason = f'<td class="none" colspan="{len(names)}">{text}</td>'
        rows.append(_point(missing) + reason)
    columns = ("machine", "batch", "context", *(_COLUMNS[name] for name in names))
    doubts = "".join(f"<p>{escape(text)}.</p>" for text in impossible(result))
    return _table(f"All figures: {result.phase}", columns, rows) + doubts


def _point(entry: Entry | Absent) -> str:
    return _row_head(entry.machine) + _plain(entry.batch) + _plain(entry.context)


def _prefill(result: Comparison | None, plots: Mapping[str, tuple[str, str]]) -> str:
    if result is None:
        return "<p>Not asked for.</p>"
    return (
        '<p class="muted">All prompts of a batch are read; context is the length of each.</p>'
        + _verdicts(result) + _entries(result) + _plots(plots)
    )


def _plots(plots: Mapping[str, tuple[str, str]]) -> str:
    return "".join(
        f'<h3>{_TITLES[name]}</h3><figure><div class="scroll" role="region" tabindex="0" '
        f'aria-label="{_TITLES[name]}">'
        + svg.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)
        + f"</div><figcaption>{escape(caption)}</figcaption></figure>"
        for name, (svg, caption) in plots.items()
    )


def _sensitivity(flips: Sequence[Flip]) -> str:
    if not flips:
        return "<p>There is no verdict that a single constant turns.</p>"
    inside = {None: "it has none", True: "yes: not settled", False: "no"}
    rows = (
        _row_head(f.machine) + _plain(f.aspect) + _plain(f.constant)
        + f'<td class="figure" data-value="{f.factor!r}">× {quantity(f.factor)} '
        f"{_mark('modelled')}</td>" + _plain(inside[f.inside]) + _plain(f.side)
        + _plain(f.against) + _plain(f"{f.batch} × {f.context}")
        for f in flips
    )
    return (
        '<p class="muted">One constant at a time (and DRAM bandwidth and clock together) is '
        "multiplied by a factor until the nominal winner changes, found by bisection; the three "
        "nearest are shown. Where there are fewer, no other turns the verdict between 1/100 and "
        "100. A baseline's own figure is such a constant. “In its range” compares the factor with "
        "the constant's low and high.</p>"
        + _table(
            "Sensitivity",
            ("machine", "aspect", "constant", "factor that turns it", "in its range", "side",
             "against", "batch × context"),
            rows,
        )
    )


def _missing(result: Comparison, prefill: Comparison | None) -> str:
    items = [
        f"<li><b>{escape(machine)}</b> at {escape(points_text(points))}"
        f"{'' if comparison is result else ', prefill'}: {escape(reason)}</li>"
        for comparison in (result, prefill)
        if comparison is not None
        for machine, reason, points in absences(comparison)
    ]
    if not items:
        return "<p>Nothing is absent.</p>"
    note = '<p class="muted">Batch x context. Nothing is interpolated.</p>'
    return f"{note}<ul>{''.join(items)}</ul>"


def _others(result: Comparison, prefill: Comparison | None) -> str:
    others = [("decode", other) for other in result.others]
    others += [("prefill", other) for other in (() if prefill is None else prefill.others)]
    rows = [
        _row_head(o.machine) + _plain(o.model) + _plain(phase) + _plain(o.batch)
        + (_cell(None) if o.context is None else _plain(o.context))
        + _cell(o.tokens_per_second) + _cell(o.joule_per_token)
        + f'<td class="text">{escape("; ".join(filter(None, (o.source, o.notes))))}</td>'
        for phase, o in others
    ]
    if not rows:
        return "<p>None.</p>"
    columns = (
        "machine", "model", "phase", "batch", "context", "tokens/s", "J/token", "source and notes"
    )
    return _table("Other models", columns, rows)


def _provenance(result: Comparison) -> str:
    texts: dict[str, list[str]] = {}
    for entry in result.entries:
        text = "; ".join(f"{key}: {value}" for key, value in entry.provenance.items())
        if entry.roof is not None:
            text += f"; peaks ({entry.roof.mark}): {entry.roof.source}"
        known = texts.setdefault(entry.machine, [])
        if text not in known:
            known.append(text)
    parts = []
    for machine, known in texts.items():
        facts = facts_of(machine)
        if facts is not None and facts.cost is not None:
            mark = _mark(facts.cost_mark)
            cost = f"cost: {escape(facts.cost)} {mark} ({escape(facts.cost_source)})"
        else:
            cost = "cost: no public price found"
        parts.append(
            f"<dt>{escape(machine)}</dt>" + "".join(f"<dd>{escape(text)}</dd>" for text in known)
            + f"<dd>{cost}</dd>"
        )
    return f"<dl>{''.join(parts)}</dl>"


def _explained(texts: Mapping[str, str]) -> str:
    items = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in texts.items())
    return f"<dl>{''.join(items)}</dl>"


def html_page(
    result: Comparison, plots: Mapping[str, tuple[str, str]], flips: Sequence[Flip],
    prefill: Comparison | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    plots
        SVG and caption by name (``signacc.compare.charts.svg_images``); ``prefill`` stands with
        the figures of prefill.
    flips
        What turns the verdicts (``signacc.compare.sensitivity``).
    prefill
        The comparison of prefill; None: the page says that it was not asked for.
    """
    title = escape(f"{result.name}: 1-bit machines against baselines")
    here = Path(__file__)
    decoding = {name: plot for name, plot in plots.items() if name != "prefill"}
    reading = {name: plot for name, plot in plots.items() if name == "prefill"}
    sections = {
        "verdicts": ("Who wins", _verdicts(result)),
        "figures": ("All figures", _entries(result)),
        "plots": ("Plots", _plots(decoding)),
        "prefill": ("Prefill", _prefill(prefill, reading)),
        "sensitivity": ("What would change the verdict", _sensitivity(flips)),
        "absent": ("Absent", _missing(result, prefill)),
        "others": (
            "Published, not compared: other models, or no stated context", _others(result, prefill)
        ),
        "provenance": ("Provenance", _provenance(result)),
        "marks": ("Marks and formulas", _explained(MARKS) + _explained(DEFINITIONS)),
    }
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, (name, _) in sections.items())
    body = "".join(
        f'<section id="{key}"><h2>{name}</h2>{content}</section>\n'
        for key, (name, content) in sections.items()
    )
    shape = result.model
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{title}</title>
<style>
:root {{ {css_variables(LIGHT)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {css_variables(DARK)} }} }}
{here.with_name("page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>Decoding and prefill, the same model, batch and context on every machine. {escape(result.name)}:
{shape.num_hidden_layers} layers of {shape.hidden_size}, {shape.vocab_size} tokens. Every figure
carries its mark; intervals stand below.</p>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{body}</main>
<script>
{here.with_name("page.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""
