"""What ``"auto"`` decides: optimizer, learning rate, batch size, penalty, averaging interval.

Each rule is stated here, with its reason, and nowhere else; the table in ``docs/defaults.md`` quotes it, and the
measurements follow there. `skgd.stopping` states the stopping criteria in the same form.

X is "sparse" if less than 15 % of its entries are nonzero, whatever the format; sparse data are "text" if samples have
50 nonzero entries or more in sparse features. The compiled loops of streams use the same definitions, so they are in
`skgd.coordinates`, together with the penalty that follows: ``is_sparse``, ``is_text_like`` and ``auto_alpha``. The
automatic learning rate of each optimizer is its ``auto_learning_rate``.

``optimizer="auto"``
    ``fit`` of a linear model with few features, if ``precondition`` and the other parameters of ``fit`` have their
    defaults, except for ``alpha``, ``l1_ratio``, ``tol``, ``max_iter`` and weights: Newton steps over all samples,
    dense or sparse; for losses with kinks, on smoothed losses (means over intervals that become smaller), and in
    classification (hinge) only with a number for ``alpha`` or ``tol``. Features are few if (n_samples + n_features) ·
    n_features² · n_outputs, times 16 unless the loss is the squared error, is at most 2e9 (n_outputs is 1 for a squared
    error; softmax multiplies n_features by n_classes - 1), and X has at most 4 million entries. In a sparse matrix of
    which at most half of the features occur, as of hashed text, only these count. Why: they cost less than epochs of
    mini-batches, and end at the minimum, whatever the correlations, outliers and rare classes. With the hinge loss,
    predictions for left-out samples, which choose the penalty, are too good if classes are separable.

    the same with more features, if they are dense and correlated (the squared correlations of a feature with the others
    add up to 3 in the mean, by 256 samples), or if there are fewer than 20 samples per feature: up to 5e10 operations
    (times 4 instead of 16 unless the loss is the squared error), if X has at most 32 million entries and there is no L1
    penalty. The same with sparse data if fewer than 20 samples have a feature in the mean (rare categories), a sample
    has fewer than 50 nonzero entries, and X has at most 4 million entries, zeros included. If there are more features
    than samples, n_samples counts in place of n_features with ``alpha="auto"``: the coefficients at the minimum are
    combinations of the samples (`skgd.spanned`). Why: correlated features are not learned in a few epochs (of 600
    features that depend on 20 factors, R² is 0.90 instead of 0.51), and a model with few samples per feature needs a
    penalty that the data choose (of 1,000 samples of two features with 500 categories each, the log loss is 0.68
    instead of 0.81, where the best constant has 0.69). It takes seconds instead of tenths of a second.

    with dense data and n_samples at least 100 times the number of parameters: Newton steps with the Hessian of a
    subsample of 2 √(n_parameters · n_samples) samples, at least 20 per parameter and at most a quarter of all, which
    count instead of n_samples in the bound above; for losses without kinks, if each feature varies in 20 of some
    thousand samples or more. Why: gradients over all samples with an approximate Hessian come as near to the minimum
    as the noise of the data allows in one or two epochs, and nothing has to be compiled; a subsample says nothing about
    effects of few samples, such as outliers and rare categories.

    otherwise AdaGrad, whose learning rate for each parameter decays with the sum of its squared gradients. Why: the
    most robust optimizer in our measurements; rare features keep a large learning rate.

    ``fit`` of a classifier on text, with ``learning_rate``, ``alpha``, ``batch_size`` and ``tol`` at their defaults:
    plain SGD. Why: with implicit steps on single samples, early stopping regularizes it well without a penalty, and it
    needs less time; on samples with fewer nonzero entries, such as categories and short texts, AdaGrad is as good or
    better with two classes.

    the same on other sparse data if there are three classes or more, in mini-batches and with a penalty. Why: AdaGrad
    takes steps for each class that are as long as if it were the only one, and learns the noise of rare categories: on
    two ids with 500 and 2,000 values and five classes, the log loss relative to that of the class frequencies is 1.02
    instead of 0.94 (logistic regression has 0.93).

    ``partial_fit`` on sparse matrices with 2048 features or more, if ``batch_size`` has its default or is 1, without
    hidden layers, or averaging of penalized iterates: AdaGrad that updates only the features of a sample (as plain SGD
    and FTRL do there), with sums of squared gradients that start at 1, and one sum per feature for all classes. Why:
    the cost of a sample depends on its nonzero entries, not on n_features; the first steps are not too long; gradients
    of one class inform the learning rates of all classes. So it goes on after a ``fit`` that took steps of SGD in
    mini-batches: those of single samples, at the same learning rate, would undo what ``fit`` has learned.

    with hidden layers: Adam. Why: the gradients of layers differ in size.

    ``fit`` of a network on dense data with too many features to start at the linear model (see ``tol``), with a
    constant learning rate and ``alpha="auto"``: AdamW, whose weight decay takes an eighth of the coefficients in an
    epoch. Why: without it, networks with many features memorize: with it, the log loss on images of digits and clothes
    is lower by 25 to 45 %. A share of an epoch means the same whatever the number of samples, the batch size and the
    learning rate (*Wang and Aitchison*, 2024). With few features, networks without decay learn functions with large
    slopes better.

``precondition=True``
    dense features are centered and divided by their standard deviation; features of sparse matrices are divided by
    their maximum absolute value, in ``fit`` at most five times the usual one, and multiplied by the square root of
    1 - log(share of nonzero entries); the target is centered and scaled, in ``fit`` by median and median absolute
    deviation if the loss grows at most linearly and outliers increase the standard deviation by more than a factor of
    three. Why: results do not depend on units; zeros stay zeros; a rare word is more informative than a frequent one
    (inverse document frequency); outliers do not hide the other samples.

    dense features of a stream: values more than ten standard deviations from the running mean (targets: five) are
    clipped in the statistics, and samples whose norm is more than seven times the usual one get a smaller weight, for
    classification and for losses that grow at most linearly; if the standard deviation of a window of the latest
    samples is less than 3 % of the running one, the window replaces all earlier samples. Why: a single outlier must
    not hide all other samples, and the unit of a feature may change.

    for each feature separately: features of a sparse matrix that are nonzero in most samples (a gradual transition from
    40 to 60 % of them) are treated as dense ones (in text, only if the squared mean is at least nine times the
    variance), and dense features with a single nonzero value, in at most 15 % of the samples, are treated as sparse
    ones. Why: numerical features next to one-hot categories are learned in any format; if categories were centered,
    only the intercept would learn how frequent classes are, and the learning rate for categories is low.

    for labels, and losses that grow no faster than linearly: in ``fit`` with mini-batches, the standard deviation of
    dense features is at most three times a robust estimate from some of the samples, and sparse samples that are more
    than seven times as long as usual count as shorter ones. In steps of ``partial_fit``, and of ``fit`` if ``tol`` and
    ``alpha`` have their defaults, such samples have a smaller weight; in ``fit``, the scale of a feature then falls
    from three robust estimates to one where outliers would increase the standard deviation by factors of three to nine.
    Why: a few outliers and heavy tails do not hide the other samples; with a scale of three, the learning rate of plain
    SGD would be nine times too small.

    values of dense features that are more than ten times as far away as usual, but recur (at most half of them
    different, and 0.3 % of the samples or more), are codes, such as -9999 for missing values: the standard deviation
    then remains what it is (not in streams). Why: as outliers, samples with codes would hardly have a say, and
    predictions for them would be far too confident.

    in streams, what has only been zero has no unit: the coefficients of a network for such a feature begin in the unit
    of its largest value when there is one, and predictions of counts at their mean. Why: until then, the scale is 1, in
    the user's unit.

    in streams of 2048 sparse features or more: the root mean square of a feature's nonzero entries replaces their
    maximum absolute value, and dense features are centered after 20 samples. Why: it changes little with single
    entries.

    with Newton steps: all features are centered and divided by their standard deviation, also those of sparse matrices,
    but by at most three times a robust estimate from the values that differ from the median, if ``alpha="auto"`` is a
    penalty and the Hessian is not that of a subsample (on partitions, from the sample that is kept of them), and
    features with a single nonzero value by at least a quarter of that. Why: Newton steps do not depend on the scale,
    without such a penalty nothing does, and with it, it means the same for each feature, whatever its outliers; divided
    by their standard deviations, rare categories would hardly be penalized beside numbers. With 200 samples of 200
    categories and three numbers, the log loss is .55 (.71 without the bound, .54 with logistic regression on unscaled
    features).

    otherwise, in ``fit`` of a linear model with few dense features, or more if they are correlated (see ``optimizer``),
    whose second moments have a condition number above 200, uncorrelated combinations replace the features if training
    is to end at the minimum (see ``tol``) or there are 100 samples or more per parameter, without an L1 penalty:
    `skgd.decorrelation`. Why: a learning rate that suits one direction is far too small in others, and training would
    end far from the minimum; with few samples per parameter, the best model is there.

    the same in ``partial_fit`` with 2 to 100 dense features and optimizers with implicit steps (AdaGrad and plain SGD),
    from running second moments: checked after 20 samples per feature, whenever the number of samples has doubled since,
    and when the variance of a combination has increased fourfold; recomputed if the combinations themselves have a
    condition number above 10. While features have been uncorrelated, only one batch of eight counts. The moments begin
    again if the standard deviation of a feature is less than 3 % of that. Why: a stream comes near the minimum in
    one pass; estimates from 20 samples per direction are accurate to a factor of two; outliers among the first samples
    are forgotten, and drift is followed. Implicit steps are not too long for outliers along a combination with little
    variance so far, those of other optimizers are: with Adam, R² on new samples of the river flow data (rf1) decreased
    from 0.55 to -3.5.

``learning_rate="auto"``
    AdaGrad: 3 / root mean square norm of the preconditioned samples, and 0.5 instead of 3 for sparse data (in
    ``partial_fit`` in proportion to the share of sparse features with a single nonzero value, such as one-hot
    categories, except for text in streams of 2048 features or more); plain SGD: 1 / (mean squared norm · curvature of
    the loss); times √n_classes for sparse data, times n_classes for plain SGD. Why: sparse features are nearly
    independent of each other; a rare feature meets each class in only a fraction of its samples.

    intercepts are initialized with the best constant model (not in ``partial_fit``). Why: an offset of the target is
    removed at once, and rare classes have a small probability from the first step.

    Adam, the default with hidden layers: 0.1 / root mean square norm of the samples / number of hidden layers; the next
    two rules do not apply with hidden layers. Why: in a deep network, the steps of the layers add up.

    the learning rate of a parameter is at most 1 / (its own curvature), as in Newton's method. Why: otherwise, a
    parameter whose gradient is rounding error, such as the intercept of centered data, takes full steps if the
    optimizer normalizes the size of gradients.

    steps are implicit: the fraction λ of the step with φ'(λ) = λ φ'(0) is taken, where φ is the loss of the batch along
    the step. Why: a step cannot overshoot the minimum of the batch, so that ten times larger learning rates work, too.

    ``fit`` of a network that starts at the linear model (see ``tol``): a third of that, unless pairs of its neurons are
    only nearly linear (tanh). Why: near a minimum, gradients are mostly noise, and the first steps of Adam are as
    long as any. Those pairs are changed much by any step, and training has to leave them behind.

``batch_size="auto"``
    ``fit``: full batches for linear regression with up to 1000 samples, unless X is sparse, and for any model with up
    to 64. Why: they converge fastest; the minimum for separable classes is at infinity, and mini-batches stop earlier.

    otherwise 32 for sparse data without hidden layers; else n_samples/64, between 32 and 256, or 128 for dense data
    with hidden layers; 1 for SGD on text. ``partial_fit``: 8, and with 2048 sparse features or more 1, or 32 with
    hidden layers. Why: sparse samples share few features, so that a mean over many samples gains little. Networks are
    as good with smaller batches, after fewer epochs; on sparse data, a step costs most for the weights of the features
    that its samples have, and larger batches have the frequent ones in common. In streams, it costs most for those of
    all features, and 32 samples a step are better than 8: on texts of 20 classes, the log loss of the next samples is
    1.56 instead of 1.93.

``alpha="auto"``
    with Newton steps: the strength with the best predictions on left-out samples, where λ = alpha · n_samples is one of
    1e-3, ..., 1e3 that is hardly worse than the best one and nearest to 1; for a squared error, the mean on a
    logarithmic scale of the best λ and the one with the maximum evidence, as far as the loss on left-out samples
    allows; λ = 1 with the Hessian of a subsample. Why: small data sets need a penalty, whose strength depends on the
    data; the estimates are noisy, and coefficients of the order of one are likely; with many samples, the penalty only
    keeps the coefficients of separable classes finite.

    the same with n_features / 10 times the smaller of 1 and n_features / n_samples in place of 1, rounded to a power of
    ten, if that is larger and the loss is not the squared error; the range moves with it. Why: the more features, the
    smaller are coefficients that make predictions of the usual size.

    ``fit`` of a network that starts at the linear model (see ``tol``): 2 / n_samples, at most 1e-3, times twice the
    loss of the best constant model, if that is less than the unit of the loss. Why: as for linear models; the mean loss
    on new data is lower on 136 tables. With few samples, 2 / n_samples would not let networks learn what linear models
    do not, nor would a penalty larger than the loss. Other networks have no such penalty, since an objective with it
    takes many more epochs to converge.

    otherwise, and for a squared error with 100 samples or more per parameter, 1e-5 / √n_classes for sparse data, else
    0; 0 for SGD on text. It is a penalty on the standardized coefficients, relative to the unit of the target. Why:
    results do not depend on units; few epochs, and many samples, regularize by themselves.

    in streams of 2048 sparse features or more, with the default optimizer and ``precondition``, without averaging: 6e-6
    · mean squared norm of the standardized samples / n_classes (2 unless classes exclude each other). Proximal steps
    are the shorter the more samples n have had a feature: coefficients are divided by 1 + alpha · (sum of the learning
    rates since the feature was last seen) / √(1 + n). Why: words that occur in a few samples are mostly noise, which
    adds up in long samples; the more classes, the fewer occurrences of a word has each.

``average="auto"``
    ``fit``: the k-th iterate has the weight min(1, 9/(k+8)). Why: averages are better.

    ``partial_fit`` of a linear model, with implicit steps: the k-th iterate has the weight 2/(k+1), and predictions are
    made between the last iterate and the average, where the loss of the latest samples (about 256), before the steps
    with them, is lowest: where the line between its slopes at both ends is zero. Not in streams of 2048 sparse features
    or more. Why: with noisy targets, the average is better (3,000 samples, 20 features, R² of the best model 0.05: 0.04
    instead of -0.03), and the last iterate if the data change over time; streams with drift are predicted as well as
    without an average, or better.

    otherwise, ``partial_fit`` goes on with the average of ``fit``, with its weights, and begins none. Why: the data may
    change over time.

    ``fit``: between two averaged iterates there are as many steps as each feature needs to occur about three times, or
    twelve times in sparse data with hidden layers. Why: this costs less than the steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skgd.activations import Identity
from skgd.coordinates import ColumnStatistics, auto_alpha, row_norm_of
from skgd.correlation import are_rare, is_dense, some_rows, squared_correlations
from skgd.engines import USUAL_EPOCHS
from skgd.losses import SquaredError
from skgd.measuring import Matrix
from skgd.networks import is_linear_in_pairs, represents_linear_model
from skgd.objective import Objective
from skgd.optimizers import FTRL, SGD, AdaGrad, Adam, AdamW, Optimizer, is_linear, laziness_of
from skgd.plan import Plan
from skgd.schedules import Constant
from skgd.state import State

STREAM_BATCH = 8
_STREAM_BATCH_OF_WIDE_NETWORK = 32
_WIDE = 2**11
_WIDE_OF_NETWORK = 2**12  # with fewer, a batch has most columns, and gathering them takes longer than visiting all
_WIDE_ACCUMULATOR, _WIDE_DECAY = 1.0, 6e-6
_SMALLEST_BATCH = 32
_LARGEST_BATCH = 256
_LARGEST_BATCH_OF_NETWORK = 128  # on dense data
_FEW_ENTRIES, _MORE_ENTRIES = 2**22, 2**25
_FEW_PRODUCTS, _MORE_PRODUCTS = 2e9, 5e10
_CORRELATED = 4.0  # times as many steps as with uncorrelated features
_FEW_ROWS = 20  # for each feature
_MANY_ROWS = 100  # for each parameter
_ROWS_AT_ROOT = 4  # times parameters and rows: the square of the size of a sample
_ROWS_OF_SAMPLE = 20  # for each parameter, at least
_ROWS_A_SAMPLED_ONE = 4  # at least
_EPOCHS_OF_LINEAR_MODEL = 1000
_NEAR_MINIMUM = 3.0  # times shorter steps
_LINEAR_MODELS = 6  # that networks start at, with those of cross-validation
_DECAY_OF_NETWORK = 0.125  # of the coefficients, in an epoch
_PENALTY_OF_NETWORK, _LARGEST_PENALTY_OF_NETWORK = 2.0, 1e-3  # the first for all samples together
_USUAL_STEPS = 4  # times as long as for a squared error, whose strengths of the penalty all need one matrix
_MOST_STEPS = 16  # that it may take, where no evidence is asked for that they are worth it

# ---------------------------------------------------------------------------------------------------------------------
# Optimizer and penalty
# ---------------------------------------------------------------------------------------------------------------------


def optimizer_for(state: State, plan: Plan, *, regression: bool) -> Optimizer:
    """Return the optimizer for columns as they turn out to be, before the first step of ``fit``."""
    columns, several = state.columns, state.objective.exclusive_classes
    suits_sgd = columns.text_like or (columns.sparse and several)
    return SGD() if _is_free(plan) and suits_sgd and not regression else state.optimizer


def optimizer_of_network(state: State, plan: Plan, X: Matrix, rate: float, n_steps: int) -> Optimizer:
    """Return the optimizer of so many steps an epoch: with the default weight decay, without that of earlier fits."""
    if plan.optimizer is not None or not plan.hidden_layer_sizes or type(state.optimizer) not in (Adam, AdamW):
        return state.optimizer
    free = plan.alpha == "auto" and isinstance(plan.schedule, Constant)
    if not free or has_affordable_linear_model(plan, state.objective, X):
        return without_weight_decay(state.optimizer)
    return AdamW(**state.optimizer.get_params(deep=False) | {"weight_decay": _DECAY_OF_NETWORK / (rate * n_steps)})


def without_weight_decay(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer, with a weight decay of zero if it has one."""
    if not optimizer.weight_decay:
        return optimizer
    return type(optimizer)(**optimizer.get_params(deep=False) | {"weight_decay": 0.0})


