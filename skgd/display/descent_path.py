"""The path of optimizers over the contour lines of the objective.

`DescentPathDisplay.from_estimator` computes the data of the plot: the minimum, the steps of each optimizer, the limits
of the axes, and the objective on a grid. Each of the functions below it computes one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import clone

from skgd.display.shared import checked, line_style, pyplot
from skgd.estimators import GDClassifier, GDRegressor
from skgd.objective import Objective
from skgd.schedules import Cosine
from skgd.state import Data, State
from skgd.steps import DivergenceError, Walk
from skgd.strategy import plain_repr


class DescentPathDisplay:
    r"""The path of optimizers over the contour lines of the objective, as a function of two parameters.

    The parameters are two coefficients (or one and the intercept). All other parameters of the contour lines are those
    of the minimum, and so are their initial values. They change during training, so that a path is a projection if
    there are more, correlated features.

    Parameters
    ----------
    first, second : ndarray of shape (n_first,) and (n_second,)
        The values of the two parameters on the grid.
    objective : ndarray of shape (n_second, n_first)
        The objective at each point of the grid.
    paths : dict of ndarrays of shape (n_steps + 1, 2)
        The two parameters at the start and after each step, for the name of each optimizer.
    minimum : ndarray of shape (2,)
        The minimum of the objective.
    labels : tuple of two str, default=("first coefficient", "second coefficient")
        The names of the parameters.
    legend : dict of str, default=None
        The text of the legend for the name of an optimizer, where it differs from the name.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.
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
    >>> settings = {"batch_size": None, "precondition": False, "fit_intercept": False}
    >>> models = {
    ...     "plain": GDRegressor(optimizer=SGD(0.3), **settings),
    ...     "momentum": GDRegressor(optimizer=SGD(0.1, momentum=0.9), **settings),
    ... }
    >>> display = DescentPathDisplay.from_estimator(models, X, y, n_steps=40)
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
        legend: Mapping[str, str] | None = None,
    ):
        self.first = first
        self.second = second
        self.objective = objective
        self.paths = paths
        self.minimum = minimum
        self.labels = labels
        self.legend = legend

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
        """Train clones step by step, and plot their paths.

        Parameters
        ----------
        estimator : estimator, list of estimators, or dict of estimators
            `GDRegressor` or `GDClassifier` objects with the same loss and penalty. The labels are the keys of a dict,
            or the optimizers; with "auto", also the optimizer that it chose. The batch size of a step is that of
            ``fit``; ``batch_size=None`` uses all samples.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features. A few thousand samples are enough.
        y : array-like of shape (n_samples,)
            One target, or two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative sample weights.
        coefficients : tuple of two, default=(0, 1)
            The parameters to plot: indices or names of features, or "intercept".
        start : tuple of two floats, default=(0.0, 0.0)
            The initial values of the two parameters.
        n_steps : int, default=30
            The number of steps; fewer are plotted if training diverges.
        resolution : int, default=80
            The number of grid points in each direction, at least 2.
        ax : matplotlib Axes, default=None
            The axes to plot into; None creates a figure.
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
            For an estimator that is not a `GDClassifier` or `GDRegressor`.
        """
        named = _named(estimator)
        if n_steps < 1 or resolution < 2:
            raise ValueError(
                f"n_steps must be at least 1 and resolution 2, got {plain_repr(n_steps)} and {plain_repr(resolution)}."
            )
        models = {name: clone(each) for name, each in named.items()}
        walks = {name: model._walk(X, y, sample_weight) for name, model in models.items()}
        model, walk = next(zip(models.values(), walks.values(), strict=True))
        for each in walks.values():
            if each.state.objective.hidden_layer_sizes:
                raise ValueError(
                    "The descent path is that of linear models, whose coefficients have one minimum, but "
                    f"hidden_layer_sizes={plain_repr(each.state.objective.hidden_layer_sizes)}. Set "
                    "hidden_layer_sizes=(), or look at a network's training with TrainingDisplay."
                )
        objective = walk.state.objective
        if objective.n_outputs > 1:
            raise ValueError(
                "y must be one target or two classes, because each output has its own objective. Pass one column of y, "
                "or compare one class with the rest: y == that_class."
            )
        if any(each.state.objective.alpha != objective.alpha for each in walks.values()):
            raise ValueError("alpha='auto' is different for these estimators. Give them the same alpha, a number.")
        columns = [str(name) for name in getattr(model, "feature_names_in_", ())]
        pair, labels = _parameter_pair(coefficients, columns, objective.n_features, objective.fit_intercept)
        alpha = "auto" if objective.standardized_penalty and objective.alpha else objective.alpha
        bottom = _minimum(model, alpha, X, y, sample_weight)
        beginning = bottom.copy()
        beginning[pair] = start
        paths = {name: _path(walk, beginning, n_steps)[:, pair] for name, walk in walks.items()}
        first, second = _window(np.concatenate(list(paths.values())), beginning[pair], bottom[pair], resolution)
        surface = _surface(objective, walk.data, bottom, pair, first, second)
        automatic = [name for name, each in named.items() if name == _name(each) == "auto"]
        legend = {name: f"{name}: {_name(walks[name].state)}" for name in automatic}
        return cls(first, second, surface, paths, bottom[pair], labels, legend).plot(ax=ax, **line_kw)

    def plot(self, ax: Any = None, **line_kw: Any) -> DescentPathDisplay:
        """Plot contour lines and paths, and mark start and minimum.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot into; None creates a figure.
        **line_kw
            Passed to ``ax.plot`` for all paths.

        Returns
        -------
        self : DescentPathDisplay
        """
        plt = pyplot(self)
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
        low, high = np.min(self.objective), np.max(self.objective)
        levels = low + (high - low) * np.linspace(0.0, 1.0, 16)[1:] ** 2  # evenly apart on a paraboloid
        self.contours_ = ax.contour(
            self.first, self.second, self.objective, levels, cmap="Greys_r", linewidths=0.8, alpha=0.7
        )
        ax.clabel(self.contours_, levels[2::3], fontsize="x-small", fmt="%.5g")
        self.lines_: dict[str, Any] = {}
        for index, (name, path) in enumerate(self.paths.items()):
            label = (self.legend or {}).get(name, name)
            style = {**line_style(index, len(path)), "label": label, "linewidth": 1.8, **line_kw}
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
        named = {_name(checked(each)): each for each in several}
        if len(named) < len(several):
            raise ValueError("estimator holds several with equal optimizers. Name them: {'name': estimator, ...}.")
    if not named:
        raise ValueError("estimator is empty: there is nothing to plot.")
    shared = ("loss", "alpha", "l1_ratio", "fit_intercept", "class_weight")
    objectives = {repr([type(checked(each)), *(getattr(each, key) for key in shared)]) for each in named.values()}
    if len(objectives) > 1:
        raise ValueError(f"The estimators minimize different objectives. Give them the same {', '.join(shared)}.")
    return named


