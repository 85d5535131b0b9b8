"""Training curves: the history of a training, with one panel per unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skgd.display.shared import line_style, pyplot
from skgd.strategy import plain_repr

_BY_LAYER = "gradient_norm_layer_"  # what the history's keys for the layers of a network begin with
_MARKED_EPOCHS = 60  # each of so many has a marker; of more, some have


class TrainingDisplay:
    """Training and validation curves: the entries of ``history_`` against epochs or seconds.

    Quantities with the same unit share a panel. Training losses are means over the batches of an epoch, each before its
    step; the validation loss is that after the epoch. A dotted line marks the epoch that is kept, if it is not the last
    one.

    Parameters
    ----------
    history : dict of lists
        ``history_`` of an estimator: lists of the same length, with one entry per epoch.
    loss_name, score_name : str, default=None
        The names of the loss and the validation score for the axes: "log loss", "accuracy".
    kept_epoch : int, default=None
        The number of the epoch to mark, from 1; None marks none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the first panel.
    axes_ : list of matplotlib Axes
        The axes of all panels.
    figure_ : matplotlib Figure
        The figure of the plot.
    lines_ : dict of matplotlib Line2D
        The line of each quantity.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import GDRegressor
    >>> from skgd.display import TrainingDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = GDRegressor(max_iter=30, tol=None)
    >>> model = model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
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
        self,
        history: Mapping[str, Sequence[float]],
        *,
        loss_name: str | None = None,
        score_name: str | None = None,
        kept_epoch: int | None = None,
    ):
        self.history = history
        self.loss_name = loss_name
        self.score_name = score_name
        self.kept_epoch = kept_epoch

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        quantities: str | Sequence[str] | None = None,
        *,
        x: str = "epochs",
        ax: Any = None,
        name: str | None = None,
        log_scale: bool = False,
        **line_kw: Any,
    ) -> TrainingDisplay:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted `GDClassifier` or `GDRegressor`, a `Pipeline` that ends in one, or a fitted search over such.
        quantities, x, ax, name, log_scale, **line_kw
            See :meth:`plot`.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        TypeError
            If the estimator has no history.
        """
        check_is_fitted(estimator)
        model = getattr(estimator, "best_estimator_", estimator)
        model = model[-1] if isinstance(model, Pipeline) else model
        if not hasattr(model, "history_"):
            raise TypeError(
                f"estimator must be a GDClassifier or a GDRegressor (or end in one), got {plain_repr(estimator)}."
            )
        score_name = "accuracy" if is_classifier(model) else "R²"
        before = len(model.history_["loss"]) - model.n_iter_  # this call of fit
        best_iter = getattr(model, "best_iter_", model.n_iter_)  # those of earlier releases have none
        kept_epoch = before + best_iter if best_iter < model.n_iter_ else None
        loss_name = _words(type(model.loss_).__name__)
        display = cls(model.history_, loss_name=loss_name, score_name=score_name, kept_epoch=kept_epoch)
        return display.plot(quantities, x=x, ax=ax, name=name, log_scale=log_scale, **line_kw)

    def plot(
        self,
        quantities: str | Sequence[str] | None = None,
        *,
        x: str = "epochs",
        ax: Any = None,
        name: str | None = None,
        log_scale: bool = False,
        **line_kw: Any,
    ) -> TrainingDisplay:
        """Plot the curves.

        Parameters
        ----------
        quantities : str or list of str, default=None
            "objective", "loss", "validation_loss", "validation_score", "gradient_norm", "learning_rate"; for networks
            also "gradient_norm_layer_1", ... None plots the loss and, if there was a validation set, the validation
            loss.
        x : {"epochs", "seconds"}, default="epochs"
            The horizontal axis. (Each call of ``partial_fit`` counts as an epoch.)
        ax : matplotlib Axes, or a list of one for each panel, default=None
            The axes to plot into; None creates a figure.
        name : str, default=None
            A prefix of each label in the legend, for several models in one plot.
        log_scale : bool, default=False
            Whether the vertical axes are logarithmic, except for the validation score.
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
            raise ValueError(f"x={plain_repr(x)} is not known. Use 'epochs' or 'seconds'.")
        panels: dict[str, list[str]] = {}
        for quantity in chosen:
            panels.setdefault(self._unit(quantity), []).append(quantity)
        plt = pyplot(self)
        if ax is None:
            size = (6.4, 1.8 + 2.6 * len(panels))
            _, axes = plt.subplots(len(panels), sharex=True, squeeze=False, figsize=size, layout="constrained")
            self.axes_ = list(axes.ravel())
        else:
            self.axes_ = list(np.ravel(ax))
            if len(self.axes_) != len(panels):
                units = ", ".join(panels)
                raise ValueError(
                    f"ax must contain {len(panels)} Axes, one for each of: {units}; got {len(self.axes_)}."
                )
        epochs = np.arange(1, len(self.history[chosen[0]]) + 1)
        abscissa = epochs if x == "epochs" else np.cumsum(self.history["seconds"])
        self.lines_: dict[str, Any] = {}
        for axes, (unit, shown) in zip(self.axes_, panels.items(), strict=True):
            for quantity in shown:
                label = self._label(quantity) if name is None else f"{name}: {self._label(quantity)}"
                style = {**line_style(len(axes.lines), len(epochs), _MARKED_EPOCHS), "label": label, **line_kw}
                (self.lines_[quantity],) = axes.plot(abscissa, self.history[quantity], **style)
            if self.kept_epoch is not None:
                label = f"kept epoch: {self.kept_epoch}" if name is None else f"{name}: kept epoch, {self.kept_epoch}"
                color = axes.lines[-1].get_color()
                axes.axvline(abscissa[self.kept_epoch - 1], linestyle=":", color=color, label=label)
            if log_scale and "validation_score" not in shown:
                axes.set_yscale("log")
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
                raise ValueError(
                    f"quantities: {plain_repr(quantity)} {what}. This history has {', '.join(recorded)}.{hint}"
                )
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