def rows_of_newton(plan: Plan, objective: Objective, X: Matrix, *, regression: bool) -> int:
    """Return how many rows ``fit`` takes the Hessian of, for Newton's steps, or 0 where it takes other steps.

    They are taken where features are few enough, with all left to "auto" that they depend on.
    """
    free = plan.optimizer is None and not plan.hidden_layer_sizes and isinstance(plan.schedule, Constant)
    free = free and plan.schedule.learning_rate == plan.batch_size == plan.n_iter_no_change == "auto"
    free = free and plan.average in ("polynomial", False) and plan.precondition and plan.max_grad_norm is None
    if not free or plan.tol is None:
        return 0
    loss, asks_for_minimum = objective.loss, plan.tol != "auto" or plan.alpha != "auto"
    if not (loss.smooth or (loss.smoothable and (asks_for_minimum or regression))):
        return 0
    return rows_of_hessian(objective, X) or _rows_worth_time(plan, objective, X)


def _rows_worth_time(plan: Plan, objective: Objective, X: Matrix) -> int:
    """Return how many rows to take the Hessian of where that is worth more time, or 0 where it is not.

    It is where features are correlated, and where samples are so few that their noise has to be penalized.
    """
    n_rows, n_columns = X.shape
    if objective.l1_ratio or (n_columns > n_rows and not spans(plan, objective)):
        return 0
    size = _size_of_subsample(objective, X) or n_rows
    affordable = size < n_rows or n_rows * n_columns <= _MORE_ENTRIES  # of which copies are made
    if not affordable or _products_of_search(objective, size, min(n_rows, n_columns)) > _MORE_PRODUCTS:
        return 0
    some = some_rows(X)
    if n_rows < _FEW_ROWS * n_columns:
        worth = is_dense(some) or (n_rows * n_columns <= _FEW_ENTRIES and are_rare(some, n_rows))
    else:
        worth = _are_correlated(some)
    return size if worth else 0


