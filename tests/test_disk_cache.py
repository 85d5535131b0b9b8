"""Partitions that are cached on disk: read once, the same bits, and no file that is left."""

import errno
import gc
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from skgd import GDClassifier, disk_cache, partitions

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 8)) * (rng.random((600, 8)) < 0.5)
y = np.where(X @ rng.normal(size=8) + rng.logistic(size=600) > 0, "yes", "no")
TABLE = np.column_stack([X, y == "yes", rng.integers(0, 3, 600)])
ROWS = slice(0, 250), slice(250, 250), slice(250, 600)
KINDS = {
    "dense": lambda rows: (X[rows], y[rows]),
    "single precision": lambda rows: (X[rows].astype(np.float32), y[rows], TABLE[rows, 9]),
    "by columns": lambda rows: (np.asfortranarray(X[rows]), list(y[rows])),
    "parts of a table": lambda rows: (TABLE[rows, 1:8], TABLE[rows, 8], TABLE[rows, 9]),
    "sparse": lambda rows: (sp.csr_array(X[rows]), y[rows]),
    "other sparse": lambda rows: (sp.coo_matrix(X[rows]), y[rows].astype(object)),
    "frame": lambda rows: (pd.DataFrame(X, columns=list("abcdefgh"))[rows], pd.Series(y)[rows]),
    "memory map": lambda rows: (np.asarray(X[rows]).view(np.memmap), y[rows]),
}


class Reader:
    """Functions that count their calls."""

    def __init__(self, make):
        self.make, self.calls = make, 0

    def read(self, rows):
        self.calls += 1
        return self.make(rows)

    @property
    def parts(self):
        return [partial(self.read, rows) for rows in ROWS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "n_lanes": 1}], ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_same_model_from_one_call(kind, settings, tmp_path):
    estimator = partial(GDClassifier, max_iter=3, tol=None, random_state=0)
    reader = Reader(KINDS[kind])
    expected = partitions.fit(estimator(), reader.parts, **settings)
    assert reader.calls == 3 * (1 + expected.n_iter_)
    reader.calls = 0
    parts = partitions.cached(reader.parts, tmp_path)
    for _ in range(2):
        model = partitions.fit(estimator(), parts, **settings)
        assert np.array_equal(model.coef_, expected.coef_)
        assert np.array_equal(model.intercept_, expected.intercept_)
        assert model.coef_.dtype == expected.coef_.dtype
        assert getattr(model, "feature_names_in_", None) is None or list(model.feature_names_in_) == list("abcdefgh")
    assert reader.calls == 3
    del parts
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_views_of_files(tmp_path):
    values = {
        "rows": X,
        "columns": np.asfortranarray(X),
        "every second": X[::2, 1::2],
        "integers": np.arange(5, dtype=np.int8),
        "sparse": sp.csr_array(X),
        "empty": X[:0],
        "objects": y.astype(object),
        "text": y,
        "map": X.view(np.memmap),
    }
    with (tmp_path / "file").open("wb") as file:
        disk_cache.Pickled.of(values).write(file)
    loaded = disk_cache.load(tmp_path / "file")
    for name, value in values.items():
        arrays = (
            [(value, loaded[name])]
            if name != "sparse"
            else [(getattr(value, part), getattr(loaded[name], part)) for part in ("data", "indices", "indptr")]
        )
        for given, array in arrays:
            assert array.dtype == given.dtype
            assert np.array_equal(array, given)
            if name not in ("objects", "empty"):
                assert not array.flags.writeable
                assert array.ctypes.data % 64 == 0
    assert loaded["columns"].flags.f_contiguous
    assert (tmp_path / "file").stat().st_size < 5 * X.nbytes


def test_what_is_no_function_remains_as_it_is():
    parts = [(X, y)]
    assert partitions.cached(parts)[0] is parts[0]


@pytest.mark.parametrize("kind", ["dense", "sparse", "frame"])
def test_what_fits_into_memory_is_not_written(kind, tmp_path):
    reader = Reader(KINDS[kind])
    expected = partitions.fit(GDClassifier(), reader.parts)
    reader.calls = 0
    parts = partitions.cached(reader.parts, tmp_path, memory_limit=28_000)  # the first partition, not the last one
    for _ in range(2):
        model = partitions.fit(GDClassifier(), parts)
        assert np.array_equal(model.coef_, expected.coef_)
    assert reader.calls == 3
    assert parts[0]()[0] is parts[0]()[0]
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["2"]


