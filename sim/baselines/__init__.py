"""GPU and published figures that estimates are compared with, each with where it comes from.

A baselines file is a JSON object ``{"schema": "signacc-baselines-1", "baselines": [...]}``. An
entry has these keys; those after ``date`` may be left out:

===================  ===========================================================================
``name``             the machine and software measured, e.g. ``h200-bf16``
``model``            name of the model, e.g. ``fbi-7b``
``batch``            sequences at once, integer of at least 1, like all counts at most 2^53
``context``          positions that a token attends to; of a prefill, its tokens; at least 1;
                     null if a published source does not say
``tokens_per_second``  tokens per second of the whole batch, 1e-6 to 1e12
``joule_per_token``  energy per token, J, 1e-12 to 1e9, and with the speed at most 200 kW; null if
                     it was not measured
``mark``             ``measured`` (by this project) or ``published`` (by the source's authors)
``source``           what was measured or read, and where
``command``          command that made the figure; null if published, or not recorded
``date``             ``YYYY-MM-DD`` of measurement or publication; null if not recorded
``notes``            a text; required where a measured figure has no command or no date
``phase``            ``decode`` (default) or ``prefill``
``path``             number format and software, e.g. ``bf16``, ``int4``, ``sign-a16``
``spread``           (max − min) / median of the repeats, at most 1e6
``repeats``          how many repeats
``bandwidth_share``  least bytes that must move, over time and measured copy bandwidth
``compute_share``    operations, over time and measured matrix rate: of bf16, or of int8 for the
                     linears of a path of 8-bit activations
``limit_share``      shortest time by either ceiling, over time; shares are above 0, at most 4
``energy_source``    ``counter`` or ``sampled``
``energy_seconds``   length of the steady state under the energy, s
``early``            which kernels started while the one ahead ended: ``all``, ``all but RoPE``,
                     ``all, at once`` (1-bit) or ``none``, or ``one launch`` in place of them (1-bit
                     decode of one vector): the fastest, each tried at this point
===================  ===========================================================================

A file gives a point (name, path, model, phase, batch, context) once, and has no other keys. Name,
model and path are texts of one line.

``signacc baseline`` writes schema ``signacc-baselines-2``: beside ``baselines`` an object
``provenance`` (:class:`Provenance`), which also gives what all entries share (mark, source,
command, date), and a list ``gaps`` of points that could not be measured (:class:`Gap`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .entry import MARKS, PHASES, Baseline
from .record import SCHEMA, SCHEMA_MEASURED, Gap, Provenance, Record, load_record

__all__ = [
    "MARKS", "PHASES", "SCHEMA", "SCHEMA_MEASURED", "Baseline", "Gap", "Provenance", "Record",
    "baselines_for", "load_baselines", "load_file", "load_record", "load_records",
]

_FOLDER = Path(__file__).parent


def load_file(path: str | Path) -> tuple[Baseline, ...]:
    """Return the entries of a baselines file; raises InputError as :func:`load_record` does."""
    return load_record(path).baselines


def load_records(extra: Iterable[str | Path | Record] = ()) -> tuple[Record, ...]:
    """Return all shipped files, by name, and the `extra` files, or records of files, after them."""
    return tuple(
        path if isinstance(path, Record) else load_record(path)
        for path in [*sorted(_FOLDER.glob("*.json")), *extra]
    )


def load_baselines(extra: Iterable[str | Path | Record] = ()) -> tuple[Baseline, ...]:
    """Return the entries of :func:`load_records`."""
    return tuple(entry for record in load_records(extra) for entry in record.baselines)


def baselines_for(
    model: str, baselines: Iterable[Baseline] | None = None
) -> tuple[Baseline, ...]:
    """Return the baselines of exactly the model called `model`; none is an empty tuple."""
    entries = load_baselines() if baselines is None else baselines
    return tuple(entry for entry in entries if entry.model == model)