def _are_correlated(some: Matrix) -> bool:
    """Say whether features are dense, and correlated enough for learning rates to fit few directions."""
    return is_dense(some) and squared_correlations(some) > _CORRELATED


def may_decorrelate(objective: Objective, X: Matrix) -> bool:
    """Say whether combinations of columns are worth their time: where these are few, or correlated."""
    if has_few_columns(objective, X):
        return True
    n_rows, n_columns = X.shape
    affordable = X.size <= _MORE_ENTRIES and _products_of_search(objective, n_rows, n_columns) <= _MORE_PRODUCTS
    return affordable and n_columns <= n_rows and _are_correlated(some_rows(X))


def spans(plan: Plan, objective: Objective) -> bool:
    """Say whether coefficients at the minimum are combinations of the samples: the penalty is one for all features."""
    return plan.alpha == "auto" and not objective.l1_ratio


def chooses_epochs(plan: Plan) -> bool:
    """Say whether all is left to "auto" that says how far a network is trained."""
    return bool(plan.hidden_layer_sizes) and plan.tol == plan.alpha == plan.n_iter_no_change == "auto"


def starts_at_linear_model(state: State, plan: Plan, X: Matrix) -> bool:
    """Say whether ``fit`` of a network starts at the linear model."""
    return can_start_at_linear_model(state, plan) and has_affordable_linear_model(plan, state.objective, X)


