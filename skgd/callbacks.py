"""Callbacks: who watches a ``fit``, and may stop it. They follow scikit-learn's protocol, :mod:`sklearn.callback`.

`GDRegressor` and `GDClassifier` take scikit-learn's callbacks and those of this module, from scikit-learn 1.9 on::

    GDClassifier().set_callbacks(ProgressBar(), EarlyStopping(X_val, y_val)).fit(X, y)

The tasks that callbacks are told of are the whole fit, "fit", and in it one "epoch" after the other. A callback gets
X, y and the sample weights as they were passed to ``fit``, and, if its hook asks for it, ``fitted_estimator``: a copy
with the parameters of that moment, ready to predict, and the history until then. A hook at the end of an epoch that
returns True ends the training there.

The callbacks of this module hold no state of a training: one object may serve many estimators, as in a grid search.
What they have to remember lives in the estimator that is being trained.
"""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import re
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from sklearn.metrics import check_scoring
from sklearn.utils import check_scalar

from skgd.estimators import GDClassifier, GDRegressor
from skgd.run import Best
from skgd.strategy import level_of_caller, plain_repr

try:
    import fcntl
except ImportError:  # on Windows, which refuses by itself to remove a file that is open
    fcntl = None  # type: ignore[assignment]

__all__ = ["Checkpoint", "EarlyStopping", "MLflowLogger"]

# Attributes that the fitted estimator has not.
_OF_A_RUN = ("_progress", "_early_stopping", "_checkpoint_due", "_checkpoints_failed", "_mlflow_run")

_MOST_METRICS = 1000  # that a server of MLflow takes at once
_SECONDS_BETWEEN = 1.0  # calls of a server, which may be far away


def _is_epoch(context: Any) -> bool:
    return context.task_name == "epoch"


def _check_estimator(callback: Any, estimator: Any) -> None:
    if not hasattr(estimator, "_validation_loss"):
        raise TypeError(
            f"{type(callback).__name__} is for GDRegressor and GDClassifier, got {type(estimator).__name__}. In a "
            "pipeline, set it on the last step: pipeline[-1].set_callbacks(...)."
        )


