"""Machines and random requests for the tests of serving."""

from dataclasses import replace
from functools import cache

import numpy as np

from golden.config import named_model
from sim.serving.requests import Requests
from sim.system import Machine, named_link, named_system
from sim.workload import Formats

KV260 = named_system("kv260")
SYSTEMS = {
    "kv260": (KV260, Formats()),
    "asic7": (named_system("asic7"), Formats()),
    "eight bit": (KV260, Formats(kv_bits=8, head="binary")),
    "tensor": (replace(KV260, chips=2, link=named_link("pcie4-x16")), Formats()),
    "prefetch": (replace(KV260, prefetch=True), Formats(head="int8")),
}


@cache
def machine(name="kv260"):
    system, formats = SYSTEMS[name]
    return Machine(named_model("fbi-43m"), system, formats)


def random_requests(rng, count, load, longest=24):
    """Requests at a mean gap that keeps the machine of the tests busy at about `load`."""
    arrival = np.cumsum(rng.exponential(0.012 / load, count))
    if rng.integers(2):  # some come together
        arrival = np.round(arrival, 1)
    return Requests(
        (arrival * 1e12).astype(np.int64), rng.integers(1, longest, count),
        rng.integers(1, longest, count),
    )