def can_start_at_linear_model(state: State, plan: Plan) -> bool:
    """Say whether a network can start at the linear model, however long that takes to train."""
    if not chooses_epochs(plan) or not plan.precondition or state.t:
        return False
    objective = state.objective
    return represents_linear_model(objective.layers(state.iterate.theta), objective.activation)


def has_affordable_linear_model(plan: Plan, objective: Objective, X: Matrix) -> bool:
    """Say whether linear models take little time beside networks: X is sparse, or has few features, or few samples."""
    if not isinstance(X, np.ndarray) or rows_of_hessian(objective, X) > 0:
        return True
    n_rows, n_columns = X.shape
    width = min(n_rows, n_columns) if spans(plan, objective) else n_columns
    n_products = _LINEAR_MODELS * _products_of_search(objective, n_rows, width)
    return n_rows < _FEW_ROWS * n_columns and X.size <= _MORE_ENTRIES and n_products <= _MORE_PRODUCTS


def linear_plan(plan: Plan) -> Plan:
    """Return the plan for the linear model that a network starts at, with default parameters."""
    return replace(
        plan,
        optimizer=None,
        schedule=Constant(),
        batch_size="auto",
        max_iter=_EPOCHS_OF_LINEAR_MODEL,
        average="polynomial",
        max_grad_norm=None,
        verbose=0,
        hidden_layer_sizes=(),
        activation=Identity(),
        reports=False,
    )


