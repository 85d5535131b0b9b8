"""Settings that must stand before scipy is imported: scikit-learn skips its array API check without the first."""

import os
from contextlib import ExitStack
from unittest import mock

import pytest

os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture
def plain_python():
    """Run compiled loops as the plain Python that they are: to compile one takes seconds."""
    numba, compiled = pytest.importorskip("numba"), pytest.importorskip("skgd.engines.compiled")
    made = (compiled.epochs, "loop_for"), (compiled.streams, "stream_loop"), (compiled.columns, "kernel")
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(numba.config, "DISABLE_JIT", True))
        for module, name in made:  # not what is compiled already
            patches.enter_context(mock.patch.object(module, name, getattr(module, name).__wrapped__))
        left = patches.enter_context(mock.patch("skgd.engines._cannot_compile", set()))
        yield
        assert not left  # for NumPy, because something in a loop raised
