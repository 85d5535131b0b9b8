"""The learning rate range test: a short training with an increasing learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d, median_filter
from sklearn.base import clone
from sklearn.utils import check_random_state

from skgd.display.shared import COLORS, checked, pyplot
from skgd.engines import readout
from skgd.estimators import GDClassifier, GDRegressor
from skgd.schedules import Constant
from skgd.state import State
from skgd.steps import DivergenceError
from skgd.strategy import plain_repr


class LearningRateDisplay:
    r"""The learning rate range test: the loss of a short training with an exponentially increasing learning rate.

    If the learning rate is too low, the loss is constant; with a suitable one it decreases; if it is too high, training
    diverges. The suggested learning rate is where the loss decreases most steeply,

    .. math:: \hat\eta = \arg\min_\eta \frac{\mathrm{d} L(\eta)}{\mathrm{d} \log \eta}

    for the smoothed loss L, before its minimum. Use it as the initial learning rate, or as the center of a search. For
    convergence, a schedule has to decrease it, or the iterates have to be averaged.

    Parameters
    ----------
    learning_rates : array-like of shape (n_steps,)
        The learning rates, increasing.
    losses : array-like of shape (n_steps,)
        The mean loss after each step, always on the same samples.
    auto : float, default=None
        The learning rate of ``learning_rate="auto"``, for comparison.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the plot.
    line_ : matplotlib Line2D
        The line of the losses.

    References
    ----------
    L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> from skgd.display import LearningRateDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = GDClassifier(optimizer="adam", random_state=0)
    >>> display = LearningRateDisplay.from_estimator(model, X, y)
    >>> 0.001 < display.suggestion_ < 1
    True
    """

    def __init__(self, learning_rates: ArrayLike, losses: ArrayLike, *, auto: float | None = None):
        self.learning_rates = np.asarray(learning_rates, dtype=float)
        self.losses = np.asarray(losses, dtype=float)
        self.auto = auto

    @property
    def smoothed_losses_(self) -> np.ndarray:
        """The losses, clipped and smoothed by a moving median and a Gaussian filter."""
        ceiling = 2.0 * np.median(self.losses[: 1 + len(self.losses) // 10])
        without_outliers = median_filter(np.minimum(self.losses, ceiling), 5, mode="nearest")
        return gaussian_filter1d(without_outliers, max(1.0, len(self.losses) / 30), mode="nearest")

    @property
    def suggestion_(self) -> float:
        """The learning rate at which the smoothed loss decreases most steeply; nan if it does not decrease."""
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
        """Run the test on a clone of the estimator, from scratch, and plot it.

        The batch size of a step is that of ``fit``. The test stops if training diverges or the loss, on at most 2000
        samples, is ten times the initial one.

        Parameters
        ----------
        estimator : GDClassifier or GDRegressor
            The estimator, whose learning rate is ignored. ``optimizer="auto"`` is AdaGrad, as with any explicit
            learning rate.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features. A few thousand samples are enough.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative sample weights.
        lowest, highest : float, default=None
            The first and the last learning rate. None is a thousandth, and ten thousand times, that of
            ``learning_rate="auto"``.
        n_steps : int, default=100
            The number of learning rates, one step each, at least 2.
        ax : matplotlib Axes, default=None
            The axes to plot into; None creates a figure.
        **line_kw
            Passed to ``ax.plot`` for the line.

        Returns
        -------
        display : LearningRateDisplay

        Raises
        ------
        ValueError
            If lowest, highest and n_steps give no increasing learning rates, and in the same cases as ``fit``.
        TypeError
            For an estimator that is not a `GDClassifier` or `GDRegressor`.
        """
        # Any schedule of numbers: each step is told its own rate.
        model = clone(checked(estimator)).set_params(learning_rate=Constant(1.0))
        walk = model._walk(X, y, sample_weight)
        auto, decay = walk.automatic_rate, walk.state.optimizer.weight_decay
        if lowest is None:
            lowest = 1e-3 * auto
        if highest is None:
            highest = min(1e4 * auto, 0.99 / decay if decay else np.inf)  # no coefficient may decay by more than itself
        if not 0.0 < lowest < highest < np.inf or n_steps < 2:
            raise ValueError(
                f"lowest={plain_repr(lowest)}, highest={plain_repr(highest)} and n_steps={plain_repr(n_steps)} give "
                "no increasing learning rates. They must be positive, highest above lowest, and n_steps at least 2."
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
        """Plot the loss against the learning rate, and mark the suggestion.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot into; None creates a figure.
        **line_kw
            Passed to ``ax.plot`` for the line.

        Returns
        -------
        self : LearningRateDisplay
        """
        plt = pyplot(self)
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        style = {"color": "0.6", "marker": ".", "markersize": 4, "linewidth": 1, "label": "after each step"}
        (self.line_,) = ax.plot(self.learning_rates, self.losses, **{**style, **line_kw})
        smooth, suggestion = self.smoothed_losses_, self.suggestion_
        ax.plot(self.learning_rates, smooth, color=COLORS[0], linewidth=2.5, label="smoothed")
        if np.isfinite(suggestion):
            height = smooth[np.searchsorted(self.learning_rates, suggestion)]
            label = f"suggestion: {suggestion:.2g}"
            ax.plot(suggestion, height, "o", color=COLORS[1], markersize=11, markeredgecolor="black", label=label)
        if self.auto is not None and self.learning_rates[0] <= self.auto <= self.learning_rates[-1]:
            ax.axvline(self.auto, color=COLORS[2], linestyle="--", label=f'learning_rate="auto": {self.auto:.2g}')
        low, high = min(self.losses.min(), smooth.min()), smooth.max()  # an explosion would flatten all the rest
        margin = 0.08 * (high - low) or 0.5
        ax.set(
            xscale="log",
            xlabel="learning rate (log scale)",
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
    return float(objective.mean_losses(readout(state.iterate, state.optimizer, objective), *data).sum())