def has_few_columns(objective: Objective, X: Matrix) -> bool:
    """Say whether columns are so few that a linear model's Hessian can be factorized some times."""
    return X.shape[0] * X.shape[1] <= _FEW_ENTRIES and _has_few_products(objective, *X.shape)


def rows_of_hessian(objective: Objective, X: Matrix) -> int:
    """Return how many rows Newton's steps take the Hessian of: all, or a sample of many dense ones, or 0 for none."""
    n_rows, n_columns = X.shape
    if has_few_columns(objective, X):
        return n_rows
    size = _size_of_subsample(objective, X)
    return size if _has_few_products(objective, size, n_columns) else 0


def _size_of_subsample(objective: Objective, X: Matrix) -> int:
    """Return how many of many dense rows make a subsample for the Hessian, or 0 where they are too few."""
    n_rows, n_columns = X.shape
    n_parameters = _parameters_together(objective, n_columns + objective.fit_intercept)
    size = int(max((_ROWS_AT_ROOT * n_parameters * n_rows) ** 0.5, _ROWS_OF_SAMPLE * n_parameters))
    least = max(_MANY_ROWS * n_parameters, _ROWS_A_SAMPLED_ONE * size)
    return size if isinstance(X, np.ndarray) and objective.loss.smooth and n_rows >= least else 0


