"""The classifier: binary, multiclass and multilabel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import column_or_1d

from skgd.estimators.base import GDEstimator
from skgd.estimators.parameters import ClassifierParameters, estimator_class
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, Loss
from skgd.strategy import level_of_caller, plain_repr
from skgd.validation import as_numpy, check_indices, in_range, is_whole, naming

__all__ = ["GDClassifier"]


def _estimates_probabilities(loss: Loss | type[Loss]) -> bool:
    return loss.normalized or loss.probability is not None


def has_probabilities(estimator: GDClassifier) -> bool:
    """Say whether the loss estimates probabilities; raise the AttributeError that `hasattr` looks for, otherwise."""
    kind = estimator._loss_kind()
    learned = getattr(estimator, "loss_", kind)  # with which the model was trained, whatever the parameter is now
    if not _estimates_probabilities(learned):
        loss = learned if _estimates_probabilities(kind) else estimator.loss
        raise AttributeError(
            f"loss={plain_repr(loss)} does not estimate probabilities. Use loss='log_loss' or 'modified_huber', or "
            "put the classifier into a CalibratedClassifierCV."
        )
    return True


@estimator_class("classifier")
class GDClassifier(ClassifierMixin, ClassifierParameters, GDEstimator):
    r"""Linear models and multilayer networks for classification, trained by gradient descent.

    Minimizes

    .. math:: \frac{\sum_i s_i \ell(y_i, x_i \cdot w + b)}{\sum_i s_i}
              + \alpha \left( \frac{1 - \rho}{2} \|w\|_2^2 + \rho \|w\|_1 \right)

    over the coefficients w and the intercepts b, with the sample weights s and :math:`\rho` = ``l1_ratio``. With the
    log loss this is ``LogisticRegression(C=1 / (n_samples * alpha))``, multinomial for three or more classes. Other
    losses train one classifier per class (one-vs-rest). A 2d indicator y is multilabel: one binary classifier per
    label.

    Parameters
    ----------
    loss : str or Loss, default="log_loss"
        "log_loss" (logistic regression), "hinge" (linear support vector machine), "squared_hinge", "modified_huber",
        "perceptron", or a :class:`~skgd.losses.Loss` object.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes; for a multilabel y, the indices of the labels.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The coefficients, in the units of X; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts.
    {attributes}

    See Also
    --------
    skgd.callbacks : Callbacks of ``fit``: early stopping, checkpoints, and those of scikit-learn.
    sklearn.linear_model.SGDClassifier : Stochastic gradient descent, one sample and one class at a time.
    sklearn.linear_model.LogisticRegression : The same minimum for the log loss, by second-order solvers.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skgd import GDClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> GDClassifier(random_state=0).fit(X, y).score(X, y) > 0.95
    True
    """

    _known_losses = CLASSIFIER_LOSSES
    _target_dtype = None  # labels of any kind
    _foreign_losses = REGRESSOR_LOSSES

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> GDClassifier:
        """Fit the model to training data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features; float32 is kept, everything else becomes float64.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The class of each sample, or an indicator matrix for multilabel targets.
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
        self : GDClassifier

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or data, and if training diverges. The estimator is then unchanged.
        """
        with self._atomic():
            self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> GDClassifier:
        """Update the model with a batch of samples, in one pass in the given order.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            The class of each sample, or an indicator matrix for multilabel targets.
        classes : array-like of shape (n_classes,), default=None
            All classes of the stream; required in the first call, unless y is multilabel.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative sample weights.

        Returns
        -------
        self : GDClassifier

        Raises
        ------
        ValueError, TypeError
            For invalid parameters or data, and if training diverges. The estimator is then unchanged.
        """
        same = classes is None or (hasattr(self, "_state") and np.array_equal(self.classes_, classes))
        if same and sample_weight is None and self._goes_on(X, y):
            return self
        with self._atomic():
            y, classes = as_numpy(y, "y"), as_numpy(classes, "classes")
            known = self.classes_ if hasattr(self, "_state") else None
            if classes is None:
                if known is None and not _is_multilabel(y):
                    raise ValueError(
                        "classes must be passed on the first call to partial_fit: all classes of the stream."
                    )
            elif known is None or not np.array_equal(known, classes):
                classes = _read_classes(classes)
                if known is not None and not np.array_equal(np.unique(known), np.unique(classes)):
                    raise ValueError(
                        f"classes={plain_repr(classes)} differ from those of the first call, {plain_repr(known)}."
                    )
            self._partial_fit(X, y, sample_weight, classes)
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the scores of the samples for each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            One column for two classes, positive where ``classes_[1]`` is predicted.
        """
        raw = self._raw(X)
        return raw.ravel() if raw.shape[1] == 1 and not self._multilabel else raw

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict the class, or the labels, of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        scores = self.decision_function(X)
        if self._multilabel:
            return (scores > 0.0).astype(np.int64)
        return self.classes_[(scores > 0.0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    @available_if(has_probabilities)
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each class, if the loss estimates it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to 1; for a multilabel y, probabilities of labels are independent.
        """
        scores = self.decision_function(X)
        with np.errstate(all="ignore"):  # scores may be so far apart that an exponential is zero
            if self.loss_.normalized:
                return softmax(scores, axis=1)
            positive = self.loss_.probability(scores)
            if scores.ndim == 1:
                probabilities = np.empty((len(positive), 2), positive.dtype)
                probabilities[:, 0], probabilities[:, 1] = 1.0 - positive, positive
                return probabilities
            if self._multilabel:
                return positive
            return positive / positive.sum(axis=1, keepdims=True)  # one-vs-rest

    @available_if(has_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The features.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(all="ignore"):
            return np.log(self.predict_proba(X))

    score = np.errstate(all="ignore")(ClassifierMixin.score)  # so may products of weights

    def _learn_outputs(self, y, given, loss, classes):
        self._multilabel = _is_multilabel(y)
        if self._multilabel:
            _warn_of_one_hot(y)
        if loss.normalized and (self._multilabel or len(_distinct(y if classes is None else classes)) < 3):
            raise ValueError(
                f"loss={plain_repr(loss)} is for three or more exclusive classes. Use loss='log_loss', which "
                "adapts to y: binary, multinomial, or one logistic loss per label."
            )
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1]) if classes is None else classes
            if len(self.classes_) != y.shape[1]:
                raise ValueError(f"classes has {len(self.classes_)} labels, but y has {y.shape[1]} columns.")
            return loss, y.shape[1], 0
        self.classes_ = _distinct(y if classes is None else classes)
        n_classes = len(self.classes_)
        if n_classes < 2:
            [only] = self.classes_
            lost: Any = np.unique(given[given != only]) if classes is None else []
            also = f" All sample weights of {', '.join(map(plain_repr, lost))} are zero." if len(lost) else ""
            where = "y has" if classes is None else "classes have"
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes, but {where} one class only: {plain_repr(only)}.{also}"
            )
        return (loss, 1, 2) if n_classes == 2 else (loss.multiclass(), n_classes, n_classes)

    def _labels_in(self, y):
        if y.ndim == 2:
            _type_of_labels(y, "y")
            return None
        labels = y if y.dtype.kind == "O" else _distinct(y)
        _type_of_labels(np.repeat(labels, 3), "y")  # scikit-learn warns of as many labels as rows
        return np.unique(labels)

    def _is_ready_target(self, y, n_rows):
        return is_whole(y) and y.dtype == self.classes_.dtype and len(y) == n_rows and not self._multilabel

    def _encode(self, y, name):
        if self._multilabel:
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"{name} must be multilabel, of the shape (n_samples, {len(self.classes_)}), as in the first call, "
                    f"got {y.shape}."
                )
            if not np.isin(y, (0, 1)).all():
                values = np.unique(y)
                raise ValueError(
                    f"{name} of several columns must be multilabel, zeros and ones, got {plain_repr(values)}."
                )
            return y != 0
        if y.ndim != 1:
            with naming(name):
                y = column_or_1d(y)
        try:
            codes = self.classes_.searchsorted(y)
            found = self.classes_.take(codes, mode="clip")
            if found.dtype == y.dtype and found.tobytes() == y.tobytes():  # as usual; it takes a fourth of the time
                return codes
            unknown = found != y
        except TypeError:  # labels that cannot be compared, such as strings with numbers
            unknown = np.ones(len(y), dtype=bool)
        if np.count_nonzero(unknown):
            raise ValueError(
                f"{name} contains labels that are not among the classes {plain_repr(self.classes_)}: "
                f"{', '.join(map(plain_repr, dict.fromkeys(y[unknown].tolist())))}."
            )
        return codes

    def _class_weight(self):
        if self.class_weight is None:
            return None
        if self._multilabel:
            raise ValueError(
                f"class_weight={plain_repr(self.class_weight)} is not for multilabel y. Pass sample_weight instead."
            )
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return "balanced"
        if not isinstance(self.class_weight, Mapping):
            raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {plain_repr(self.class_weight)}.")
        with naming(f"class_weight={plain_repr(self.class_weight)}"):
            weights = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        wrong = ~(np.isfinite(weights) & (weights > 0.0))
        if wrong.any():
            label, each = self.classes_[wrong][0], weights[wrong][0]
            raise ValueError(
                f"class_weight must be finite and above 0, got {each:g} for the class {plain_repr(label)} in "
                f"{plain_repr(self.class_weight)}. "
                "To exclude a class, remove its samples."
            )
        return in_range(weights, 1e-4, 1e4)  # for products with sample weights

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # scikit-learn's multilabel checks want predict_proba. (Multilabel works with the other losses too.)
        tags.classifier_tags.multi_label = _estimates_probabilities(self._loss_kind()) and self.class_weight is None
        return tags


def _read_classes(classes: Any) -> np.ndarray:
    """Return the classes checked: labels in one dimension, that can be compared."""
    with naming("classes"):
        classes = check_array(classes, ensure_2d=False, dtype=None, input_name="classes")
        if classes.ndim != 1:
            raise ValueError(f"classes must have one dimension, got the shape {classes.shape}.")
    _type_of_labels(classes, "classes")
    return classes


def _distinct(labels: np.ndarray) -> np.ndarray:
    """Return what ``np.unique`` does; integers that lie close together are counted, in a sixth of the time."""
    if is_whole(labels) and labels.dtype.kind != "b" and np.can_cast(labels.dtype, np.int64):
        low, high = int(labels.min()), int(labels.max())
        if high - low < len(labels):
            counts = np.bincount(labels.astype(np.int64, copy=False) - low)
            return (np.flatnonzero(counts) + low).astype(labels.dtype)
    return np.unique(labels)


def _is_multilabel(y: Any) -> bool:
    return _type_of_labels(y, "y") == "multilabel-indicator"


def _warn_of_one_hot(y: np.ndarray) -> None:
    """Warn where the columns of a multilabel y look as if they were exclusive classes."""
    if len(y) >= y.shape[1] > 1 and (np.count_nonzero(y, axis=1) == 1).all():
        warnings.warn(
            f"y has {y.shape[1]} columns with exactly one 1 in each row, and is read as multilabel: a binary model for "
            "each column, whose probabilities need not sum to 1. If the columns are exclusive classes, pass one label "
            "per sample: y.argmax(axis=1).",
            UserWarning,
            stacklevel=level_of_caller(),
        )


def _type_of_labels(labels: Any, name: str) -> str:
    """Return the type of labels, in scikit-learn's words, if a classifier can learn them."""
    if is_whole(labels) and 2 * len(values := _distinct(labels)) <= len(labels):  # else scikit-learn has its doubts
        return "binary" if len(values) < 3 else "multiclass"
    check_indices(labels, name)
    with naming(name):
        try:
            kind = type_of_target(labels, input_name=name)
        except TypeError:
            raise TypeError(
                f"{name} must contain labels that can be compared: all of them numbers, or strings."
            ) from None
    if kind not in ("binary", "multiclass", "multilabel-indicator"):
        raise ValueError(
            f"Unknown label type: {name} is {kind}. A classifier needs one class per sample (integers, strings, "
            "booleans), or an indicator matrix of zeros and ones."
        )
    return kind
