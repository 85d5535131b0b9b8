"""One call of ``fit``, as others see it: what its callbacks are told, and what it takes to go on with it later.

`Run` speaks scikit-learn's protocol of callbacks, :mod:`sklearn.callback`; callbacks themselves are in
:mod:`skgd.callbacks`. `Unfinished` is what a checkpoint adds to an estimator, and what ``fit`` goes on from.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import sklearn

from skgd.state import Data, Progress, State

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Takes the place of scikit-learn's, which came with version 1.9."""

        def set_callbacks(self, *callbacks: Any) -> Self:
            """Raise an error that says which version of scikit-learn has callbacks."""
            raise ImportError(
                f"set_callbacks needs scikit-learn 1.9 or newer, and this is {sklearn.__version__}. Upgrade it: "
                "pip install -U scikit-learn"
            )

    def with_callbacks(method: Callable) -> Callable:
        """Return the method with as many frames around it as scikit-learn's decorator has, for warnings to skip."""

        @functools.wraps(method)
        def without_callbacks(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return without_callbacks


@dataclass(frozen=True)
class Beginning:
    """What training began with; it goes on to the same bits only with the same."""

    parameters: Mapping[str, Any]
    data: int  # a checksum
    states: Any  # of the random state, before samples were held out

    @classmethod
    def of(cls, parameters: Mapping[str, Any], data: Data, validation: Data | None, states: Any) -> Beginning:
        """Return what training begins with; this reads all data."""
        return cls(parameters, _checksum(data, validation), states)

    def check(self, parameters: Mapping[str, Any], data: Data, validation: Data | None) -> None:
        """Raise ValueError where the parameters or the data are others."""
        anew = "To start from scratch, fit a clone: sklearn.base.clone(estimator).fit(...)."
        for name, value in self.parameters.items():
            if parameters[name] != value:
                raise ValueError(
                    f"{name} was changed after the checkpoint was written, so that training cannot resume from it. "
                    f"Reset it. {anew}"
                )
        if _checksum(data, validation) != self.data:
            raise ValueError(
                "X, y, the sample weights or the validation set are not those of the checkpoint, so that "
                f"training cannot resume from it. Pass the same data. {anew}"
            )

    def random_state(self) -> np.random.RandomState:
        """Return the random state as it was."""
        random_state = np.random.RandomState()
        random_state.set_state(self.states)
        return random_state


def _checksum(*data_sets: Data | None) -> int:
    """Return a number that tells data sets apart."""
    value = 0
    for data in data_sets:
        part: Any
        for part in data or ():
            arrays = (part.data, part.indices, part.indptr) if sp.issparse(part) else (part,)
            for array in arrays:
                value = zlib.crc32(repr(np.shape(array)).encode(), value)
                value = zlib.crc32(b"" if array is None else np.ascontiguousarray(array).data, value)
    return value


@dataclass(frozen=True)
class Best:
    """What `EarlyStopping` has seen of a training."""

    value: float = float("inf")
    waited: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unfinished:
    """A fit between two of its epochs: what a `Checkpoint` adds to the estimator, and `fit` goes on from."""

    beginning: Beginning
    progress: Progress
    best: Best = field(default_factory=Best)


class Run:
    """One call of ``fit`` as its callbacks see it: a root task, and a subtask for each epoch.

    ``beginning`` and ``attributes``, which returns the fitted attributes at a moment of the training, are called only
    if a callback asks for ``fitted_estimator``.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        n_epochs: int,
        beginning: Callable[[], Beginning],
        attributes: Callable[[State, Progress], dict[str, Any]],
    ):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._estimator = estimator
        self._given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._beginning = beginning
        self._attributes = attributes
        self._root = estimator._init_callback_context(max_subtasks=n_epochs)
        self._root.call_on_fit_task_begin(**self._given)
        self._now: tuple[State, Progress] | None = None
        self.unpacked: Callable[[State], State] = lambda state: state

    def begin_epoch(self, state: State, progress: Progress) -> None:
        """Tell the callbacks that an epoch begins."""
        self._now = state, progress
        self._epoch = self._root.subcontext(task_name="epoch")
        self._epoch.call_on_fit_task_begin(**self._given, reconstruction_attributes=self._fitted_now)

    def end_epoch(self, state: State, progress: Progress) -> bool:
        """Tell the callbacks that an epoch has ended; return whether one of them wants to stop."""
        self._now = state, progress
        stop = self._epoch.call_on_fit_task_end(**self._given, reconstruction_attributes=self._fitted_now)
        self._now = state, replace(progress, stopped=stop)
        return stop

    def end(self) -> None:
        """Tell the callbacks that the estimator is fitted: to the best epoch, if one of them has chosen it."""
        if hasattr(self._estimator, "_early_stopping"):
            self._estimator.__dict__.update(self._estimator._early_stopping.attributes)
        self._root.call_on_fit_task_end(**self._given, reconstruction_attributes=self._unfinished)

    def _fitted_now(self) -> dict[str, Any]:
        """Return the attributes of an estimator that is fitted as far as training has come."""
        assert self._now is not None
        state, progress = self._now
        return self._attributes(self.unpacked(state), progress) | self._unfinished()

    def _unfinished(self) -> dict[str, Any]:
        """Return, for a `Checkpoint`, where the last complete epoch ended, unless this call had no epoch at all."""
        return {} if self._now is None else {"_progress": Unfinished(self._beginning(), self._now[1])}
