"""The regressor: one or several targets."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from skgd.estimators.base import GDEstimator, is_linear, representable
from skgd.estimators.parameters import RegressorParameters, estimator_class
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, SoftmaxLoss
from skgd.validation import is_plain_target, single_column_raveled

__all__ = ["GDRegressor"]


@estimator_class("regressor")
class GDRegressor(RegressorMixin, RegressorParameters, GDEstimator):
    r"""Linear models and multilayer networks for regression, trained by gradient descent.

    Minimizes

    .. math:: \frac{\sum_i s_i \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
              + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

    over the coefficients w and the intercept b, with the sample weights s and :math:`\rho` = ``l1_ratio``. With the
    squared error this is ``Ridge(alpha=n_samples * alpha)``.

    Parameters
    ----------
    loss : str or Loss, default="squared_error"
        "squared_error", "huber", "absolute_error", "epsilon_insensitive", "squared_epsilon_insensitive", "quantile",
        "poisson", "gamma", "tweedie", or a :class:`~skgd.losses.Loss` object, such as ``Quantile(0.9)``. The last three
        names have a log link: ``predict`` returns the mean ``exp(x @ coef_ + intercept_)``.
    {parameters}

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        The coefficients, in the units of X and y.
    intercept_ : ndarray of shape (1,) or (n_targets,)
        The intercept.
    {attributes}

    See Also
    --------
    skgd.callbacks : Callbacks of ``fit``: early stopping, checkpoints, and those of scikit-learn.
    sklearn.linear_model.SGDRegressor : Stochastic gradient descent, one sample at a time.
    sklearn.linear_model.Ridge : The same minimum for the squared error, by linear algebra.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skgd import GDRegressor
    >>> X, y = load_diabetes(return_X_y=True, scaled=False)
    >>> GDRegressor(random_state=0).fit(X, y).score(X, y) > 0.5
    True
    """

    _known_losses = REGRESSOR_LOSSES
    _target_dtype = np.float64
    _foreign_losses = CLASSIFIER_LOSSES | {"softmax": SoftmaxLoss}

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> GDRegressor:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features; float32 is kept, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative sample weights: a weight of 2 is equivalent to repeating the sample, a weight of 0 to removing
            it. Where ``alpha="auto"`` or the number of epochs depends on how many samples there are, whole numbers
            count copies; of any others, only the ratios matter: divide amounts and percentages by their mean.
        X_val, y_val : default=None
            A validation set for early stopping and for the choice of the best epoch. With metadata routing, a pipeline
            passes it on, ``set_fit_request(X_val=True, y_val=True)``, and transforms it like X, ``Pipeline(...,
            transform_input=["X_val"])``.
        sample_weight_val : default=None
            Sample weights of the validation set.

        Returns
        -------
        self : GDRegressor

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or data, and if training diverges. The estimator is then unchanged.
        """
        with self._atomic():
            self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)
        return self

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GDRegressor:
        """Update the model with a batch of samples, in one pass in the given order.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative sample weights.

        Returns
        -------
        self : GDRegressor

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or data, and if training diverges. The estimator is then unchanged.
        """
        if sample_weight is None and self._goes_on(X, y):
            return self
        with self._atomic():
            self._partial_fit(X, y, sample_weight, None)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the target: its mean, median or quantile, depending on the loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        raw = self._raw(X)
        raw = raw.ravel() if not self._output_shape else raw
        if not self.loss_.log_link:
            return raw
        with np.errstate(all="ignore"):
            return representable(np.exp(raw))

    score = np.errstate(all="ignore")(RegressorMixin.score)  # squares of targets may be too small or too large

    @available_if(is_linear)
    def densify(self) -> Self:
        """Convert ``coef_`` to an array, the inverse of :meth:`sparsify`.

        Returns
        -------
        self : object
        """
        super().densify()
        if not self._output_shape:
            self.coef_ = self.coef_.ravel()
        return self

    def _learn_outputs(self, y, given, loss, classes):
        self._output_shape = y.shape[1:]
        return loss, int(np.prod(self._output_shape)), 0

    def _is_ready_target(self, y, n_rows):
        return is_plain_target(y, np.float64) and len(y) == n_rows

    def _encode(self, y, name):
        y = single_column_raveled(y, warn=False)
        if y.shape[1:] != self._output_shape:
            raise ValueError(
                f"{name} has the shape {y.shape}, but training needs one of the shape "
                f"(n_samples, *{self._output_shape})."
            )
        return y.astype(np.float64, copy=False).reshape(len(y), -1)

    def _parameter_attributes(self, layers):
        attributes = super()._parameter_attributes(layers)
        if "coef_" in attributes and not self._output_shape:
            attributes["coef_"] = attributes["coef_"].ravel()
        return attributes

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        log_link = self._loss_kind().log_link
        tags.target_tags.positive_only = log_link
        # scikit-learn's multi-output check has negative targets. (Positive ones work with several outputs too.)
        tags.target_tags.multi_output = not log_link
        return tags
