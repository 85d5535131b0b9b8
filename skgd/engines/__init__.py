"""Engines: how one epoch of mini-batches is executed. Both give the same result.

`skgd.engines.vectorized` defines the meaning, in NumPy. `skgd.engines.compiled` does the same in loops compiled by
Numba, which is imported when it is first needed: compilation takes some seconds (once per machine), so that small
problems do not use it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from skgd.coordinates import Coordinates
from skgd.engines import vectorized
from skgd.engines.vectorized import (
    EpochSummary,
    Iterate,
    StepSettings,
    increasing_weights,
    initial_iterate,
    is_to_clear,
    readout,
    without_subnormal,
)
from skgd.measuring import Measures, measure_columns
from skgd.objective import Objective
from skgd.optimizers import Optimizer
from skgd.outliers import squares_of_rows

__all__ = [
    "MANY_EPOCHS",
    "USUAL_EPOCHS",
    "Engine",
    "EpochSummary",
    "Iterate",
    "StepSettings",
    "choose",
    "choose_measure",
    "choose_squares",
    "choose_stream",
    "choose_wide",
    "few_columns",
    "has_duplicates",
    "increasing_weights",
    "initial_iterate",
    "readout",
    "renumbered",
    "run_epoch",
    "stream_loop",
    "unless_beyond_numba",
    "wide_loop",
]

Engine: TypeAlias = Literal["vectorized", "compiled"]

# Where the vectorized engine would take longer than this, compiled loops repay reading or even compiling them.
REPAYS_SECONDS = 0.2
# About what the vectorized engine needs, by profile.
_SECONDS_A_STEP = 2e-4
_SECONDS_A_PARAMETER = 2e-8  # in each step
_SECONDS_AN_ENTRY = 1e-8
_NETWORK_REPAYS = 2  # times as much, for their loops take longer to compile
_SECONDS_A_LAYER = 2e-4  # of a network, in each step
_SECONDS_A_PRODUCT = 2e-10
_SECONDS_A_STREAM_STEP = 4e-4
USUAL_EPOCHS = 10
MANY_EPOCHS = 100  # where training goes on to the minimum


_cannot_compile: set[tuple[Any, ...]] = set()
_broken = False  # whether an import of Numba has failed, which is not tried again


def choose(optimizer: Optimizer, objective: Objective, *, n_epochs: int, n_steps: int, n_entries: int) -> Engine:
    """Return the engine for epochs of so many steps, which read so many entries of X.

    It depends on nothing else: with another engine, the last bits would differ.
    """
    if objective.hidden_layer_sizes:
        step, entry = _SECONDS_A_LAYER * (len(objective.layer_sizes) - 1), _SECONDS_A_PRODUCT * objective.layer_sizes[1]
        repays = _NETWORK_REPAYS * REPAYS_SECONDS
    else:
        step, entry, repays = _SECONDS_A_STEP, _SECONDS_AN_ENTRY * objective.n_outputs, REPAYS_SECONDS
    step += objective.n_parameters * _SECONDS_A_PARAMETER
    seconds = _seconds(n_epochs, n_steps, n_entries, step, entry)
    return "compiled" if seconds > repays and _compiles(optimizer, objective) else "vectorized"


def choose_measure(*, n_epochs: int, n_steps: int, n_entries: int) -> Callable[..., Measures]:
    """Return what measures the columns, for epochs of at least so many steps, which read so many entries of X."""
    compiled = _compiled_for(n_epochs, n_steps, n_entries)
    return measure_columns if compiled is None else compiled.measure_columns


def choose_squares(*, n_epochs: int, n_steps: int, n_entries: int) -> Callable[[Any, Coordinates], np.ndarray]:
    """Return what measures the norms of the rows, for the same epochs."""
    compiled = _compiled_for(n_epochs, n_steps, n_entries)
    return squares_of_rows if compiled is None else compiled.squares_of_rows


def renumbered(X: sp.csr_array, number: np.ndarray) -> np.ndarray:
    """Return the indices of a CSR matrix whose columns have new numbers."""
    compiled = _compiled_for(USUAL_EPOCHS, 1, X.nnz)
    return number.take(X.indices) if compiled is None else compiled.renumbered(X, number)


def has_duplicates(X: sp.csr_array) -> bool:
    """Say whether a CSR matrix has several entries in one place."""
    if X.has_canonical_format:
        return False
    compiled = _compiled_for(USUAL_EPOCHS, 1, X.nnz)
    if compiled is None:
        X = X.sorted_indices()
        return not X.has_canonical_format
    return compiled.has_duplicates(X)


def _compiled_for(n_epochs: int, n_steps: int, n_entries: int) -> Any:
    """Return the compiled engine, if training repays it, whatever is trained."""
    return _compiled() if _seconds(n_epochs, n_steps, n_entries) > REPAYS_SECONDS else None


def _seconds(
    n_epochs: int, n_steps: int, n_entries: int, step: float = _SECONDS_A_STEP, entry: float = _SECONDS_AN_ENTRY
) -> float:
    """Return about what the vectorized engine needs for epochs of so many steps, which read so many entries of X."""
    return n_epochs * (n_steps * step + n_entries * entry)


def _compiles(optimizer: Optimizer, objective: Objective) -> bool:
    return _compiled() is not None and _strategies(optimizer, objective) not in _cannot_compile


def _compiled() -> Any:
    """Return the compiled engine, or None without Numba, or with one that cannot be imported."""
    global _broken
    if _broken:
        return None
    try:
        import numba  # noqa: F401

        from skgd.engines import compiled
    except ImportError:  # it is not installed, or does not know this NumPy
        _broken = True
        return None
    except Exception as error:  # for want of memory, say; what is half imported cannot be imported again
        _broken = True
        warnings.warn(
            f"Numba could not be imported ({type(error).__name__}: {error}). In this process, training runs in NumPy: "
            "slower, with the same result. Start a new process, with more memory if that was the reason.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return compiled


def _strategies(optimizer: Optimizer, objective: Objective) -> tuple[Any, ...]:
    rules = (optimizer.rule, objective.loss.value, objective.loss.gradient)
    activation = objective.activation
    return (*rules, activation.value, activation.derivative) if objective.hidden_layer_sizes else rules


def choose_stream(optimizer: Optimizer, objective: Objective, X: Any, t: int) -> bool:
    """Say whether, after t steps, a stream continues in compiled loops: with slots that no one rebases."""
    step, repays = _SECONDS_A_STREAM_STEP, REPAYS_SECONDS
    if objective.hidden_layer_sizes:
        step, repays = step + objective.n_parameters * _SECONDS_A_PARAMETER, _NETWORK_REPAYS * REPAYS_SECONDS
    return (
        t * step > repays
        and (type(X) is not np.ndarray or X.flags.c_contiguous)
        and type(optimizer).rebase is Optimizer.rebase
        and _compiles(optimizer, objective)
    )


def choose_wide(optimizer: Optimizer, objective: Objective, X: Any, t: int) -> bool:
    """Say whether, after t steps, a wide stream continues in a loop.

    With strategies of skgd's own, it does so from the first row on, for the loop gives the same bits in Python, which
    no one has to wait for.
    """
    strategies = type(optimizer), type(objective.loss)
    loops = _loops()
    return loops is not None and (loops.are_ours(*strategies) or choose_stream(optimizer, objective, X, t))


def _loops() -> Any:
    """Return the compiled engine, of which wide streams take a loop as Python, too, with Numba or without."""
    try:
        from skgd.engines import compiled
    except ImportError:
        return None
    return compiled


def stream_loop(objective: Objective, optimizer: Optimizer, *arguments: Any) -> Any:
    """Return the compiled loop of a stream, or None for a rule beyond Numba."""
    return unless_beyond_numba(objective, optimizer, _compiled().StreamLoop, objective, optimizer, *arguments)


def few_columns(objective: Objective, optimizer: Optimizer, begin: int, in_user_units: bool) -> Any:
    """Return what gathers columns of a stream that visits few of them."""
    return _loops().FewColumns(objective, optimizer, begin, in_user_units)


def wide_loop(objective: Objective, optimizer: Optimizer, *arguments: Any) -> Any:
    """Return the loop of a wide stream, or None for a rule beyond Numba."""

    def compiles() -> bool:
        return _compiles(optimizer, objective)

    return unless_beyond_numba(objective, optimizer, _loops().WideLoop, compiles, objective, optimizer, *arguments)


def run_epoch(engine: Engine, *arguments: Any) -> tuple[EpochSummary, Engine]:
    """Run an epoch with an engine; return what the epoch says of itself, and which engine it was in the end.

    The arguments are those of `skgd.engines.vectorized.run_epoch`, which takes over where a rule cannot be compiled.
    """
    objective, optimizer, _, holder, *_ = arguments
    before, summary = holder.iterate.t, None
    if engine == "compiled":
        summary = unless_beyond_numba(objective, optimizer, _compiled().run_epoch, *arguments)
    if summary is None:
        engine, summary = "vectorized", vectorized.run_epoch(*arguments)
    if is_to_clear(before, holder.iterate.t):
        holder.iterate = without_subnormal(holder.iterate)
    return summary, engine


def unless_beyond_numba(objective: Objective, optimizer: Optimizer, call: Callable, *arguments: Any) -> Any:
    """Return what a call of the compiled engine does, or None, and remember that, for a rule beyond Numba."""
    try:
        return call(*arguments)
    except _loops().CannotCompile:  # which is looked up only where something is raised
        _cannot_compile.add(_strategies(optimizer, objective))
        return None
