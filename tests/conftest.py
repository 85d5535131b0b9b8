"""What all tests share: settings that must stand before scipy is imported, and which cases of large tables are run.

Without ``SCIPY_ARRAY_API``, scikit-learn skips its array API check.
"""

import os
import zlib
from collections import Counter, defaultdict
from contextlib import ExitStack
from unittest import mock

import pytest

os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

_MANY_CASES = 40  # of one test: of more, a sample is run


def pytest_addoption(parser):
    parser.addoption(
        "--whole", action="store_true", help="run all cases of the largest tables, such as all losses x all optimizers"
    )


def pytest_collection_modifyitems(config, items):
    """Sample tests with very many cases, always the same ones, so that each part of a case's name occurs in one."""
    if config.getoption("whole") or any("[" in argument for argument in config.args):
        return
    counts = Counter(name_of(item)[0] for item in items)
    seen = defaultdict(set)
    kept = set()
    for item in sorted(items, key=lambda item: zlib.crc32(item.nodeid.encode())):
        test, case = name_of(item)
        parts, share = set(case.split("-")), -(-counts[test] // _MANY_CASES)
        if parts - seen[test] or zlib.crc32(case.encode()) % share == 0:
            seen[test] |= parts
            kept.add(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def name_of(item):
    """Return the name of a test without its case, and that of the case."""
    test, _, case = item.nodeid.partition("[")
    return test, case.rstrip("]")


@pytest.fixture
def plain_python():
    """Run compiled loops as the plain Python that they are: to compile one takes seconds."""
    numba, compiled = pytest.importorskip("numba"), pytest.importorskip("skgd.engines.compiled")
    loops = {"epochs": "loop_for", "streams": "stream_loop", "wide": "wide_loop", "columns": "kernel"}
    loops["few_columns"] = "gather_loop"
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(numba.config, "DISABLE_JIT", True))
        for room, name in loops.items():  # not what is compiled already
            module = getattr(compiled, room)
            patches.enter_context(mock.patch.object(module, name, getattr(module, name).__wrapped__))
        left = patches.enter_context(mock.patch("skgd.engines._cannot_compile", set()))
        yield
        assert not left  # for NumPy, because something in a loop raised