def test_each_partition_is_pickled_once(tmp_path, monkeypatch):
    pickled, of = [], disk_cache.Pickled.of
    monkeypatch.setattr(disk_cache.Pickled, "of", lambda rows: pickled.append(rows) or of(rows))
    for limit in (0, 28_000, 10**6):
        pickled.clear()
        for part in partitions.cached(Reader(KINDS["parts of a table"]).parts, tmp_path, memory_limit=limit) * 2:
            part()
        assert len(pickled) == len(ROWS)


def test_what_is_in_memory_is_not_sent_to_other_processes(tmp_path):
    parts = partitions.cached([partial(read, rows) for rows in ROWS], tmp_path, memory_limit=10**6)
    kept = parts[0]()[0]
    pickled = pickle.dumps(parts)
    assert len(pickled) < 5000
    assert np.array_equal(pickle.loads(pickled)[0]()[0], kept)
    assert [path.name for path in tmp_path.glob("*/*")] == ["0"]  # of the copy, which has no memory of its own


@pytest.mark.parametrize(("limit", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_invalid_memory_limits(limit, error):
    with pytest.raises(error, match="memory_limit must be"):
        partitions.cached([], memory_limit=limit)


def test_a_full_disk(tmp_path, monkeypatch):
    def write(pickled, file):
        file.write(b"a beginning")
        if len(list(tmp_path.glob("*/?"))) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.seek(0)
        write_all(pickled, file)

    write_all = disk_cache.Pickled.write
    monkeypatch.setattr(disk_cache.Pickled, "write", write)
    reader = Reader(KINDS["dense"])
    expected = partitions.fit(GDClassifier(), reader.parts)
    reader.calls = 0
    parts = partitions.cached(reader.parts, tmp_path)
    with pytest.warns(RuntimeWarning, match="No space left on device") as caught:
        model = partitions.fit(GDClassifier(), parts)
    assert len(caught) == 1
    assert str(tmp_path) in str(caught[0].message)
    assert caught[0].filename == __file__
    assert np.array_equal(model.coef_, expected.coef_)
    assert reader.calls == 1 + 2 * (1 + model.n_iter_)
    assert len(list(tmp_path.glob("*/*"))) == 1


def test_an_interrupt_leaves_no_file(tmp_path, monkeypatch):
    def write(pickled, file):
        file.write(b"a beginning")
        raise KeyboardInterrupt

    parts = partitions.cached(Reader(KINDS["dense"]).parts, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(disk_cache.Pickled, "write", write)
        with pytest.raises(KeyboardInterrupt):
            parts[0]()
    assert list(tmp_path.glob("*/*")) == []
    assert np.array_equal(parts[0]()[0], X[:250])


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        partitions.cached([], tmp_path / "nowhere")

    def fails():
        raise RuntimeError("no connection")

    with pytest.raises(RuntimeError, match="no connection") as caught:
        partitions.fit(GDClassifier(), partitions.cached([KINDS["dense"], fails][1:], tmp_path))
    assert "partition 0" in caught.value.__notes__[0]


def read(rows):
    return X[rows], y[rows]


def test_other_processes_use_the_files_and_leave_them(tmp_path):
    parts = partitions.cached([partial(read, rows) for rows in ROWS], tmp_path)
    expected = partitions.fit(GDClassifier(), parts)
    copies = pickle.loads(pickle.dumps(parts))
    assert not copies[0]()[0].flags.writeable
    model = partitions.fit(GDClassifier(), copies)
    assert np.array_equal(model.coef_, expected.coef_)
    del copies
    gc.collect()
    assert len(list(tmp_path.glob("*/?"))) == 3
    copies = pickle.loads(pickle.dumps(parts))
    del parts
    gc.collect()
    with pytest.warns(RuntimeWarning, match="read again"):
        assert np.array_equal(copies[0]()[0], X[:250])


def test_files_are_removed_when_python_ends(tmp_path):
    code = f"""
from functools import partial
import numpy as np
from skgd import partitions
parts = partitions.cached([partial(np.ones, (100, 3))], {str(tmp_path)!r})
parts[0]()
from pathlib import Path
assert len(list(Path({str(tmp_path)!r}).glob("skgd-*/0"))) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(tmp_path.iterdir()) == []
