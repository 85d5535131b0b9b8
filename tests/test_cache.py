"""Compiled code on the disk: who compiled it, and what became of it since, never matters."""

import gc
import json
import os
import subprocess
import sys
import types
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

import skgd.engines
from skgd import GDClassifier, GDRegressor
from skgd.optimizers import Adam, Optimizer

numba = pytest.importorskip("numba")
inlining = pytest.importorskip("skgd.engines.compiled.inlining")
remembering = pytest.importorskip("skgd.engines.compiled.remembering")
specialize = pytest.importorskip("skgd.engines.compiled.specialize")
streams = pytest.importorskip("skgd.engines.compiled.streams")
workspace = pytest.importorskip("skgd.engines.compiled.workspace")

FIT = """
import hashlib, json, sys, warnings
import numpy as np
import scipy.sparse as sp
import skgd.engines
from skgd import GDClassifier, GDRegressor
skgd.engines.REPAYS_SECONDS = 0.0
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="numba")
rng = np.random.default_rng(0)
X = rng.normal(size=(700, 30)) * (rng.random((700, 30)) < 0.6)
signal = X @ rng.normal(size=(30, 3)) + rng.normal(size=(700, 3))
weight = rng.uniform(0.5, 2.0, 700)
y = {"number": signal[:, 0], "binary": signal[:, 0] > 0.0, "classes": signal.argmax(axis=1)}
SETTINGS = {"batch_size": 32, "max_iter": 3, "tol": None, "random_state": 0}
def fit(kind, form, parameters):
    rows = sp.csr_array(X) if form == "sparse" else X
    model = (GDRegressor if kind == "number" else GDClassifier)(**{**SETTINGS, **parameters})
    if form == "stream":
        for start in range(0, 700, 100):
            part = slice(start, start + 100)
            classes = {} if kind == "number" else {"classes": np.unique(y[kind])}
            model.partial_fit(rows[part], y[kind][part], sample_weight=weight[part], **classes)
    else:
        model.fit(rows, y[kind], weight)
    parts = [np.ascontiguousarray(part).tobytes() for part in (*model.coefs_, *model.intercepts_)]
    return [model.engine_, hashlib.sha256(b"".join(parts)).hexdigest()]
print(json.dumps([fit(*each) for each in json.loads(sys.argv[1])]))
"""


def fits(cache, *problems):
    """Return which engine ran and a digest of the parameters, for each problem, in a new process."""
    command = [sys.executable, "-c", FIT, json.dumps(problems)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout)]


def adam(loss, **parameters):
    return {"loss": loss, "optimizer": "adam", "learning_rate": 0.01, **parameters}


