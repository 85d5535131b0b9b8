r"""Displays: pictures of a training, by scikit-learn's convention.

* :class:`TrainingDisplay`: how the losses fell, epoch by epoch;
* :class:`LearningRateDisplay`: which learning rate to choose;
* :class:`DescentPathDisplay`: how optimizers walk down the loss surface of two coefficients.

``from_estimator`` computes and draws; ``plot(ax=...)`` draws again. What is drawn are plain attributes, ``ax_`` and
``figure_`` are matplotlib's. Only this module imports matplotlib, and only to draw: ``pip install skgd[plot]``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d, median_filter
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skgd.coordinates import Coordinates
from skgd.engines import readout
from skgd.estimators import GDClassifier, GDRegressor
from skgd.objective import Objective
from skgd.schedules import Cosine
from skgd.state import Data, State
from skgd.steps import DivergenceError, Walk

__all__ = ["DescentPathDisplay", "LearningRateDisplay", "TrainingDisplay"]

# Okabe and Ito's colours, which the colour-blind tell apart; markers and line styles do so in print without colour.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_LINES = ("-", "--", "-.", ":")
_BY_LAYER = "gradient_norm_layer_"  # what the history's keys for the layers of a network begin with


def _pyplot(caller: Any) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(caller).__name__}.plot draws with matplotlib, which is not installed: pip install skgd[plot]"
        ) from error
    return plt


def _style(index: int, n_points: int) -> dict[str, Any]:
    """Return colour, line and marker of the so-many-th line; markers at about a dozen of its points."""
    return {
        "color": _COLORS[index % len(_COLORS)],
        "linestyle": _LINES[index % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 5,
        "markevery": max(1, n_points // 12),
    }


def _checked(estimator: Any) -> Any:
    if not isinstance(estimator, (GDClassifier, GDRegressor)):
        raise TypeError(
            f"estimator must be a GDClassifier or a GDRegressor, got {estimator!r}. Of a Pipeline, pass the last step, "
            "and X as transformed by the others."
        )
    return estimator


# ---------------------------------------------------------------------------------------------------------------------
# The curves of a training
# ---------------------------------------------------------------------------------------------------------------------


class TrainingDisplay:
    """Training and validation curves: what ``history_`` recorded, against epochs or seconds.

    Quantities of the same unit share a panel. Training losses are means over an epoch's batches, each before its step;
    the validation loss is that after the epoch.

    Parameters
    ----------
    history : dict of lists
        ``history_`` of an estimator: equally long lists, one entry an epoch.
    loss_name, score_name : str, default=None
        What the losses and the validation score are, for the axes: "log loss", "accuracy".

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first (mostly the only) panel.
    axes_ : list of matplotlib Axes
        All panels.
    figure_ : matplotlib Figure
        The figure they are in.
    lines_ : dict of matplotlib Line2D
        The line of each quantity.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import GDRegressor
    >>> from skgd.display import TrainingDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GDRegressor(max_iter=30, tol=None).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    >>> display = TrainingDisplay.from_estimator(model)
    >>> list(display.lines_), display.ax_.get_xlabel()
    (['loss', 'validation_loss'], 'epoch')
    """

    _LABELS = {
        "objective": "training objective",
        "loss": "training loss",
        "validation_loss": "validation loss",
        "validation_score": "validation score",
        "gradient_norm": "gradient norm",
        "learning_rate": "learning rate",
    }

    def __init__(
        self, history: Mapping[str, Sequence[float]], *, loss_name: str | None = None, score_name: str | None = None
    ):
        self.history = history
        self.loss_name = loss_name
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        quantities: str | Sequence[str] | None = None,
        *,
        x: str = "epochs",
        ax: Any = None,
        name: str | None = None,
        **line_kw: Any,
    ) -> TrainingDisplay:
        """Draw the history of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted `GDClassifier` or `GDRegressor`, a `Pipeline` that ends in one, or a fitted search over such.
        quantities, x, ax, name, **line_kw
            See :meth:`plot`.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        TypeError
            Where the estimator has no history.
        """
        check_is_fitted(estimator)
        model = getattr(estimator, "best_estimator_", estimator)
        model = model[-1] if isinstance(model, Pipeline) else model
        if not hasattr(model, "history_"):
            raise TypeError(f"estimator must be a GDClassifier or a GDRegressor (or end in one), got {estimator!r}.")
        score_name = "accuracy" if is_classifier(model) else "R²"
        display = cls(model.history_, loss_name=_words(type(model.loss_).__name__), score_name=score_name)
        return display.plot(quantities, x=x, ax=ax, name=name, **line_kw)

    def plot(
        self,
        quantities: str | Sequence[str] | None = None,
        *,
        x: str = "epochs",
        ax: Any = None,
        name: str | None = None,
        **line_kw: Any,
    ) -> TrainingDisplay:
        """Draw the curves.

        Parameters
        ----------
        quantities : str or list of str, default=None
            "objective", "loss", "validation_loss", "validation_score", "gradient_norm", "learning_rate"; of a network
            also "gradient_norm_layer_1", ... None draws the loss and, where there was a validation set, the validation
            loss.
        x : {"epochs", "seconds"}, default="epochs"
            What the curves are drawn against. (Each call of ``partial_fit`` counts as an epoch.)
        ax : matplotlib Axes, or a list of one for each panel, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Stands before each label of the legend, to tell several models in one picture apart.
        **line_kw
            Passed to ``ax.plot``, for all lines.

        Returns
        -------
        self : TrainingDisplay

        Raises
        ------
        ValueError
            For a quantity that is unknown or was not recorded, an unknown ``x``, and too few or too many ``ax``.
        """
        chosen = self._chosen(quantities)
        if x not in ("epochs", "seconds"):
            raise ValueError(f"x={x!r} is not known. Use 'epochs' or 'seconds'.")
        panels: dict[str, list[str]] = {}
        for quantity in chosen:
            panels.setdefault(self._unit(quantity), []).append(quantity)
        plt = _pyplot(self)
        if ax is None:
            size = (6.4, 1.8 + 2.6 * len(panels))
            _, axes = plt.subplots(len(panels), sharex=True, squeeze=False, figsize=size, layout="constrained")
            self.axes_ = list(axes.ravel())
        else:
            self.axes_ = list(np.ravel(ax))
            if len(self.axes_) != len(panels):
                units = ", ".join(panels)
                raise ValueError(f"ax must hold {len(panels)} Axes, one for each of: {units}; got {len(self.axes_)}.")
        epochs = np.arange(1, len(self.history[chosen[0]]) + 1)
        abscissa = epochs if x == "epochs" else np.cumsum(self.history["seconds"])
        self.lines_: dict[str, Any] = {}
        for axes, (unit, shown) in zip(self.axes_, panels.items(), strict=True):
            for quantity in shown:
                label = self._label(quantity) if name is None else f"{name}: {self._label(quantity)}"
                style = {**_style(len(axes.lines), len(epochs)), "label": label, **line_kw}
                (self.lines_[quantity],) = axes.plot(abscissa, self.history[quantity], **style)
            axes.set_ylabel(unit)
            axes.grid(alpha=0.3)
            axes.legend()
        self.axes_[-1].set_xlabel("epoch" if x == "epochs" else "training time (seconds)")
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        return self

    def _chosen(self, quantities: str | Sequence[str] | None) -> list[str]:
        known = [*self._LABELS, *(key for key in self.history if key.startswith(_BY_LAYER))]
        recorded = [key for key in known if not np.isnan(self.history.get(key, np.nan)).all()]
        if quantities is None:
            return [key for key in ("loss", "validation_loss") if key in recorded or key == "loss"]
        chosen = [quantities] if isinstance(quantities, str) else list(dict.fromkeys(quantities))
        for quantity in chosen:
            if quantity not in recorded:
                what = "was not recorded" if quantity in self._LABELS else "is not known"
                hint = " Pass X_val and y_val to fit." if str(quantity).startswith("validation") else ""
                raise ValueError(f"quantities: {quantity!r} {what}. This history has {', '.join(recorded)}.{hint}")
        if not chosen:
            raise ValueError(f"quantities is empty. This history has {', '.join(recorded)}.")
        return chosen

    def _unit(self, quantity: str) -> str:
        if quantity in ("objective", "loss", "validation_loss"):
            return "mean loss" if self.loss_name is None else f"mean loss ({self.loss_name})"
        if quantity == "validation_score" and self.score_name is not None:
            return f"validation {self.score_name}"
        return self._LABELS["gradient_norm"] if quantity.startswith(_BY_LAYER) else self._LABELS[quantity]

    def _label(self, quantity: str) -> str:
        if quantity.startswith(_BY_LAYER):
            return f"{self._LABELS['gradient_norm']}, layer {quantity.removeprefix(_BY_LAYER)}"
        return self._LABELS[quantity]


def _words(name: str) -> str:
    """Return a class's name in words: "squared error" for SquaredError."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


