"""Callbacks of ``fit``, which follow scikit-learn's protocol, :mod:`sklearn.callback`.

`GDRegressor` and `GDClassifier` support scikit-learn's callbacks and those of this module. They need scikit-learn 1.9::

    GDClassifier().set_callbacks(ProgressBar(), EarlyStopping(X_val, y_val)).fit(X, y)

The tasks are the whole fit, "fit", and each "epoch" in it. A callback receives X, y and the sample weights as they were
passed to ``fit``, and, if its hook has this parameter, ``fitted_estimator``: a copy of the current model, ready to
predict, with the history so far. A hook at the end of an epoch that returns True stops training.

The callbacks of this module have no state: several estimators can share one object, as in a grid search. Their state is
part of the estimator that is trained.
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
    r"""Stop when the loss or a score on a validation set no longer improves, and restore the best epoch.

    Let :math:`v_k` be the monitored value after epoch k (the negative of a score, so that less is better), and
    :math:`v^*` the minimum so far. Training stops after ``patience`` successive epochs without

    .. math:: v_k < v^* - \delta

    with :math:`\delta` = ``min_delta``. The fitted estimator has the coefficients of the best epoch, bit for bit,
    whatever ended training: ``best_iter_``, with ``best_score_``, unless the loss is monitored. ``history_`` and
    ``n_iter_`` are those of all epochs.

    Parameters
    ----------
    X_val : {array-like, sparse matrix} of shape (n_samples, n_features)
        The features of the validation set; in a pipeline, as transformed by the previous steps.
    y_val : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets of the validation set.
    sample_weight_val : array-like of shape (n_samples,), default=None
        The sample weights of the validation set.
    monitor : "loss", str, callable or None, default="loss"
        The monitored quantity: the loss of the estimator, with its class weights, or a scorer, by name (such as
        "roc_auc") or as an object. None is the ``score`` of the estimator. With several targets or labels, the loss is
        the mean of each one's loss relative to that of its best constant model.
    patience : int, default=10
        The number of epochs without improvement after which training stops, at least 1.
    min_delta : float, default=0.0
        The minimum improvement over the best value, nonnegative, in units of the value.

    Raises
    ------
    ValueError, TypeError
        For invalid parameters; in ``fit``, for a validation set that is inconsistent with the training data, for a
        second EarlyStopping, and on estimators of other packages.

    See Also
    --------
    skgd.GDClassifier.fit : Early stopping by the validation loss without a callback.

    Notes
    -----
    The ``tol`` of the estimator can stop training, too: set ``tol=None`` to use this callback only. Training that is
    resumed from a `Checkpoint` continues to count.

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
    >>> stop = EarlyStopping(X_val, y_val, monitor="roc_auc", patience=5)
    >>> model = model.set_callbacks(stop)
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
            raise ValueError("EarlyStopping needs a validation set, X_val and y_val.")
        _check_number("EarlyStopping(patience)", patience, Integral, 1)
        _check_number("EarlyStopping(min_delta)", min_delta, Real, 0.0)
        self.X_val = X_val
        self.y_val = y_val
        self.sample_weight_val = sample_weight_val
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta

    def setup(self, estimator: Any, context: Any) -> None:
        """Start to monitor training."""
        _check_estimator(self, estimator)
        if self.monitor != "loss":
            check_scoring(estimator, self.monitor)
        if hasattr(estimator, "_early_stopping"):
            raise ValueError("Two EarlyStopping callbacks would choose different epochs as the best. Set only one.")
        estimator._early_stopping = estimator._unfinished.best if hasattr(estimator, "_unfinished") else Best()

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> bool:
        """Evaluate the validation set after an epoch, and return whether to stop."""
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
        """Remove the state."""
        vars(estimator).pop("_early_stopping", None)

    def _value(self, fitted_estimator: Any) -> float:
        weight = self.sample_weight_val
        if self.monitor == "loss":
            return fitted_estimator._validation_loss(self.X_val, self.y_val, weight)
        scorer = check_scoring(fitted_estimator, self.monitor)
        weights = {} if weight is None else {"sample_weight": weight}
        return -float(scorer(fitted_estimator, self.X_val, self.y_val, **weights))