def _parameters_together(objective: Objective, n_inputs: int) -> int:
    """Return how many parameters have one Hessian: those of an output, or of all that share a loss."""
    return n_inputs * (objective.n_outputs - 1 if objective.loss.normalized else 1)


def _has_few_products(objective: Objective, n_rows: int, n_columns: int) -> bool:
    return _products_of_search(objective, n_rows, n_columns, _MOST_STEPS) <= _FEW_PRODUCTS


def _products_of_search(objective: Objective, n_rows: int, width: int, n_steps: int = _USUAL_STEPS) -> float:
    """Return how many products it takes to choose a penalty by Newton's steps; a squared error takes one step."""
    times = 1 if isinstance(objective.loss, SquaredError) else n_steps
    return times * products_of_columns(objective, n_rows, width)


def products_of_columns(objective: Objective, n_rows: int, width: int) -> float:
    """Return how many products it takes to make and to factorize the Hessian of a linear model of so many columns."""
    number = objective.n_outputs
    if isinstance(objective.loss, SquaredError):  # outputs share one
        number = 1
    elif objective.loss.normalized:
        width, number = width * max(number - 1, 1), 1
    return float((n_rows + width) * width**2 * number)


def parameters_a_row(state: State) -> float:
    """Return the number of parameters for each row."""
    objective, columns = state.objective, state.columns
    n_parameters = np.count_nonzero(columns.filled) + objective.fit_intercept
    return float(n_parameters * (objective.n_outputs if objective.exclusive_classes else 1) / columns.rows)


def has_many_rows(state: State) -> bool:
    """Say whether rows are so many for each parameter that what is learned from them is hardly noise."""
    return _MANY_ROWS * parameters_a_row(state) <= 1.0