# ---------------------------------------------------------------------------------------------------------------------
# The learning-rate range test
# ---------------------------------------------------------------------------------------------------------------------


class LearningRateDisplay:
    r"""The learning-rate range test: the loss along one short training, while the rate rises exponentially.

    With rates too low nothing happens, with good ones the loss falls, with rates too high it explodes. The suggestion
    is where it falls most steeply,

    .. math:: \hat\eta = \arg\min_\eta \frac{\mathrm{d} L(\eta)}{\mathrm{d} \log \eta}

    for the smoothed loss L, before its minimum. It is a rate to begin with, or to search around. The test says nothing
    about the rate at the end of the training: let a schedule lower it, or averaging do the same.

    Parameters
    ----------
    learning_rates : array-like of shape (n_steps,)
        The rates, rising.
    losses : array-like of shape (n_steps,)
        The mean loss after each step, of the same rows each time.
    auto : float, default=None
        The rate that ``learning_rate="auto"`` takes, for comparison.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn in.
    figure_ : matplotlib Figure
        The figure they are in.
    line_ : matplotlib Line2D
        The losses.

    References
    ----------
    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> from skgd.display import LearningRateDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> display = LearningRateDisplay.from_estimator(GDClassifier(optimizer="adam", random_state=0), X, y)
    >>> 0.001 < display.suggestion_ < 1
    True
    """

    def __init__(self, learning_rates: ArrayLike, losses: ArrayLike, *, auto: float | None = None):
        self.learning_rates = np.asarray(learning_rates, dtype=float)
        self.losses = np.asarray(losses, dtype=float)
        self.auto = auto

    @property
    def smoothed_losses_(self) -> np.ndarray:
        """The losses without outliers (running median), explosion (cut off) and noise (Gaussian weights)."""
        ceiling = 2.0 * np.median(self.losses[: 1 + len(self.losses) // 10])
        without_outliers = median_filter(np.minimum(self.losses, ceiling), 5, mode="nearest")
        return gaussian_filter1d(without_outliers, max(1.0, len(self.losses) / 30), mode="nearest")

    @property
    def suggestion_(self) -> float:
        """The rate at which the smoothed loss falls most steeply; nan where it does not fall at all."""
        smooth = self.smoothed_losses_
        falling = slice(0, int(np.argmin(smooth)) + 1)
        if falling.stop < 2:
            return math.nan
        slopes = np.gradient(smooth[falling], np.log(self.learning_rates[falling]))
        return float(self.learning_rates[np.argmin(slopes)])

    @classmethod
    def from_estimator(
        cls,
        estimator: GDClassifier | GDRegressor,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        lowest: float | None = None,
        highest: float | None = None,
        n_steps: int = 100,
        ax: Any = None,
        **line_kw: Any,
    ) -> LearningRateDisplay:
        """Run the test on a clone of the estimator, from the beginning, and draw it.

        Each step takes as many rows as those of ``fit``. The test ends where training diverges or the loss, that of at
        most 2000 rows, is ten times the first.

        Parameters
        ----------
        estimator : GDClassifier or GDRegressor
            With any loss, optimizer and parameters; its learning rate is not looked at. ``optimizer="auto"`` is
            AdaGrad, as it is with any rate that you set.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features. Some thousand rows are enough.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0.
        lowest, highest : float, default=None
            The first and the last rate. None is a thousandth, and ten thousand times, what
            ``learning_rate="auto"`` takes.
        n_steps : int, default=100
            The number of rates, one step each, at least 2.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kw
            Passed to ``ax.plot`` for the line.

        Returns
        -------
        display : LearningRateDisplay

        Raises
        ------
        ValueError
            Where lowest, highest and n_steps give no rising rates, and as ``fit`` does.
        TypeError
            For an estimator that is no `GDClassifier` or `GDRegressor`.
        """
        model = clone(_checked(estimator)).set_params(learning_rate=1.0)  # any number: each step is told its own
        walk = model._walk(X, y, sample_weight)
        auto, decay = walk.automatic_rate, walk.state.optimizer.weight_decay
        if lowest is None:
            lowest = 1e-3 * auto
        if highest is None:
            highest = min(1e4 * auto, 0.99 / decay if decay else np.inf)  # no coefficient may decay by more than itself
        if not 0.0 < lowest < highest < np.inf or n_steps < 2:
            raise ValueError(
                f"lowest={lowest!r}, highest={highest!r} and n_steps={n_steps!r} give no rising rates. They must be "
                "positive, highest above lowest, and n_steps at least 2."
            )
        rates = np.geomspace(lowest, highest, n_steps)
        rows = check_random_state(model.random_state).permutation(len(walk.data[1]))[:2000]
        sample = [None if part is None else part[rows] for part in walk.data]
        losses: list[float] = []
        ceiling = 10.0 * _loss(walk.state, sample) or np.inf
        for rate in rates:
            try:
                loss = _loss(walk.step(rate), sample)
            except DivergenceError:  # which the test is there to find
                break
            if not np.isfinite(loss):
                break
            losses.append(loss)
            if loss > ceiling:
                break
        return cls(rates[: len(losses)], losses, auto=auto).plot(ax=ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> LearningRateDisplay:
        """Draw the loss against the rate, and mark the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kw
            Passed to ``ax.plot`` for the line.

        Returns
        -------
        self : LearningRateDisplay
        """
        plt = _pyplot(self)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        style = {"color": "0.6", "marker": ".", "markersize": 4, "linewidth": 1, "label": "after each step"}
        (self.line_,) = ax.plot(self.learning_rates, self.losses, **{**style, **line_kw})
        smooth, suggestion = self.smoothed_losses_, self.suggestion_
        ax.plot(self.learning_rates, smooth, color=_COLORS[0], linewidth=2.5, label="smoothed")
        if np.isfinite(suggestion):
            height = smooth[np.searchsorted(self.learning_rates, suggestion)]
            label = f"steepest descent: {suggestion:.2g}"
            ax.plot(suggestion, height, "o", color=_COLORS[1], markersize=11, markeredgecolor="black", label=label)
        if self.auto is not None and self.learning_rates[0] <= self.auto <= self.learning_rates[-1]:
            ax.axvline(self.auto, color=_COLORS[2], linestyle="--", label=f'"auto" takes {self.auto:.2g}')
        low, high = min(self.losses.min(), smooth.min()), smooth.max()  # an explosion would flatten all the rest
        margin = 0.08 * (high - low) or 0.5
        ax.set(
            xscale="log",
            xlabel="learning rate (logarithmic)",
            ylabel="mean loss after the step",
            ylim=(low - margin, high + margin),
        )
        ax.grid(alpha=0.3)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


@np.errstate(all="ignore")
def _loss(state: State, data: Any) -> float:
    """Return the mean loss of some rows, without the penalty."""
    objective = state.objective
    return objective.mean_loss(readout(state.iterate, state.optimizer, objective), *data)


# ---------------------------------------------------------------------------------------------------------------------
# The path of the descent
# ---------------------------------------------------------------------------------------------------------------------


class DescentPathDisplay:
    r"""The way of optimizers over the loss surface of two parameters: the picture that every textbook draws.

    The contour lines are those of the objective J as a function of two coefficients (or of one and the intercept), with
    all other parameters at the minimum. Training starts where these are, too. They move with the two that are shown, so
    that with further, correlated columns a path is a projection.

    Parameters
    ----------
    first, second : ndarray of shape (n_first,) and (n_second,)
        The values of the two parameters on the grid.
    objective : ndarray of shape (n_second, n_first)
        The objective at each point of the grid.
    paths : dict of ndarrays of shape (n_steps + 1, 2)
        The two parameters at the start and after each step, for each optimizer's name.
    minimum : ndarray of shape (2,)
        Where the objective is lowest.
    labels : tuple of two str, default=("first coefficient", "second coefficient")
        The names of the parameters.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes drawn in.
    figure_ : matplotlib Figure
        The figure they are in.
    contours_ : matplotlib QuadContourSet
        The contour lines.
    lines_ : dict of matplotlib Line2D
        The path of each optimizer.

    Examples
    --------
    >>> import numpy as np
    >>> from skgd import GDRegressor
    >>> from skgd.display import DescentPathDisplay
    >>> from skgd.optimizers import SGD
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) * [1, 2]
    >>> y = X @ [3, 1]
    >>> plain = GDRegressor(optimizer=SGD(0.3), batch_size=None, precondition=False, fit_intercept=False)
    >>> heavy = GDRegressor(optimizer=SGD(0.1, momentum=0.9), batch_size=None, precondition=False, fit_intercept=False)
    >>> display = DescentPathDisplay.from_estimator({"plain": plain, "momentum": heavy}, X, y, n_steps=40)
    >>> display.minimum.round(2), display.paths["plain"][-1].round(2)
    (array([3., 1.]), array([3., 1.]))
    """

    def __init__(
        self,
        first: np.ndarray,
        second: np.ndarray,
        objective: np.ndarray,
        paths: Mapping[str, np.ndarray],
        minimum: np.ndarray,
        labels: tuple[str, str] = ("first coefficient", "second coefficient"),
    ):
        self.first = first
        self.second = second
        self.objective = objective
        self.paths = paths
        self.minimum = minimum
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        coefficients: tuple[int | str, int | str] = (0, 1),
        start: tuple[float, float] = (0.0, 0.0),
        n_steps: int = 30,
        resolution: int = 80,
        ax: Any = None,
        **line_kw: Any,
    ) -> DescentPathDisplay:
        """Train clones step by step, and draw their paths.

        Parameters
        ----------
        estimator : estimator, list of estimators, or dict of estimators
            `GDRegressor` or `GDClassifier` objects with the same loss and penalty. A dict names them; otherwise they
            go by their optimizers. A step takes as many rows as in ``fit``; ``batch_size=None`` takes all.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features. Some thousand rows are enough.
        y : array-like of shape (n_samples,)
            One target, or two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of at least 0.
        coefficients : tuple of two, default=(0, 1)
            Which parameters to draw: the numbers or names of columns, or "intercept".
        start : tuple of two floats, default=(0.0, 0.0)
            Where the two begin.
        n_steps : int, default=30
            The number of steps; fewer are shown of a training that diverges.
        resolution : int, default=80
            The number of grid points in each direction, at least 2.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kw
            Passed to ``ax.plot`` for all paths.

        Returns
        -------
        display : DescentPathDisplay

        Raises
        ------
        ValueError
            For several outputs, hidden layers, unknown or equal coefficients, and estimators with different objectives.
        TypeError
            For an estimator that is no `GDClassifier` or `GDRegressor`.
        """
        named = _named(estimator)
        if n_steps < 1 or resolution < 2:
            raise ValueError(f"n_steps must be at least 1 and resolution 2, got {n_steps!r} and {resolution!r}.")
        models = {name: clone(each) for name, each in named.items()}
        walks = {name: model._walk(X, y, sample_weight) for name, model in models.items()}
        model, walk = next(zip(models.values(), walks.values(), strict=True))
        for each in walks.values():
            if each.state.objective.hidden_layer_sizes:
                raise ValueError(
                    "The descent path is that of linear models, whose coefficients have one minimum, but "
                    f"hidden_layer_sizes={each.state.objective.hidden_layer_sizes!r}. Set hidden_layer_sizes=(), or "
                    "look at a network's training with TrainingDisplay."
                )
        objective = replace(walk.state.objective, coordinates=Coordinates())  # in the user's units
        if objective.n_outputs > 1:
            raise ValueError(
                "y must be one target or two classes, for each output has a surface of its own. Pass one column of y, "
                "or compare one class with the rest: y == that_class."
            )
        if any(each.state.objective.alpha != objective.alpha for each in walks.values()):
            raise ValueError("alpha='auto' is different for these estimators. Give them the same alpha, a number.")
        columns = [str(name) for name in getattr(model, "feature_names_in_", ())]
        pair, labels = _parameter_pair(coefficients, columns, objective.n_features, objective.fit_intercept)
        bottom = _minimum(model, objective.alpha, X, y, sample_weight)
        beginning = bottom.copy()
        beginning[pair] = start
        paths = {name: _path(walk, beginning, n_steps)[:, pair] for name, walk in walks.items()}
        first, second = _window(np.concatenate(list(paths.values())), beginning[pair], bottom[pair], resolution)
        surface = _surface(objective, walk.data, bottom, pair, first, second)
        return cls(first, second, surface, paths, bottom[pair], labels).plot(ax=ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> DescentPathDisplay:
        """Draw contour lines and paths, and mark start and minimum.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **line_kw
            Passed to ``ax.plot`` for all paths.

        Returns
        -------
        self : DescentPathDisplay
        """
        plt = _pyplot(self)
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
        low, high = np.min(self.objective), np.max(self.objective)
        levels = low + (high - low) * np.linspace(0.0, 1.0, 16)[1:] ** 2  # evenly apart on a paraboloid
        self.contours_ = ax.contour(
            self.first, self.second, self.objective, levels, cmap="Greys_r", linewidths=0.8, alpha=0.7
        )
        self.lines_: dict[str, Any] = {}
        for index, (name, path) in enumerate(self.paths.items()):
            style = {**_style(index, len(path)), "label": name, "linewidth": 1.8, **line_kw}
            (self.lines_[name],) = ax.plot(*path.T, **style)
        start = next(iter(self.paths.values()))[0]
        mark = {"linestyle": "none", "color": "black", "zorder": 5, "clip_on": False}
        ax.plot(*start, marker="s", markersize=9, markerfacecolor="white", markeredgewidth=2, label="start", **mark)
        ax.plot(*self.minimum, marker="*", markersize=15, markeredgecolor="white", label="minimum", **mark)
        ax.set(
            xlabel=self.labels[0],
            ylabel=self.labels[1],
            xlim=(self.first[0], self.first[-1]),
            ylim=(self.second[0], self.second[-1]),
        )
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize="small", frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _named(estimator: Any) -> dict[str, Any]:
    """Return the estimators by name, checked to have the same objective."""
    if isinstance(estimator, Mapping):
        named = dict(estimator)
    else:
        several = list(estimator) if isinstance(estimator, Iterable) else [estimator]
        named = {_name(_checked(each)): each for each in several}
        if len(named) < len(several):
            raise ValueError("estimator holds several with equal optimizers. Name them: {'name': estimator, ...}.")
    if not named:
        raise ValueError("estimator is empty: there is nothing to draw.")
    shared = ("loss", "alpha", "l1_ratio", "fit_intercept", "class_weight")
    objectives = {repr([type(_checked(each)), *(getattr(each, key) for key in shared)]) for each in named.values()}
    if len(objectives) > 1:
        raise ValueError(f"The estimators minimise different objectives. Give them the same {', '.join(shared)}.")
    return named


def _name(estimator: GDClassifier | GDRegressor) -> str:
    optimizer = estimator.optimizer
    return optimizer if isinstance(optimizer, str) else " ".join(repr(optimizer).split())


def _parameter_pair(
    coefficients: tuple[int | str, int | str], names: list[str], n_features: int, fit_intercept: bool
) -> tuple[list[int], tuple[str, str]]:
    """Return the places of two parameters in (coefficients, intercept), and their labels."""
    pair = []
    for which in coefficients:
        if which == "intercept" and fit_intercept:
            pair.append(n_features)
        elif isinstance(which, str) and which in names:
            pair.append(names.index(which))
        elif not isinstance(which, str) and 0 <= which < n_features:
            pair.append(int(which))
        else:
            columns = f"a number below {n_features}" + (f", a name among {names}" if names else "")
            intercept = " or 'intercept'" if fit_intercept else "; there is no intercept"
            raise ValueError(f"coefficients: {which!r} is not known. It must be {columns}{intercept}.")
    if len(pair) != 2 or pair[0] == pair[1]:
        raise ValueError(f"coefficients must be two different ones, got {coefficients!r}.")
    labels = [f"coefficient of {name}" for name in names or (f"column {i}" for i in range(n_features))]
    first, second = ([*labels, "intercept"][i] for i in pair)
    return pair, (first, second)


def _minimum(model: Any, alpha: float, X: Any, y: Any, sample_weight: ArrayLike | None) -> np.ndarray:
    """Return coefficients and intercept where the objective is lowest, nearly.

    Adam in standardised coordinates, with full batches and a rate that falls to zero, comes close to the minimum of
    anything convex.
    """
    exact: dict[str, Any] = {"optimizer": "adam", "learning_rate": Cosine(0.1, decay_steps=1000), "max_iter": 1000}
    exact |= {"batch_size": None, "average": False, "precondition": True, "max_grad_norm": None, "alpha": alpha}
    exact |= {"tol": None, "early_stopping": False, "warm_start": False, "verbose": 0}
    best = clone(model).set_params(**exact).fit(X, y, sample_weight=sample_weight)
    return np.append(best.coef_, best.intercept_)


def _path(walk: Walk, beginning: np.ndarray, n_steps: int) -> np.ndarray:
    """Return coefficients and intercept at the beginning and after each step, until it diverges."""
    walk.move_to([(beginning[:-1, np.newaxis], beginning[-1:])])
    path = [beginning]
    for _ in range(n_steps):
        try:
            [(coef, intercept)] = walk.step().readout()
            path.append(np.append(coef, intercept))
        except DivergenceError:  # the path leaves the picture
            break
    return np.array(path, dtype=float)


def _window(points: np.ndarray, start: np.ndarray, minimum: np.ndarray, resolution: int) -> tuple[np.ndarray, ...]:
    """Return the grid's coordinates: around start, minimum, and what of the paths does not run far away."""
    reach = np.abs(start - minimum)
    reach = np.where(reach > 1e-3 * reach.max(), reach, reach.max() or 1.0)
    points = np.clip(np.vstack([points, start, minimum]), minimum - 1.5 * reach, minimum + 1.5 * reach)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.15 * np.maximum(high - low, 0.2 * reach)
    first, second = np.linspace(low - margin, high + margin, resolution).T
    return first, second


def _surface(
    objective: Objective,
    data: Data,
    bottom: np.ndarray,
    pair: list[int],
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """Return the objective on the grid, all parameters but two at the bottom."""
    X, y, weight = data
    coef, intercept = bottom[:-1], bottom[-1]
    sides = [np.ones(X.shape[0]) if i == X.shape[1] else _column(X, i) for i in pair]
    rest = X @ coef + intercept - sum(bottom[i] * side for i, side in zip(pair, sides, strict=True))
    target = objective.target(y)
    theta = bottom.copy()
    surface = np.empty((len(second), len(first)))
    with np.errstate(all="ignore"):
        for row, height in enumerate(second):
            raw = np.outer(sides[0], first) + (height * sides[1] + rest)[:, np.newaxis]
            values = objective.loss_values(target, raw)
            surface[row] = np.average(values, axis=0, weights=weight)
            for column, width in enumerate(first if objective.alpha else ()):
                theta[pair] = width, height
                surface[row, column] += objective.penalty(theta[: objective.n_parameters])
    return surface


def _column(X: Any, i: int) -> np.ndarray:
    return X[:, [i]].toarray().ravel() if sp.issparse(X) else X[:, i]