class EarlyStopping:
    r"""Stop when a validation set's loss or score no longer improves, and go back to the best epoch.

    Let :math:`v_k` be the monitored value after epoch k (a score counts as its negative, so that less is better), and
    :math:`v^*` the least so far. Training stops after ``patience`` epochs in a row without

    .. math:: v_k < v^* - \delta

    with :math:`\delta` = ``min_delta``. The fitted estimator has the parameters of the epoch with the least value, the
    first of equals, bit for bit, whatever ended the training: ``best_iter_``, with ``best_score_``, unless the loss is
    monitored. ``history_`` and ``n_iter_`` tell of all epochs.

    Parameters
    ----------
    X_val : {array-like, sparse matrix} of shape (n_samples, n_features)
        The validation set, as the estimator itself would take it: in a pipeline, after the transformers.
    y_val : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Its targets.
    sample_weight_val : array-like of shape (n_samples,), default=None
        Its weights.
    monitor : "loss", str, callable or None, default="loss"
        What to watch: the estimator's loss, with class weights if it has them, or a scorer, by name (such as
        "roc_auc") or as an object, of which more is better. None is the estimator's ``score``. Of several targets or
        labels, each one's loss is divided by that of its best constant model, and the mean watched: no unit decides.
    patience : int, default=10
        How many epochs without improvement end the training, at least 1.
    min_delta : float, default=0.0
        By how much a value has to fall below the best to count as an improvement, at least 0, in units of the value.

    Raises
    ------
    ValueError, TypeError
        For bad parameters; in ``fit``, for a validation set that does not fit the training data, for a second
        EarlyStopping, and on estimators of others.

    See Also
    --------
    skgd.GDClassifier.fit : With ``X_val`` and ``y_val`` it stops by their loss and ``tol`` without any callback.

    Notes
    -----
    The estimator's own ``tol`` still ends the training, too, when the objective no longer falls: set ``tol=None`` to
    leave that to this callback. Training that goes on from a `Checkpoint` goes on counting where it was.

    References
    ----------
    L. Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, 1998.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from skgd import GDClassifier
    >>> from skgd.callbacks import EarlyStopping
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(X, y, random_state=0)
    >>> model = GDClassifier(tol=None, max_iter=500, random_state=0)
    >>> model = model.set_callbacks(EarlyStopping(X_val, y_val, monitor="roc_auc", patience=5))
    >>> model.fit(X, y).n_iter_ < 500
    True
    """

    def __init__(
        self,
        X_val: ArrayLike,
        y_val: ArrayLike,
        sample_weight_val: ArrayLike | None = None,
        *,
        monitor: str | Callable | None = "loss",
        patience: int = 10,
        min_delta: float = 0.0,
    ):
        if X_val is None or y_val is None:
            raise ValueError("EarlyStopping needs X_val and y_val, the validation set that it watches.")
        _check_number("EarlyStopping(patience)", patience, Integral, 1)
        _check_number("EarlyStopping(min_delta)", min_delta, Real, 0.0)
        self.X_val = X_val
        self.y_val = y_val
        self.sample_weight_val = sample_weight_val
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin to watch a training."""
        _check_estimator(self, estimator)
        if self.monitor != "loss":
            check_scoring(estimator, self.monitor)
        if hasattr(estimator, "_early_stopping"):
            raise ValueError("Two EarlyStopping callbacks would choose different epochs as the best. Set only one.")
        estimator._early_stopping = estimator._unfinished.best if hasattr(estimator, "_unfinished") else Best()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> bool:
        """Look at the validation set after an epoch, and return whether to stop."""
        if not _is_epoch(context):
            return False
        best: Best = estimator._early_stopping
        value = self._value(fitted_estimator)
        waited = 0 if value < best.value - self.min_delta else best.waited + 1
        if value < best.value:
            parameters = "coef_", "intercept_", "coefs_", "intercepts_", "_state", "_fingerprint"
            names = (*parameters, "suboptimality_", "best_iter_", "t_")
            attributes = {name: value for name, value in vars(fitted_estimator).items() if name in names}
            attributes["best_score_"] = math.nan if self.monitor == "loss" else -value
            best = replace(best, value=value, attributes=attributes)
        estimator._early_stopping = replace(best, waited=waited)
        return waited >= self.patience

    def teardown(self, estimator: Any, context: Any) -> None:
        """Forget what was seen."""
        vars(estimator).pop("_early_stopping", None)

    def _value(self, fitted_estimator: Any) -> float:
        weight = self.sample_weight_val
        if self.monitor == "loss":
            return fitted_estimator._validation_loss(self.X_val, self.y_val, weight)
        scorer = check_scoring(fitted_estimator, self.monitor)
        weights = {} if weight is None else {"sample_weight": weight}
        return -float(scorer(fitted_estimator, self.X_val, self.y_val, **weights))


class Checkpoint:
    """Write the training to a file every so often, so that it can go on after an interruption, to the same bits.

    ``Checkpoint.load(path)`` returns the estimator as it was after the last epoch that was written: it predicts, and
    its next ``fit``, called with the same data, goes on with the epochs that are left. The result is that of a training
    that was never interrupted, bit for bit: coefficients, ``history_`` (but for the seconds) and ``n_iter_``.

    A file is complete at any moment: it is written beside the old one, which it then replaces. At the end of training,
    also by Ctrl-C, it is written once more. Where it cannot be written, because the disk is full for example, training
    warns and goes on, the old file stays, and the next writing is tried as planned. What a killed process has left
    half-written beside the file is removed by the next ``fit``. ``fit`` of a training that had ended has nothing left
    to do; raise ``max_iter`` to go on with it.

    Parameters
    ----------
    path : str or path
        The file. Its folder has to exist; an existing file is overwritten.
    every_n_epochs : int, default=None
        Write after every so many epochs, at least 1.
    every_n_seconds : float, default=None
        Write after the first epoch that ends so many seconds, above 0, after the last writing. With both, whichever
        comes first; with neither, every epoch.

    Raises
    ------
    ValueError, TypeError
        For bad parameters; in ``fit``, on estimators of others, and in a grid search, where all trainings would write
        to one file.
    OSError
        In ``fit``, before the first epoch, where the folder does not exist or cannot be written to, or the path is that
        of a folder.

    Notes
    -----
    Callbacks are not written: set them again on what was loaded, as in the example; an `EarlyStopping` then goes on
    counting where it was. Before going on, ``max_iter``, ``tol``, ``n_iter_no_change``, ``verbose`` and ``warm_start``
    may be changed; ``fit`` refuses other changes, and other data. The same bits need the same versions of the libraries
    on the same kind of machine. Writing needs scikit-learn 1.9 or newer, as all callbacks do.

    The file is a :mod:`pickle`: load only files that you trust.

    Examples
    --------
    A script that goes on where it ended, however often it is started:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> from skgd.callbacks import Checkpoint
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = Path(tempfile.mkdtemp()) / "cancer.checkpoint"
    >>> model = Checkpoint.load(path) if path.exists() else GDClassifier(random_state=0)
    >>> model.set_callbacks(Checkpoint(path, every_n_epochs=10)).fit(X, y)
    GDClassifier(random_state=0)
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        every_n_epochs: int | None = None,
        every_n_seconds: float | None = None,
    ):
        if every_n_epochs is not None:
            _check_number("Checkpoint(every_n_epochs)", every_n_epochs, Integral, 1)
        if every_n_seconds is not None:
            _check_number("Checkpoint(every_n_seconds)", every_n_seconds, Real, 0.0, "neither")
        self.path = Path(path)
        self.every_n_epochs = every_n_epochs
        self.every_n_seconds = every_n_seconds

    @staticmethod
    def load(path: str | os.PathLike) -> GDClassifier | GDRegressor:
        """Return the estimator that was written to a file, ready to predict, and to go on with its ``fit``.

        Parameters
        ----------
        path : str or path
            The file. It is a pickle: load only files that you trust.

        Returns
        -------
        estimator : GDClassifier or GDRegressor
            Without callbacks.

        Raises
        ------
        ValueError
            Where the file holds no checkpoint.
        """
        with open(path, "rb") as file:
            try:
                estimator = pickle.load(file)
            except (pickle.UnpicklingError, EOFError) as error:
                raise ValueError(f"{os.fspath(path)!r} holds no checkpoint: {error}") from None
        if not hasattr(estimator, "_unfinished"):
            raise ValueError(f"{os.fspath(path)!r} holds no checkpoint, but an object of {type(estimator).__name__}.")
        return estimator

    def setup(self, estimator: Any, context: Any) -> None:
        """Check, before the first epoch, that writing after it will make sense."""
        _check_estimator(self, estimator)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"The folder of the checkpoint {str(self.path)!r} does not exist. Make it first.")
        if self.path.is_dir():
            raise IsADirectoryError(f"The checkpoint {str(self.path)!r} is a folder. Give the path of a file.")
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"The folder of the checkpoint {str(self.path)!r} cannot be written to.")
        several = _trainer_of_several(context)
        if several is not None:
            raise ValueError(
                f"{several} trains several estimators, which would all write to {str(self.path)!r}. Set Checkpoint on "
                "an estimator that you fit yourself."
            )
        self._remove_leftovers()
        estimator._checkpoints_failed = set()
        estimator._checkpoint_due = time.monotonic() + (self.every_n_seconds or 0.0)

    def on_fit_task_begin(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """Write, if it is time to: before the next epoch, when other callbacks are done with the last one."""
        if not (_is_epoch(context) and fitted_estimator.n_iter_):
            return
        n_epochs = self.every_n_epochs
        every_epoch = n_epochs is None and self.every_n_seconds is None
        by_time = self.every_n_seconds is not None and time.monotonic() >= estimator._checkpoint_due
        if every_epoch or by_time or (n_epochs is not None and fitted_estimator.n_iter_ % n_epochs == 0):
            self._write(estimator, fitted_estimator, "Training goes on, and tries again when the next one is due")
            estimator._checkpoint_due = time.monotonic() + (self.every_n_seconds or 0.0)

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """Write when training has ended."""
        if not _is_epoch(context):
            estimator._checkpoints_failed.discard(self.path)  # what this writing does not save, no later one will
            self._write(
                estimator, fitted_estimator, "Training has ended: save the estimator itself, with pickle or joblib"
            )

    def teardown(self, estimator: Any, context: Any) -> None:
        """Forget when to write, and which writing failed."""
        for name in ("_checkpoint_due", "_checkpoints_failed"):
            vars(estimator).pop(name, None)

    def _write(self, estimator: Any, fitted_estimator: Any, afterwards: str) -> None:
        """Write the fitted estimator; warn where the first of several writings in a row fails."""
        try:
            self._replace(fitted_estimator)
            estimator._checkpoints_failed.discard(self.path)
        except OSError as error:
            if self.path not in estimator._checkpoints_failed:
                estimator._checkpoints_failed.add(self.path)
                kept = "It stays as it was before" if self.path.exists() else "There is none"
                message = f"The checkpoint {str(self.path)!r} could not be written: {error}. {kept}. {afterwards}."
                warnings.warn(message, RuntimeWarning, stacklevel=level_of_caller())

    def _replace(self, fitted_estimator: Any) -> None:
        """Write the estimator, without its callbacks; the file is replaced only when the new one is complete."""
        if not hasattr(fitted_estimator, "_progress"):  # nothing was left to do: what was loaded is complete
            return
        best = getattr(fitted_estimator, "_early_stopping", Best())
        estimator = _without_callbacks(fitted_estimator)
        estimator._unfinished = replace(fitted_estimator._progress, best=best)
        temporary = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.tmp")
        try:
            with open(temporary, "wb") as file:
                with suppress(OSError):  # where the file system knows no locks, nobody can take it for a leftover
                    _lock(file)
                pickle.dump(estimator, file, protocol=pickle.HIGHEST_PROTOCOL)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Remove files that killed processes have not finished; not those that others are writing at this moment."""
        pattern = re.compile(re.escape(self.path.name) + r"\.[0-9a-f]{32}\.tmp")
        for leftover in [each for each in self.path.parent.iterdir() if pattern.fullmatch(each.name)]:
            with suppress(OSError):
                if fcntl is not None:
                    with open(leftover, "r+b") as file:
                        _lock(file)
                leftover.unlink()


def _lock(file: Any) -> None:
    """Hold an open file, until it is closed or the process ends; raise OSError where another one holds it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass
class _MLflowRun:
    """The run of MLflow that one training is logged to, and how far it is."""

    begin: int  # entries of the history of earlier calls
    run_id: str = ""  # none, where it could not be begun
    own: bool = False  # begun for this training, and to be ended with it
    sent: int = 0  # entries that the run has
    due: float = 0.0
    status: str = "FAILED"
    failed: bool = False  # to log


class MLflowLogger:
    """Log a training to MLflow: the parameters, each epoch's entry of the history, how it ended, and the model.

    It is logged to the active run (``with mlflow.start_run(): model.fit(X, y)``) or, where there is none, to one of its
    own. The trainings of a search have a run each, nested in the active one.

    * Parameters: those of ``get_params``, such as ``optimizer__beta1``, but for those that the run has already.
    * Metrics: what ``history_`` has of each epoch, with the number of the epoch as the step; at the end ``n_iter_``,
      ``best_iter_``, ``best_score_``, ``alpha_`` and ``suboptimality_``, those that are known.
    * Tags: ``converged_``, ``stop_reason_`` and ``engine_``.
    * The model, in MLflow's flavors sklearn and pyfunc: ``mlflow.sklearn.load_model(...)``.

    Where something cannot be logged, because a server is gone for example, training warns once and goes on. What the
    run has not got is sent at the end, if that is possible then.

    Parameters
    ----------
    log_model : bool, default=True
        Whether to log the model at the end.
    **options
        Passed on to ``mlflow.sklearn.log_model``, such as ``registered_model_name="churn"`` or
        ``input_example=X[:3]``. ``pip_requirements`` are skgd and what it needs, if nothing else is passed. Where
        MLflow saves models by skops, ``skops_trusted_types`` is the estimator's own type; a model with an optimizer, a
        loss or a schedule of your own needs a list that has its type, too.

    Raises
    ------
    ImportError
        In ``fit``, where MLflow is not installed (``pip install skgd[mlflow]``).
    ValueError, TypeError
        For bad parameters; in ``fit``, on estimators of others.

    Notes
    -----
    Entries are sent once a second, those of several epochs together, so that a distant server does not slow training
    down; nor does one that is gone, which epochs do not wait for a second time. What is loaded predicts, and goes on
    learning.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.callbacks import MLflowLogger
    >>> model = GDClassifier().set_callbacks(MLflowLogger(registered_model_name="churn"))
    """

    def __init__(self, *, log_model: bool = True, **options: Any):
        if not isinstance(log_model, bool):
            raise TypeError(f"MLflowLogger(log_model) must be True or False, got {plain_repr(log_model)}.")
        self.log_model = log_model
        self.options = options

    def setup(self, estimator: Any, context: Any) -> None:
        """Find or begin the run, and log the parameters."""
        _check_estimator(self, estimator)
        _mlflow()
        begin = len(getattr(estimator, "history_", {}).get("objective", ())) if estimator.warm_start else 0
        run = estimator._mlflow_run = _MLflowRun(begin)
        _try(run, lambda: _find_or_begin(run, several=_trainer_of_several(context) is not None))
        given = estimator.get_params().items()
        params = {name: value if isinstance(value, str) else plain_repr(value) for name, value in given}
        if run.run_id:
            _try(run, lambda: _log_params(params, run.run_id))

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """Send what the history has got since the last time, at the end with all that is known then."""
        run: _MLflowRun = estimator._mlflow_run
        if not run.run_id:
            return
        if _is_epoch(context):
            if not run.failed and time.monotonic() >= run.due:
                _try(run, lambda: _send_history(run, fitted_estimator))
            return
        run.status = "FINISHED"
        _try(run, lambda: _send_history(run, fitted_estimator))
        _try(run, lambda: self._log_end(fitted_estimator))

    def teardown(self, estimator: Any, context: Any) -> None:
        """End the run, if it was begun here."""
        run = vars(estimator).pop("_mlflow_run", None)
        if run is not None and run.own:
            _try(run, lambda: _mlflow().end_run(run.status))

    def _log_end(self, fitted_estimator: Any) -> None:
        mlflow = _mlflow()
        model = _without_callbacks(fitted_estimator)
        numbers = ("n_iter_", "best_iter_", "best_score_", "alpha_", "suboptimality_")
        found = {name: float(getattr(model, name)) for name in numbers}
        mlflow.log_metrics({name: value for name, value in found.items() if math.isfinite(value)})
        mlflow.set_tags({name: getattr(model, name) for name in ("converged_", "stop_reason_", "engine_")})
        if not self.log_model:
            return
        options: dict[str, Any] = {"name": "model", "pip_requirements": _requirements()}
        if "skops_trusted_types" in inspect.signature(mlflow.sklearn.log_model).parameters:  # not in MLflow 3.0
            options["skops_trusted_types"] = [f"{type(model).__module__}.{type(model).__qualname__}"]
        mlflow.sklearn.log_model(model, **options | self.options)


def _mlflow() -> Any:
    """Import MLflow, here and nowhere else, or say what to install."""
    try:
        import mlflow
        import mlflow.sklearn
    except ImportError as error:
        raise ImportError("MLflowLogger needs MLflow, which is not installed: pip install skgd[mlflow]") from error
    return mlflow


def _try(run: _MLflowRun, log: Callable[[], None]) -> None:
    """Log something; where that fails, warn once: it is no reason to lose a training."""
    try:
        log()
    except Exception as error:  # of MLflow, of the network, of a disk
        if not run.failed:
            run.failed = True
            message = f"MLflowLogger could not log to MLflow ({error}). Training goes on, and the model is not lost."
            warnings.warn(message, RuntimeWarning, stacklevel=level_of_caller())


def _find_or_begin(run: _MLflowRun, several: bool) -> None:
    """Take the active run of MLflow, or begin one where there is none, or where it is that of several trainings."""
    mlflow = _mlflow()
    active = mlflow.active_run()
    own = active is None or several
    found = mlflow.start_run(nested=active is not None) if own else active
    run.run_id, run.own = found.info.run_id, own


def _log_params(params: dict[str, str], run_id: str) -> None:
    """Log parameters, but those of names that the run has already, of a Pipeline for example: it would refuse all."""
    known = _mlflow().get_run(run_id).data.params
    _mlflow().log_params({name: value for name, value in params.items() if name not in known})


def _requirements() -> list[str]:
    """Return what a model needs to be loaded. MLflow would look for it itself, for half a minute, and not find skgd."""
    found = {name: _version_of(name) for name in ("skgd", "scikit-learn", "numpy", "scipy", "cloudpickle", "skops")}
    return [f"{name}=={version}" for name, version in found.items() if version]


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _send_history(run: _MLflowRun, fitted_estimator: Any) -> None:
    """Send the entries of the history that the run does not have yet."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    history, now = fitted_estimator.history_, int(1000 * time.time())
    end = len(history["objective"])
    steps = range(run.begin + run.sent, end)
    entries = ((key, values[step], step) for step in steps for key, values in history.items())
    metrics = [Metric(key, float(value), now, step + 1) for key, value, step in entries if math.isfinite(value)]
    client = MlflowClient()
    for first in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run.run_id, metrics[first : first + _MOST_METRICS])
    run.sent, run.due = end - run.begin, time.monotonic() + _SECONDS_BETWEEN


def _without_callbacks(fitted_estimator: Any) -> Any:
    """Return a copy without scikit-learn's attributes that hold the callbacks, and without those of this module."""
    estimator = copy.copy(fitted_estimator)
    for name in [name for name in vars(estimator) if "callback" in name or name in _OF_A_RUN]:
        delattr(estimator, name)
    return estimator


def _trainer_of_several(context: Any) -> str | None:
    """Return the name of what trains several estimators at once, this one among them, such as a search."""
    ancestor = context.parent
    while ancestor is not None:
        if not ancestor.sequential_subtasks:
            return ancestor.estimator_name
        ancestor = ancestor.parent
    return None


def _check_number(name: str, value: Any, kind: Any, low: float, ends: str = "left") -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} must be {'an integer' if kind is Integral else 'a number'}, got {plain_repr(value)}.")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {plain_repr(value)}.")
    check_scalar(value, name, kind, min_val=low, include_boundaries=ends)