def is_brief(state: State, plan: Plan) -> bool:
    """Say whether training is SGD on text, by ``optimizer="auto"``: its few epochs of single samples regularize."""
    return has_chosen_sgd(state, plan) and state.columns.text_like


def has_chosen_sgd(state: State, plan: Plan) -> bool:
    """Say whether the optimizer is SGD by ``optimizer="auto"``."""
    return _is_free(plan) and isinstance(state.optimizer, SGD)


def _is_free(plan: Plan) -> bool:
    """Say whether ``optimizer="auto"`` may decide on all that goes with it."""
    free = plan.optimizer is None and not plan.hidden_layer_sizes
    free = free and plan.schedule.learning_rate == plan.alpha == plan.batch_size == "auto"
    return free and plan.tol in ("auto", None) and isinstance(plan.schedule, Constant)


def chooses_penalty(state: State, plan: Plan, *, regression: bool) -> bool:
    """Say whether rows left out choose the strength of the penalty, where Newton's steps are taken."""
    loss = state.objective.loss
    may_predict = loss.smooth or (loss.smoothable and regression)  # without kinks near them, classes hardly move
    return plan.alpha == "auto" and may_predict and not (isinstance(loss, SquaredError) and has_many_rows(state))


def penalizes_standardized(state: State, plan: Plan, *, regression: bool) -> bool:
    """Say whether the scales of features in Newton's steps decide how much each coefficient is penalized."""
    objective = state.objective
    return chooses_penalty(state, plan, regression=regression) or (
        objective.standardized_penalty and objective.alpha > 0.0
    )


def alpha_for(state: State, plan: Plan) -> float:
    """Return the strength of the penalty."""
    if not isinstance(plan.alpha, str):
        return plan.alpha
    n_classes = state.objective.n_outputs if state.objective.exclusive_classes else 1
    if is_brief(state, plan) or state.combined is not None:
        return 0.0
    return auto_alpha(float(state.columns.share_filled), n_classes)


def penalty_of_network(objective: Objective, n_samples: float) -> float:
    """Return the strength of the penalty of a network that starts at the linear model."""
    n_problems = 1 if objective.one_problem else objective.n_outputs
    of_constant = np.mean(1.0 / (objective.worth * objective.unit)) / n_problems  # a half for squared errors
    return float(min(_PENALTY_OF_NETWORK / n_samples, _LARGEST_PENALTY_OF_NETWORK) * min(2.0 * of_constant, 1.0))


# ---------------------------------------------------------------------------------------------------------------------
# Rate
# ---------------------------------------------------------------------------------------------------------------------


def base_rate(
    state: State, plan: Plan, *, stream: bool = False, from_linear_model: bool = False
) -> tuple[float, np.ndarray | None]:
    """Return the rate that the schedule multiplies and, for "auto", the largest sensible one of each parameter."""
    base, longest = plan.schedule.learning_rate, None
    if isinstance(base, str):  # "auto"
        objective, curvature = state.objective, state.objective.loss.curvature
        inputs = state.columns if state.combined is None else state.combined
        sparse = state.columns.sparse and state.combined is None
        squares = inputs.mean_squares(objective.coordinates.center, objective.coordinates.scale)
        row_norm = float(row_norm_of(squares.sum(), objective.fit_intercept))
        n_classes = objective.n_outputs if objective.exclusive_classes and sparse else 1
        one_hot = sparse * (state.columns.one_hot if stream else 1.0)
        of_data = row_norm, curvature, n_classes, one_hot
        base = state.optimizer.auto_learning_rate(*of_data, state.optimizer.hyper())
        near = from_linear_model and is_linear_in_pairs(objective.activation)
        base /= max(len(objective.hidden_layer_sizes), 1) * (_NEAR_MINIMUM if near else 1.0)
        if not objective.hidden_layer_sizes:
            by_feature = np.repeat(1.0 / (curvature * squares), objective.n_outputs)
            intercepts = np.full(objective.n_outputs, 1.0 / curvature)
            longest = objective.join([(by_feature, intercepts)], state.iterate.theta.dtype)
    return base, longest


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