def _name(estimator: GDClassifier | GDRegressor | State) -> str:
    """Return the name of the optimizer, of an estimator or a training."""
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
        raise ValueError(f"coefficients must be two different coefficients, got {plain_repr(coefficients)}.")
    labels = [f"coefficient of {name}" for name in names or (f"feature {i}" for i in range(n_features))]
    first, second = ([*labels, "intercept"][i] for i in pair)
    return pair, (first, second)


def _minimum(model: Any, alpha: float | str, X: Any, y: Any, sample_weight: ArrayLike | None) -> np.ndarray:
    """Return coefficients and intercept where the objective is lowest, nearly.

    Adam in standardized coordinates, with full batches and a learning rate that decays to zero, comes close to the
    minimum of anything convex.
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
        except DivergenceError:  # the path leaves the plot
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
    target, coordinates = objective.target(y), objective.coordinates
    theta = bottom.copy()
    surface = np.empty((len(second), len(first)))
    with np.errstate(all="ignore"):
        for row, height in enumerate(second):
            raw = np.outer(sides[0], first) + (height * sides[1] + rest)[:, np.newaxis]
            predictor = objective.predictor((raw - coordinates.target_center) / coordinates.target_scale)
            values = objective.loss_values(target, predictor) * objective.unit
            surface[row] = np.average(values, axis=0, weights=weight)
            for column, width in enumerate(first if objective.alpha else ()):
                theta[pair] = width, height
                layer = theta[:-1, np.newaxis], theta[-1:]
                surface[row, column] += objective.penalty(objective.from_user([layer], theta.dtype))
    return surface


def _column(X: Any, i: int) -> np.ndarray:
    return X[:, [i]].toarray().ravel() if sp.issparse(X) else X[:, i]