class Checkpoint:
    """Save the state of training periodically, to resume it after an interruption with the same result.

    ``Checkpoint.load(path)`` returns the estimator after the last saved epoch: it can predict, and its next ``fit``,
    with the same data, continues with the remaining epochs. The result is that of an uninterrupted training, bit for
    bit: coefficients, ``history_`` (except for the seconds) and ``n_iter_``.

    Files are replaced atomically. At the end of training, also by Ctrl-C, the file is saved once more. If it cannot be
    written, for example because the disk is full, ``fit`` warns and continues with the old file in place. Incomplete
    temporary files of a killed process are removed by the next ``fit``. ``fit`` of a completed training does nothing;
    increase ``max_iter`` to continue it.

    Parameters
    ----------
    path : str or path
        The path of the file. Its directory has to exist; an existing file is overwritten.
    every_n_epochs : int, default=None
        Save after this number of epochs, at least 1.
    every_n_seconds : float, default=None
        Save after the first epoch that ends this number of seconds after the last save. With both parameters, whichever
        comes first; with neither, every epoch.

    Raises
    ------
    ValueError, TypeError
        For invalid parameters; in ``fit``, on estimators of other packages, and in a grid search, where all fits would
        write to the same file.
    OSError
        In ``fit``, before the first epoch, if the directory does not exist or is not writable, or the path is a
        directory.

    Notes
    -----
    Callbacks are not saved: set them again on the loaded estimator, as in the example; an `EarlyStopping` then
    continues to count. Before resuming, ``max_iter``, ``tol``, ``n_iter_no_change``, ``verbose`` and ``warm_start`` may
    be changed; other changes, and different data, raise an error. Identical bits require the same versions of the
    libraries on the same kind of machine.

    The file is a :mod:`pickle`: load only files that you trust.

    Examples
    --------
    A script that resumes where it ended, however often it is started:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> from skgd.callbacks import Checkpoint
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = Path(tempfile.mkdtemp()) / "cancer.checkpoint"
    >>> new = GDClassifier(random_state=0)
    >>> model = Checkpoint.load(path) if path.exists() else new
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
        """Return the estimator from a file, ready to predict, and to resume ``fit``.

        Parameters
        ----------
        path : str or path
            The path of the file. It is a pickle: load only files that you trust.

        Returns
        -------
        estimator : GDClassifier or GDRegressor
            Without callbacks.

        Raises
        ------
        ValueError
            If the file is not a checkpoint.
        """
        with open(path, "rb") as file:
            try:
                estimator = pickle.load(file)
            except (pickle.UnpicklingError, EOFError) as error:
                raise ValueError(f"{os.fspath(path)!r} is not a checkpoint: {error}") from None
        if not hasattr(estimator, "_unfinished"):
            raise ValueError(
                f"{os.fspath(path)!r} is not a checkpoint, but contains an object of {type(estimator).__name__}."
            )
        return estimator

    def setup(self, estimator: Any, context: Any) -> None:
        """Check, before the first epoch, that the file can be written."""
        _check_estimator(self, estimator)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"The directory of the checkpoint {str(self.path)!r} does not exist. Create it first."
            )
        if self.path.is_dir():
            raise IsADirectoryError(f"The checkpoint {str(self.path)!r} is a directory. Pass the path of a file.")
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"The directory of the checkpoint {str(self.path)!r} is not writable.")
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
        """Save before the next epoch, if it is time to, when other callbacks have seen the last one."""
        if not (_is_epoch(context) and fitted_estimator.n_iter_):
            return
        n_epochs = self.every_n_epochs
        every_epoch = n_epochs is None and self.every_n_seconds is None
        by_time = self.every_n_seconds is not None and time.monotonic() >= estimator._checkpoint_due
        if every_epoch or by_time or (n_epochs is not None and fitted_estimator.n_iter_ % n_epochs == 0):
            self._write(estimator, fitted_estimator, "Training continues, and tries again when the next one is due")
            estimator._checkpoint_due = time.monotonic() + (self.every_n_seconds or 0.0)

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """Save when training has ended."""
        if not _is_epoch(context):
            estimator._checkpoints_failed.discard(self.path)  # what this writing does not save, no later one will
            self._write(
                estimator, fitted_estimator, "Training has ended: save the estimator itself, with pickle or joblib"
            )

    def teardown(self, estimator: Any, context: Any) -> None:
        """Remove the state."""
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
                kept = "The previous file is unchanged" if self.path.exists() else "There is no file"
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
    """Log training to MLflow: parameters, the metrics of each epoch, why training stopped, and the model.

    ``fit`` logs to the active run (``with mlflow.start_run(): model.fit(X, y)``) or, if there is none, to a new one. In
    a search, each fit has a run, nested in the active one.

    * Parameters: those of ``get_params``, such as ``optimizer__beta1``, except for those that the run already has.
    * Metrics: the entries of ``history_`` for each epoch; at the end ``n_iter_``, ``best_iter_``, ``best_score_``,
      ``alpha_`` and ``suboptimality_``, if they are known.
    * Tags: ``converged_``, ``stop_reason_`` and ``engine_``.
    * The model, in MLflow's flavors sklearn and pyfunc: ``mlflow.sklearn.load_model(...)``.

    If something cannot be logged, for example because the server is not available, ``fit`` warns once and continues.
    What is missing in the run is sent at the end, if that is possible then.

    Parameters
    ----------
    log_model : bool, default=True
        Whether to log the model at the end.
    **options
        Passed to ``mlflow.sklearn.log_model``, such as ``registered_model_name="churn"`` or ``input_example=X[:3]``.
        ``pip_requirements`` are skgd and its dependencies by default. If MLflow saves models with skops,
        ``skops_trusted_types`` is the type of the estimator by default; a model with a custom optimizer, loss or
        schedule needs a list with its type, too.

    Raises
    ------
    ImportError
        In ``fit``, if MLflow is not installed (``pip install skgd[mlflow]``).
    ValueError, TypeError
        For invalid parameters; in ``fit``, on estimators of other packages.

    Notes
    -----
    Metrics are sent once per second, those of several epochs together, so that a remote server does not slow down
    training; nor does a server that is not available, for which epochs wait only once. The loaded model can predict,
    and continue training.

    Examples
    --------
    >>> from skgd import GDClassifier
    >>> from skgd.callbacks import MLflowLogger
    >>> logger = MLflowLogger(registered_model_name="churn")
    >>> model = GDClassifier().set_callbacks(logger)
    """

    def __init__(self, *, log_model: bool = True, **options: Any):
        if not isinstance(log_model, bool):
            raise TypeError(f"MLflowLogger(log_model) must be True or False, got {plain_repr(log_model)}.")
        self.log_model = log_model
        self.options = options

    def setup(self, estimator: Any, context: Any) -> None:
        """Find or start the run, and log the parameters."""
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
        """Log the new entries of the history, and at the end the final metrics and tags."""
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
        """End the run, if it was started here."""
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
            message = f"MLflowLogger could not log to MLflow ({error}). Training continues, and the model is not lost."
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