def batch_size(state: State, plan: Plan, *, regression: bool) -> int:
    """Return the number of rows in a batch of ``fit``: all of them for None, and on small sets for "auto"."""
    columns, n_rows = state.columns, state.columns.rows
    if plan.batch_size != "auto":
        return n_rows if plan.batch_size is None else min(int(plan.batch_size), n_rows)
    if is_brief(state, plan):
        return 1
    linear = not plan.hidden_layer_sizes
    if n_rows <= (1000 if linear and regression and not columns.sparse else 64):
        return n_rows
    if linear and columns.sparse:
        return _SMALLEST_BATCH
    largest = _LARGEST_BATCH if linear or columns.sparse else _LARGEST_BATCH_OF_NETWORK
    return min(largest, max(_SMALLEST_BATCH, n_rows // 64))


def is_wide(state: Any, plan: Plan, X: Matrix) -> bool:
    """Say whether a stream visits but the columns that a row has, among so many."""
    if isinstance(X, np.ndarray) or X.shape[1] < _WIDE:
        return False
    optimizer = state.optimizer
    laziness = laziness_of(optimizer)
    keeps = laziness == "rest" and (is_linear(optimizer) or optimizer.slots == AdaGrad.slots)  # in any unit
    repeats = laziness == "repeat" and type(optimizer).rebase in (Optimizer.rebase, FTRL.rebase)
    repeats = repeats and isinstance(plan.schedule, Constant)  # at one rate, only the last of missed steps counts
    if state.averaging and not state.comparing:  # what features missed is known in closed form as long as they rest
        keeps, repeats = keeps and plan.alpha in ("auto", 0.0), False
    return plan.batch_size in ("auto", 1) and not plan.hidden_layer_sizes and (keeps or repeats)


def visits_few_columns(state: Any, plan: Plan, *, regression: bool, l1_ratio: float | None = None) -> bool:
    """Say whether the steps of a network's stream visit but the columns that rows have, among so many.

    What the others miss has a closed form: in the user's units, the penalty of a regression depends on the target.
    """
    objective, optimizer = state.objective, plan.optimizer or state.optimizer
    alone = plan.class_weight is None and not plan.averages_on(state.averaging) and not state.comparing
    drifts = laziness_of(optimizer) == "drift" and optimizer.proximal
    l1_ratio = objective.l1_ratio if l1_ratio is None else l1_ratio
    given = plan.alpha if not isinstance(plan.alpha, str) else 1.0
    known = not given * l1_ratio and not (regression and given and given is plan.alpha)
    wide = objective.n_features >= _WIDE_OF_NETWORK and bool(objective.hidden_layer_sizes)
    return wide and alone and drifts and known


def wide_optimizer() -> Optimizer:
    """Return the optimizer of a wide stream."""
    return AdaGrad(initial_accumulator=_WIDE_ACCUMULATOR)


def wide_decay(plan: Plan, n_classes: int) -> float:
    """Return the default penalty of a wide stream, divided by the mean squared norm of its samples."""
    default = plan.alpha == "auto" and plan.optimizer is None and plan.precondition
    return _WIDE_DECAY / n_classes if default else 0.0


def stream_batch_size(plan: Plan, X: Matrix) -> int:
    """Return the number of rows in a batch of ``partial_fit``, but for the streams of `is_wide`."""
    if plan.batch_size is None:
        return X.shape[0]
    if plan.batch_size != "auto":
        return plan.batch_size
    wide = not isinstance(X, np.ndarray) and X.shape[1] >= _WIDE
    return _STREAM_BATCH_OF_WIDE_NETWORK if wide and plan.hidden_layer_sizes else STREAM_BATCH


def least_work(plan: Plan, X: Matrix) -> dict[str, int]:
    """Return what is known of the work ahead before the columns are: at least so many epochs, steps and entries."""
    n_rows = X.shape[0]
    size = plan.batch_size or n_rows
    n_steps = n_rows // (_LARGEST_BATCH if isinstance(size, str) else size)
    return {"n_epochs": min(plan.max_iter, USUAL_EPOCHS), "n_steps": n_steps, "n_entries": X.size}


def compares_average(plan: Plan, optimizer: Optimizer, objective: Objective) -> bool:
    """Say whether a stream compares the average of its iterates with the last one: where steps are implicit."""
    automatic = plan.average == "compared" and isinstance(plan.schedule.learning_rate, str)
    return automatic and optimizer.implicit and not objective.hidden_layer_sizes


def average_every(size: int, columns: ColumnStatistics, *, network: bool = False) -> int:
    """Return how many steps of so many rows lie between one iterate that counts in the average and the next."""
    times = 12.0 if network and columns.sparse else 3.0
    if not columns.filled.any():
        return 1
    steps = times / (size * columns.filled[columns.filled > 0.0].mean())
    return int(min(max(steps, 1.0), 2.0**31))  # weights may make a feature arbitrarily rare
