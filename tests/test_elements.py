"""Ranges, elements and rows of arrays in loops, compiled with less code than by Numba, mean what they do in Python."""

import math

import numpy as np
import pytest

from skgd.engines.compiled.specialize import is_plain_python, specialized

pytest.importorskip("numba")


def _elements(a, b, out):
    n = 0
    for i in range(-4, 4):
        for j in range(-3, 3):
            out[n] = a[i, j]
            n += 1
        out[n] = b[i]
        b[i] = 10.0 * b[i] + i
        a[i, -1] += 0.5
        n += 1
    for place in range(4):
        out[n] = b[np.uint64(place)]
        n += 1
    return n


def _rows(a, b, out):
    n = 0
    for start in range(-6, 7):
        for stop in range(-6, 7):
            part, rows = b[start:stop], a[start:stop]
            out[n], out[n + 1], out[n + 2] = len(part), len(rows), rows.shape[1]
            n += 3
            for value in part:
                out[n] = value
                n += 1
            for i in range(len(rows)):
                for value in rows[i]:
                    out[n] = value
                    n += 1
    last, first = b[-2:], b[:2]
    out[n], out[n + 1] = last[1], first[0]
    last[0], a[1][2] = 7.0, 8.0
    return n + 2


def _ranges(a, b, out):
    n = 0
    for step in range(1, 5):
        for stop in range(-1, 6):
            for i in range(-1, stop, step):
                out[n] = i
                n += 1
            for i in range(2, stop):
                out[n] = i
                n += 1
        for i in range(len(b)):
            if i == 2:
                break
            out[n] = i
            n += 1
    return n


def _choices(a, b, out):
    n = 0
    for x in b:
        for y in b:
            out[n], out[n + 1], out[n + 2], out[n + 3] = min(x, y), max(x, y), max(x, 1), min(2, y)
            n += 4
    return n


@pytest.mark.skipif(is_plain_python(), reason="compares Python with compiled code")
@pytest.mark.parametrize("function", [_elements, _rows, _ranges, _choices])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_compiled_code_means_what_python_does(function, dtype, monkeypatch):
    monkeypatch.setattr(function, "__module__", "skgd.test")  # else Numba's own ways are taken
    special = [1, math.nan, 3, -0.0] if dtype != np.int32 else [1, -2, 3, 0]
    results = []
    for call in (function, specialized(function, {}, compact=True)):
        a, b, out = np.arange(12).reshape(4, 3).astype(dtype), np.array(special, dtype), np.zeros(5000)
        if function is not _choices:
            b = np.arange(4).astype(dtype)
        results.append((call(a, b, out), out, a, b))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(np.signbit(expected), np.signbit(found))
        np.testing.assert_array_equal(expected, found)
