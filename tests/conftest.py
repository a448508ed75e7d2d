"""Settings that must stand before numpy and torch load."""

import os

# Two thread pools that spin on shared cores are many times slower than one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="more random engines, and more cases on each (longer)"
    )
