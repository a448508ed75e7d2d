"""Traces: requests as they were recorded, from a CSV or a JSON-lines file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from golden.config import unique_keys

from ..checks import shown
from ..errors import InputError
from .arrivals import MOST_REQUESTS, check_run
from .requests import LONGEST_S, PS, Requests

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
"""What a trace says of each request; other columns are passed over."""

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
"""The same in the traces of Azure's LLM services (AzureLLMInferenceTrace_*.csv of
github.com/Azure/AzurePublicDataset, CC-BY; Patel et al., Splitwise, ISCA 2024); dates, not seconds.
"""

_MOST_TOKENS = 1 << 20


@dataclass(frozen=True, eq=False)
class Trace:
    """Recorded requests, played at any rate: times are scaled, order and lengths are kept.

    Parameters
    ----------
    name
        What reports call it.
    recorded
        The requests, times from the first one on.
    """

    name: str
    recorded: Requests

    @property
    def rate(self) -> float:
        """Requests a second as recorded."""
        return (len(self.recorded) - 1) * PS / int(self.recorded.arrival[-1])

    def requests(self, rate: float, span_s: float, seed: int) -> Requests:
        """Return what arrives in `span_s` seconds when the trace runs at `rate` requests a second.

        A trace that ends before starts again from its first request.

        Raises
        ------
        InputError
            If a number is out of its range, or there would be too many requests.
        """
        check_run(rate, span_s)
        recorded, count = self.recorded, len(self.recorded)
        # One mean gap lies between the last request and the first one of the next turn.
        turn = count / rate
        times = recorded.arrival * (self.rate / rate / PS)
        turns = math.ceil(span_s / turn)
        arrival = (times[None, :] + turn * np.arange(turns)[:, None]).reshape(-1)
        inside = arrival < span_s
        return Requests(
            (arrival[inside] * PS).astype(np.int64), np.tile(recorded.prompt, turns)[inside],
            np.tile(recorded.output, turns)[inside],
        )

    def at_once(self, count: int, seed: int) -> Requests:
        """Return `count` requests that all arrive at 0: those of the trace, shuffled, in turns."""
        recorded, size = self.recorded, len(self.recorded)
        rng = np.random.default_rng([seed, 1])
        turns = [rng.permutation(size) for _ in range(-(-count // size))]
        chosen = np.concatenate(turns)[:count]
        return Requests(
            np.zeros(count, dtype=np.int64), recorded.prompt[chosen], recorded.output[chosen]
        )

    def to_dict(self) -> dict[str, object]:
        """Return the trace for a report."""
        recorded = self.recorded
        return {"trace": self.name, "requests": len(recorded), "rate": self.rate,
                "mean_prompt": float(recorded.prompt.mean()),
                "mean_output": float(recorded.output.mean())}


def trace_from_file(path: str | Path) -> Trace:
    """Read a trace: ``.csv`` with a header line, or ``.jsonl`` with an object a line.

    A table has the columns :data:`COLUMNS`, or those of :data:`AZURE_COLUMNS`.

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, a value is out of its range, times go
        back, or there are fewer than two requests or all at one time; the message names the line.
    """
    path = Path(path)
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix not in readers:
        raise InputError(f"a trace must be a .csv or a .jsonl file, not {str(path)!r}")
    times, lengths, before = [], [], 0.0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row, called in readers[path.suffix](file, path):
                if len(times) == MOST_REQUESTS:
                    raise InputError(f"{path}: a trace can have {MOST_REQUESTS} requests, not more")
                time = _number(row, "arrival_s", called[0], path, line)
                if time < before:
                    raise InputError(
                        f"{path}, line {line}: {called[0]} must not go back, from {before:g} to "
                        f"{time:g}"
                    )
                before = time
                times.append(time)
                lengths.append([
                    _tokens(row, name, shown_as, path, line)
                    for name, shown_as in zip(COLUMNS[1:], called[1:], strict=True)
                ])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be UTF-8 text: {error}") from None
    if len(times) < 2:
        raise InputError(f"{path}: a trace must have at least two requests, not {len(times)}")
    arrival = ((np.array(times) - times[0]) * PS).astype(np.int64)
    if not arrival[-1]:
        raise InputError(
            f"{path}: requests of a trace must arrive at different times, a picosecond apart or "
            f"more; all {len(times)} arrive at {times[0]:g} s"
        )
    prompt, output = np.array(lengths, dtype=np.int64).T
    return Trace(path.name, Requests(arrival, prompt.copy(), output.copy()))


Row = tuple[int, dict, tuple[str, ...]]
"""Number of a line, its values by COLUMNS, and what the file calls those."""


def _csv_rows(file: object, path: Path) -> Iterator[Row]:
    reader = csv.DictReader(file)
    header, origin = reader.fieldnames or (), None
    azure = set(AZURE_COLUMNS) <= set(header)
    missing = [name for name in COLUMNS if name not in header]
    if missing and not azure:
        raise InputError(f"{path}, line 1: a trace needs a column {missing[0]}")
    called = AZURE_COLUMNS if azure else COLUMNS
    for name in called:
        if header.count(name) > 1:
            raise InputError(f"{path}, line 1: column {name} must stand once")
    try:
        for row in reader:
            if None in row:
                raise InputError(
                    f"{path}, line {reader.line_num}: must have at most the {len(header)} columns "
                    f"of line 1, not {len(header) + len(row[None])}"
                )
            if azure:
                time = _date(row["TIMESTAMP"], path, reader.line_num)
                origin = origin or time
                if time < origin:
                    raise InputError(
                        f"{path}, line {reader.line_num}: TIMESTAMP must not go back, from the "
                        f"first one, {origin}, to {time}"
                    )
                row = {"arrival_s": (time - origin).total_seconds(),
                       "prompt_tokens": row["ContextTokens"],
                       "output_tokens": row["GeneratedTokens"]}
            yield reader.line_num, row, called
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None


def _date(text: str | None, path: Path, line: int) -> datetime:
    try:
        date = datetime.fromisoformat(text or "")
    except ValueError:
        raise InputError(
            f"{path}, line {line}: TIMESTAMP must be a date and time as in ISO 8601, not {text!r}"
        ) from None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _json_rows(file: object, path: Path) -> Iterator[Row]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {line}: must be valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {line}: must hold a JSON object, not {shown(row)}")
        yield line, row, COLUMNS


def _number(row: dict, name: str, called: str, path: Path, line: int) -> float:
    value = row.get(name)
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= LONGEST_S:
        raise InputError(
            f"{path}, line {line}: {called} must be a number from 0 to {LONGEST_S:g}"
            f"{' s after the first one' if called != name else ''}, not {shown(value)}"
        )
    return number


def _tokens(row: dict, name: str, called: str, path: Path, line: int) -> int:
    number = row.get(name)
    try:
        value = float("nan" if number is None or isinstance(number, bool) else number)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 1 <= value <= _MOST_TOKENS or value != int(value):
        raise InputError(
            f"{path}, line {line}: {called} must be an integer from 1 to {_MOST_TOKENS}, not "
            f"{shown(number)}"
        )
    return int(value)
