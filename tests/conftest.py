"""Settings that must stand before scipy is imported: scikit-learn skips its array API check without the first."""

import os
from unittest import mock

import pytest

os.environ["SCIPY_ARRAY_API"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture
def plain_python():
    """Run compiled loops as the plain Python that they are: to compile one takes seconds."""
    numba, loops = pytest.importorskip("numba"), pytest.importorskip("skgd.engines.compiled")
    remember = ("_loop", "_stream_loop", "_kernel")  # what they compiled
    with (
        mock.patch.object(numba.config, "DISABLE_JIT", True),
        mock.patch.multiple(loops, prefetch=loops._no_prefetch),
        mock.patch.multiple(loops, **{name: getattr(loops, name).__wrapped__ for name in remember}),
        mock.patch("skgd.engines._cannot_compile", set()) as left,
    ):
        yield
        assert not left  # for NumPy, because something in a loop raised