PROBLEMS = {
    "dense": ("binary", "dense", adam("log_loss")),
    "dense, one row": ("number", "dense", adam("squared_error", batch_size=1)),
    "dense, implicit": ("binary", "dense", {"loss": "log_loss", "optimizer": "adagrad"}),
    "dense, classes": ("classes", "dense", adam("log_loss")),
    "sparse": ("binary", "sparse", adam("hinge")),
    "sparse, lazy, one row": ("classes", "sparse", {"optimizer": "sgd", "batch_size": 1, "alpha": 1e-3}),
    "network": ("classes", "dense", adam("log_loss", hidden_layer_sizes=[9, 7])),
    "network, sparse, drift": ("classes", "sparse", adam("log_loss", hidden_layer_sizes=[9, 7], activation="gelu")),
    "network, sparse, repeat": ("number", "sparse", {"optimizer": "adagrad", "hidden_layer_sizes": [9], "alpha": 1e-3}),
    "stream": ("number", "stream", {"optimizer": "rmsprop"}),
    "stream of networks": ("binary", "stream", {"hidden_layer_sizes": [9, 7]}),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_who_compiles_gets_the_bits_of_who_reads(problem, tmp_path):
    compiling, reading = (fits(tmp_path, problem) for _ in range(2))
    assert compiling == reading
    assert compiling[0][0] == "compiled"


def test_all_who_compile_get_the_same_bits(request, tmp_path):
    """Each process compiles the loop, and takes two equal streams."""
    n_processes, stream = 6 if request.config.getoption("whole") else 2, ("binary", "stream", {"optimizer": "auto"})
    results = [each for number in range(n_processes) for each in fits(tmp_path / str(number), stream, stream)]
    assert len(set(results)) == 1
    assert results[0][0] == "compiled"


def test_where_arrays_lie_does_not_matter(monkeypatch):
    """A loop may have versions for arrays that are near each other, or not aligned."""
    monkeypatch.setattr(skgd.engines, "REPAYS_SECONDS", 0.0)
    allocated, places = streams.StreamLoop._allocated, np.random.default_rng(0)
    X = np.random.default_rng(1).normal(size=(900, 21))
    y = X[:, 0] + X[:, 1] > 0.5

    def moved(arrays, memory, gap):
        """Return equal arrays that lie in a memory of numbers, one after the other, with gaps of up to this many."""
        if isinstance(arrays, tuple):
            return tuple(moved(each, memory, gap) for each in arrays)
        memory.append(memory[-1] + places.integers(gap + 1))
        begin, n = memory[-1], -(-arrays.nbytes // 8)
        memory[-1] += n
        there = memory[0][begin : begin + n].view(arrays.dtype)[: arrays.size].reshape(arrays.shape)
        there[:] = arrays
        return there

    def coefficients(gap):
        def elsewhere(self, *arguments):
            scratch, memory = allocated(self, *arguments), [np.zeros(2**20), 0]
            return scratch._replace(
                arrays=moved(scratch.arrays, memory, gap), work=moved(tuple(scratch.work), memory, gap)
            )

        monkeypatch.setattr(streams.StreamLoop, "_allocated", allocated if gap is None else elsewhere)
        model = GDClassifier()
        for start in (*range(0, 800, 8), *range(800, 900)):
            stop = start + (8 if start < 800 else 1)
            model.partial_fit(X[start:stop], y[start:stop], classes=[False, True])
        assert model.engine_ == "compiled"
        return [*model.coef_.ravel(), *model.intercept_]

    usual = coefficients(None)
    assert all(coefficients(gap) == usual for gap in (0, 0, 1, 3, 8, 40, 40))


def test_processes_do_not_mix_up_functions_of_the_same_name(tmp_path):
    """Each of two processes compiles a loop with the other's names and counters; a third reads both, and compiles."""
    losses = "log_loss", "hinge", "squared_hinge"
    problems = [("binary", "dense", adam(loss)) for loss in losses]
    alone = [fits(tmp_path / loss, problem)[0] for loss, problem in zip(losses, problems, strict=True)]
    assert len(set(alone)) == 3
    shared = tmp_path / "shared"
    assert [fits(shared, problem)[0] for problem in problems[:2]] == alone[:2]
    assert fits(shared, *problems) == alone
    assert fits(shared, *reversed(problems)) == alone[::-1]


def test_functions_are_named_by_all_that_they_depend_on():
    from skgd.engines.compiled.kinds import Kind
    from skgd.engines.compiled.loss import _target_binary
    from skgd.engines.compiled.specialize import specialized
    from skgd.engines.compiled.steps import take_steps
    from skgd.losses import Hinge, LogLoss
    from skgd.optimizers import Adam

    kinds = [Kind(Adam, loss, _target_binary, single=single) for loss in (LogLoss, Hinge) for single in (True, False)]
    names = [specialized(take_steps, kind.filled_in()).name for kind in (*kinds, kinds[0])]
    assert len(set(names)) == 4
    assert names[0] == names[4]


DAMAGES = [
    ("nbi", lambda content: content[: len(content) // 2]),
    ("nbi", lambda content: b"nonsense"),
    ("nbc", lambda content: content[: len(content) // 2]),
    ("nbc", lambda content: b""),
]


def test_broken_files_are_replaced(tmp_path):
    problem = PROBLEMS["dense, one row"]
    expected = fits(tmp_path, problem)
    for suffix, damage in DAMAGES:
        files = sorted(tmp_path.rglob(f"*.{suffix}"))
        assert files
        broken = [damage(file.read_bytes()) for file in files]
        for file, content in zip(files, broken, strict=True):
            file.write_bytes(content)
        assert fits(tmp_path, problem) == expected
        assert sorted(tmp_path.rglob(f"*.{suffix}")) == files
        assert all(file.read_bytes() != content for file, content in zip(files, broken, strict=True))


def run(script, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PROBLEM = """
import numpy as np
import skgd.engines
from skgd import GDClassifier, GDRegressor
skgd.engines.REPAYS_SECONDS = 0.0
X = np.random.default_rng(0).normal(size=(50, 3))
y = X @ [1.0, 2.0, 3.0]
model = GDRegressor(optimizer="sgd", learning_rate=0.05, batch_size=1, max_iter=2, tol=None, random_state=0)
"""

FULL_DISK = """
import errno
from unittest import mock
import numba.core.caching as caching
full = OSError(errno.ENOSPC, "No space left on device")
with mock.patch.object(caching.IndexDataCacheFile, "save", side_effect=full) as save:
    assert model.fit(X, y).engine_ == "compiled"
assert save.called
assert model.score(X, y) > 0.9
"""

IMPORT = """
import sys, warnings
class WithoutMemory:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.compiler":
            raise MemoryError
sys.meta_path.insert(0, WithoutMemory())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert model.fit(X, y).engine_ == "vectorized"
assert [str(each.message)[:27] for each in caught] == ["Numba could not be imported"], caught
del sys.meta_path[0]
assert model.fit(X, y).engine_ == "vectorized"
assert model.score(X, y) > 0.9
"""


# Numbers of a message, and what is printed, are objects of Python's: code needs an environment for these.
RULE_WITH_OBJECTS = """
import pytest
from skgd.optimizers import SGD
class Rule(SGD):
    slots = ()
    def hyper(self):
        return ()
    def initial(self):
        return ()
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t == 2.0:
            print("step", t)
        if t == 3.0:
            raise ValueError("the gradient is", g)
        return w - lr * g, lr, slots
with pytest.raises(ValueError, match="the gradient is.*[0-9]"):
    GDRegressor(optimizer=Rule(), learning_rate=0.05, batch_size=1, max_iter=2, tol=None).fit(X, y)
"""


def test_who_compiles_a_users_function_can_print_and_raise_objects(tmp_path):
    for _ in range(2):  # compiles it, and reads it
        assert run(PROBLEM + RULE_WITH_OBJECTS, NUMBA_CACHE_DIR=str(tmp_path)).startswith("step 2")


def test_a_full_disk_is_no_reason_to_fail(tmp_path):
    run(PROBLEM + FULL_DISK, NUMBA_CACHE_DIR=str(tmp_path))


def test_an_import_that_fails_halfway_leaves_numpy():
    run(PROBLEM + IMPORT)


def test_a_loop_is_compiled_once_however_many_steps_it_takes():
    few, many = ([*map(numba.typeof, workspace.drifts(Adam(), 0, n_steps, 8))] for n_steps in (5, 5000))
    assert few == many


@pytest.mark.parametrize("frozen", [False, True])
def test_compiling_leaves_the_collector_as_it_was(frozen):
    if frozen:
        gc.freeze()
    try:
        before = gc.get_freeze_count(), gc.get_threshold()
        with inlining.collecting_less():
            assert gc.get_freeze_count() > 0
        assert (gc.get_freeze_count(), gc.get_threshold()) == before
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("body", ["x + 1.0", "x.of_no_number"])
def test_compiling_leaves_numba_as_it_was(body):
    usual = [getattr(place, name) for place, name, _ in remembering._CHANGES]
    loop = specialize.Loop(made(f"def function(x): return {body}"), lasting=False)
    with nullcontext() if "+" in body else pytest.raises(specialize.CannotCompile):
        assert loop(1.0) == 2.0
    assert [getattr(place, name) for place, name, _ in remembering._CHANGES] == usual


def test_compiling_is_announced_once(tmp_path):
    script = PROBLEM + "model.set_params(verbose=1).fit(X, y)"
    first, second = (run(script, NUMBA_CACHE_DIR=str(tmp_path)).splitlines() for _ in range(2))
    assert [line for line in first if line.startswith("Compiling")] == first[:1]
    assert first[1:] != second  # seconds differ
    assert len(first[1:]) == len(second) == 4


def made(source, name="function", **namespace):
    """Return a function, made of source code."""
    exec(source, namespace | {"__name__": "of_a_user"}, namespace)
    return namespace[name]


def test_fingerprints_tell_functions_apart():
    import cmath
    import math
    from collections import namedtuple

    from skgd.engines.compiled.specialize import specialized

    calls = "def function(x): return log(x)"
    variants = [
        made("def function(x, y): return y"),
        made("def function(x, *y): return y"),
        *(types.FunctionType(made(calls).__code__, {"log": module.log}) for module in (math, cmath)),
        *(types.FunctionType(made(calls).__code__, {"log": namedtuple("P", "a")(value)}) for value in (1.0, 2.0)),
    ]
    assert len({specialized(function, {}).name for function in variants}) == len(variants)


class Constants(NamedTuple):
    share: float


CONSTANTS = Constants(0.5)


class ByConstants(Optimizer):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        return w - CONSTANTS.share * lr * g, CONSTANTS.share * lr, slots


class WithArrays(Optimizer):
    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        step = np.zeros(2)
        step[0] = lr * g
        return w - step.sum(), lr, slots


class Unreadable(Optimizer):
    """Raises what a full disk raises."""

    def __init__(self, learning_rate=0.1, at=3):
        self.learning_rate = learning_rate
        self.at = at

    def hyper(self):
        return (float(self.at),)

    @staticmethod
    def rule(w, g, lr, t, slots, hyper):
        if t >= hyper[0]:
            raise OSError("unreadable")
        return w - lr * g, lr, slots


def test_rules_may_read_named_tuples_make_arrays_and_raise_what_a_disk_raises():
    X = np.random.default_rng(0).normal(size=(20, 2))
    settings = {"batch_size": 1, "max_iter": 1, "tol": None, "learning_rate": 0.01}
    with mock.patch.object(skgd.engines, "REPAYS_SECONDS", 0.0):
        for optimizer in (ByConstants(), WithArrays()):
            assert GDRegressor(optimizer=optimizer, **settings).fit(X, X[:, 0]).engine_ == "compiled"
        for _ in range(2):
            with pytest.raises(OSError, match="unreadable"):
                GDRegressor(optimizer=Unreadable(), **settings).fit(X, X[:, 0])
        assert GDRegressor(optimizer=Unreadable(at=30), **settings).fit(X, X[:, 0]).engine_ == "compiled"
