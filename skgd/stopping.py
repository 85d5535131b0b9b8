"""When training ends, and the warnings about it.

If ``tol`` and ``alpha`` are "auto", training ends as soon as the data show that more epochs would not improve the
model: the statistical criterion. If one of them is a number, training ends at the minimum to the accuracy of ``tol``:
when an estimate over all samples certifies that the objective is above its minimum by at most ``tol`` times the gain of
the minimum over the best constant model (`skgd.certificate`). Any other end, by ``max_iter`` or by checks without
progress, is not convergence, and a `ConvergenceWarning` says so.

The rules are stated here, in the form of `skgd.automatic`, and quoted by the table in ``docs/defaults.md``.

``tol="auto"``
    with a number for ``tol`` or ``alpha``, a linear model is trained until its estimated distance to the minimum is at
    most ``tol`` times the gain of the minimum over the best constant model; "auto" is then 1e-3, and 1e-2 for losses
    with kinks. Why: an explicit penalty or tolerance asks for the minimum, and an objective that decreases slowly may
    be far from it.

    the distance is estimated when the objective has made no progress, in the sense of the rules below, and 10 % more
    epochs have passed since the last estimate, otherwise after 30 % more, and takes at most a tenth of the training
    time. If the last iterate is nearer to the minimum than the average, averaging restarts, and learning rates that had
    been reduced increase again; with full batches and a loss without kinks, also above their initial value. If the last
    iterate is 1.5 times as far, and the estimate is no better than the best one so far, the batch size increases
    fourfold with ``batch_size="auto"``, otherwise learning rates decrease by 30 % with ``learning_rate="auto"``. After
    ten estimates in a row without improvement, training has stalled. Why: gradient noise, and momentum that overshoots,
    are not convergence.

    Newton steps end when their decrement is at most 1e-6 of the possible gain (1e-3 for losses with kinks), or
    ``tol``, if that is less, or if ten steps in a row have not brought them nearer (an end without a warning only if it
    is at most 1e-6, 1e-2 with kinks, or ``tol``). Why: each step nearly squares it; with kinks, the estimate is less
    accurate.

    with the Hessian of a subsample and ``alpha="auto"``, also when the decrement is at most three times its expected
    value at the minimum of the subsample. Why: the step from there leaves about a quarter of the sampling error of all
    samples.

``tol="auto"``, ``hidden_layer_sizes``
    ``fit`` of a network starts at the linear model with default parameters if ``tol``, ``alpha`` and
    ``n_iter_no_change`` are "auto", ``precondition=True``, X is sparse, has few enough features for Newton steps, or
    fewer than 20 samples per feature and a linear model that takes little time (six of them at most 5e10 products), and
    each hidden layer has at least two neurons per output, with any activation but logistic and elu: a pair of neurons
    with opposite coefficients represents each output of the linear model, and the last layer ignores the other neurons
    at first. The first epoch takes no step: it is the linear model. Why: on small tables, networks with random
    initialization memorize the samples and are far worse than a linear model; from there, training only has to find
    what the linear model lacks.

    with tanh, pairs are linear only for small inputs: those of the usual size are 0.1, where pairs differ from linear
    ones by 1.3 %. Why: on 67 tables, networks with random initialization were worse than a linear model by 78 % of the
    constant model's loss and 0.12 of R², and this start is better by 5 % and 0.04; smooth functions such as a sine are
    learned as well. With elu, inputs would have to be so small that the penalty moves training; with logistic, all
    neurons hand on 1/2 for an input of zero, which hides their differences, and training does not leave the linear
    model.

    without a validation set, the number of epochs is chosen by cross-validation, with five folds, or as many as leave
    out 500 samples (of more than 10000 samples, a tenth in a single fold): that with the lowest upper bound of the loss
    of samples left out, relative to the linear model: the mean difference plus two standard errors, as if one more
    sample had lost five times the loss of the best constant model. Checks take place after 2, 3, 4, ... epochs, each
    number 25 % larger than the one before, until there has been no gain of 2 %, and of 1e-3 of the loss of the best
    constant model, for half as many epochs again and 150 steps (300 with tanh). Copies of a sample are in the same
    fold. Then all samples are trained on. If ``max_iter`` epochs are too few for that, as many are taken, or fewer if
    the objective converges. With fewer than 20 different samples, there is no cross-validation, and training starts at
    random coefficients. Why: the network is hardly ever worse than the linear model, since it differs only if held-out
    data show that it is better; all samples are used. Of rare classes, the few samples left out do not show how wrong a
    network may be: of 65 tables, 11 % were worse than the linear model by 5 % of the constant model's loss with 1.5
    standard errors alone, none with this rule.

``tol="auto"``, ``n_iter_no_change="auto"``
    with ``alpha="auto"``: stop after an epoch (2 epochs if they have fewer than about 500 steps, 3 if fewer than 160 or
    with a validation set; with hidden layers as many as have 300 steps, or 200 in classification with rectifiers and
    without a validation set, at least 2) in which the objective did not decrease by 1 % of itself plus 3 % of the
    objective of the best constant model; in epochs of fewer than 300 steps proportionally less. Why: relative to
    itself, because a good objective is small; the second part stops training when the fit is perfect; networks plateau
    and then improve again. Classifiers of rectifiers hardly do: after 200 steps, their log loss on new images is as low
    or lower, in two thirds of the epochs.

    outputs count relative to the gain over a constant model of each output, without samples more than ten scales of the
    target away from it, if the loss grows at most linearly. Why: the unit of one target, or the frequency of one label,
    must not affect the others; outliers dominate the sum of the losses.

    with ``alpha="auto"`` and more than one batch: 1 + 120 min(n_parameters / n_samples, 0.2) times as much (not for
    SGD on text, nor with hidden layers or a validation set). Why: n_parameters / n_samples is about the fraction of the
    loss by which the minimum itself differs from the best model: training that gains less fits noise (*Bottou and
    Bousquet*, NIPS 2007); an explicit ``alpha`` asks for the minimum, and with full batches, weights have to be
    equivalent to repeated samples.

    with 100 samples or more per parameter, ``learning_rate="auto"`` and ``shuffle=True``: the first epoch has made
    progress if the loss of the samples in its middle (a quarter of all, at most 8192) has decreased by that much since
    their steps (not for SGD on text, with hidden layers or a validation set, nor if epochs have fewer than about 500
    steps). Why: with many samples, one epoch may be enough, and the mean over the first epoch includes the loss of the
    untrained model.

    with a number for the learning rate (or a schedule of one) and without hidden layers, training goes on where it
    would end without progress, if the objective (with a validation set, its loss) has decreased in the second half of
    the epochs at a quarter of their mean pace or faster, and a certificate says that it is above the minimum by 3 % of
    the loss of the best constant model (by n_parameters / n_samples of it, if that is more). If the distance is more
    than ``max_iter`` epochs at this pace, training ends without convergence, and a warning names the learning rate.
    Why: with too small a learning rate, little progress in an epoch says nothing about the distance to the minimum.

    SGD on text: eight steps count as one here, and an epoch is also one without progress if the loss of its last
    quarter is not 12 ``tol`` below that of its third quarter, or is below 5 ``tol`` times that of the constant model.
    Why: when the loss on samples not seen before has converged, more epochs would overfit.

    SGD on text: each of the first 16384 steps counts as progress, but at most 16 epochs. Why: a model of few texts is
    not learned in one epoch, and the gain of its last quarter is too noisy to judge.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skgd.automatic import (
    chooses_epochs,
    has_few_columns,
    has_many_rows,
    is_brief,
    parameters_a_row,
    products_of_columns,
)
from skgd.certificate import Certificate, Estimate
from skgd.constant import value_of_zero
from skgd.engines import EpochSummary, initial_iterate, readout
from skgd.networks import is_linear_in_pairs
from skgd.objective import Objective
from skgd.optimizers import FTRL, SGD, AdaDelta, Optimizer
from skgd.plan import Plan
from skgd.schedules import Constant
from skgd.state import Approach, Data, Progress, State
from skgd.steps import Batches

# With learning_rate="auto", or a small enough explicit one, the objective falls. An objective this many times that of
# predicting the mean is on its way to infinity.
_DIVERGED = 1e10
_HOPELESS = 2.0  # times that of the best constant model
_HUGE = float(np.finfo(np.float64).max)

_STATISTICAL = 1e-2  # what tol="auto" is where training ends by what samples tell
_NUMERICAL = 1e-3  # and where it is to end at the minimum
_WITH_KINKS = 1e-2  # of losses with kinks, whose certificate is not as sharp
_OF_NEWTON = 1e-6  # steps nearly square it
_EXPECTED = 3.0  # times the decrement that a sample explains: so far from the minimum it may be by chance
_ROUNDING = 1e-12  # of the constant model's objective
_NO_GAIN = 1e-3  # of it: less, where losses have kinks, is nothing to gain
_SOON, _LATER = 1.1, 1.3  # times as many epochs before the next check, without and with progress
_NOISY = 1.5  # times as far as the average from the minimum
_FASTEST = 256.0  # times the rate, in batches of all samples
_SLOWER = 0.7  # times the rate
_BETTER = 0.05  # of the distance: by less, a check is in vain
_STALLED = 10  # checks in vain
_STEADY = 0.25  # of the mean fall of an epoch: with steps of a good size, later epochs gain less
_FAR = 0.03  # of the constant model's objective: so much may still be gained

_LONG_EPOCH = 1000  # steps; of shorter ones, up to three have to agree that there is no progress
_FULL_EPOCH = 300  # steps; a shorter epoch cannot be asked for as much progress
_STEPS_OF_CLASSIFIER = 200  # of a network of rectifiers, which hardly plateaus
_LEAST_STEPS, _LEAST_EPOCHS = 2**14, 16  # of plain SGD, whichever come first

# Warnings point to the line that calls ``fit``: below a function of this module, it is that many frames down, under
# `train_epochs`, ``_fit``, scikit-learn's ``with_callbacks`` and ``fit``.
_CALLER = 6


class Ending(NamedTuple):
    """Why training has ended, whether its own criterion was met, and how far from the minimum, where that is known.

    ``kept`` is the epoch whose parameters are kept, and ``score`` its score on the validation set.
    """

    reason: str = "unfinished"
    converged: bool = False
    suboptimality: float = math.nan
    kept: int = 0
    score: float = math.nan


class Stopping:
    """When one call of ``fit`` ends: told of each epoch, it counts those without progress, and checks how far it is.

    ``ending`` is set where training is to stop, and may be set, too. With ``newton``, each epoch tells how far it is;
    ``accuracy`` is how near the steps come to the minimum, where that is another one than of Newton's.
    """

    def __init__(
        self,
        state: State,
        plan: Plan,
        data: Data,
        of_outliers: float,
        n_steps: int,
        *,
        shuffled: bool,
        validates: bool,
        newton: bool,
        n_epochs: int | None = None,
        accuracy: float | None = None,
    ):
        self.best, self.waited, self.ending = _HUGE, 0, Ending()
        self.approach = Approach()
        self.watched: list[float] = []
        self._plan, self._of_outliers, self._validates, self._n_epochs = plan, of_outliers, validates, n_epochs
        self._smooth, self._newton = state.objective.loss.smooth, newton and not validates
        self._least_fall = _BETTER if accuracy is None else _ROUNDING
        self._accuracy = (_OF_NEWTON if self._smooth else _NUMERICAL) if accuracy is None else accuracy
        self._has_intercept = state.objective.fit_intercept
        self._tol = _STATISTICAL if plan.tol == "auto" else float(plan.tol or 0.0)
        self._goal = goal_of(state.objective, plan, validates)
        exact = validates or plan.alpha != "auto" or self._goal is not None
        self._tolerance = _tolerance(state, plan, self._tol, n_steps, exact=exact)
        self._patience = _patience(state, plan, n_steps, validates, regression=data[1].dtype.kind == "f")
        self._looks_inside = is_brief(state, plan) and not validates
        may_be_enough = self._goal is None and shuffled and not validates
        self._looks_back = may_be_enough and _may_be_enough(state, plan, n_steps, self._patience)  # in the first epoch
        unit, worth = state.objective.unit, state.objective.worth
        self._ceiling = _DIVERGED * (1.0 + of_outliers + float(np.sum(unit * worth)))
        self._constant = 1.0 if self._has_intercept else value_of_zero(state, data) - of_outliers
        self._interval = _interval(state, data, n_steps)
        self._batch = -(-len(data[1]) // n_steps)  # samples
        self._certificate: Certificate | None = None
        self._n_rejected = 0  # epochs, since the last one that was not
        self._n_more = 0.0  # epochs that it would take to come near the minimum, where training ended long before

    def resume(self, progress: Progress) -> None:
        """Go on from where an earlier call has ended."""
        self.best, self.waited, self.watched = progress.best, progress.waited, list(progress.watched)
        self.approach = progress.approach
        if progress.stopped:
            self.end("callback")
        elif self._n_epochs is not None:
            self._count()
        elif self._newton or self._goal is not None:
            self._judge()
        elif self._has_waited:
            self._end_without_progress()

    @property
    def done(self) -> bool:
        """Whether to stop."""
        return self.ending.reason != "unfinished"

    def end(self, reason: str, converged: bool = False) -> None:
        """Stop for a reason."""
        self.ending = Ending(reason, converged, self.approach.suboptimality)

    def interrupted(self, epoch: int) -> Ending:
        """Warn that Ctrl-C has ended the training, unless another one reports, and return that as its end."""
        message = f"Training was interrupted in epoch {epoch}; the model keeps the coefficients so far."
        if self._plan.reports:
            warnings.warn(message, UserWarning, stacklevel=_CALLER)
        self.end("interrupted")
        return self.ending

    def _count(self) -> None:
        """Stop after as many epochs as cross-validation has chosen, unless more might be better."""
        if (self._n_epochs or 0) <= len(self.watched):
            self.end("cross-validation", converged=True)

    @property
    def _has_waited(self) -> bool:
        return self._plan.tol is not None and self.waited >= self._patience

    def _end_without_progress(self) -> None:
        self.end("validation" if self._validates else "no progress", converged=self._validates or not self._is_hopeless)

    @property
    def _is_hopeless(self) -> bool:
        """Whether a constant is far better than the model that is kept."""
        return self._kept > _HOPELESS * self._constant

    @property
    def _kept(self) -> float:
        """The value of the model that is kept: the best one on a validation set, else the last one."""
        if self._validates or self._newton:
            return self.best
        return next((value for value in reversed(self.watched) if math.isfinite(value)), self.best)

    def exploded(self, summary: EpochSummary) -> bool:
        """Say whether the loss is on its way to infinity."""
        return summary.progress > self._ceiling

    def reject(self) -> None:
        """Be told of an epoch whose step was too long, so that the next one is shorter."""
        self.watched.append(math.inf)
        self._n_rejected += 1
        if self._n_rejected >= _STALLED:
            self._end_before("stalled")

    def observe(self, value: float, state: State, batches: Batches | None, summary: EpochSummary) -> bool:
        """Be told of an epoch, and of the value that is to fall; return whether it is the lowest so far."""
        value -= self._of_outliers
        self.watched.append(value)
        lowest, self._n_rejected = value < self.best, 0
        if self._newton:
            self.best = min(self.best, value)
            self._be_told(Estimate(value, summary.decrement), len(self.watched))
            if self._goal is None and summary.decrement <= _EXPECTED * summary.noise:
                self.end("converged", converged=True)
            return lowest
        if self._n_epochs is not None:
            self.best = min(self.best, value)
            self._count()
            return lowest
        fall = self.best - value
        if self._looks_back and batches is not None:
            fall = fall_since_middle(state, batches, summary)
        falling = fall > self._tolerance * _scale_of(min(self.best, value))
        if self._looks_inside:
            begins = self._plan.n_iter_no_change == "auto" and len(self.watched) < _LEAST_EPOCHS
            begins = begins and state.iterate.t < _LEAST_STEPS
            falling = begins or (falling and _falls_within(summary.losses, self._tol))
        self._looks_back = False
        self.best = min(self.best, value)
        self.waited = 0 if falling else self.waited + 1
        if self._goal is None and self._has_waited:
            self._end_without_progress()
        return lowest

    # -- the certificate ----------------------------------------------------------------------------------------------

    def check(self, epoch: int, state: State, data: Data) -> float:
        """Estimate how far the minimum is, where it is time to; stop there, or change what keeps training from it.

        The average of the state may restart. Return the estimate, relative to what there is to gain, or nan.
        """
        if self._newton:  # each epoch tells
            return self.approach.suboptimality
        if self._goal is None:
            self._reconsider(state, data)
            return math.nan
        if not self._is_time(epoch):
            return math.nan
        iterate, optimizer = state.iterate, state.optimizer
        now = self._estimate(readout(iterate, optimizer, state.objective), state, data)
        too_high, too_low = now.distance > self.approach.distance, False
        enough = self._relative(now) <= self._goal
        if not enough and iterate.average is not None and iterate.averaged:
            last = self._estimate(optimizer.readout(iterate.theta, iterate.slots, optimizer.hyper()), state, data)
            too_high = last.distance > _NOISY * now.distance
            too_low = last.distance < now.distance
            if last.distance < now.distance and self._plan.average == "polynomial":
                state.iterate, now = iterate._replace(averaged=0), last
        self.approach = replace(self.approach, too_high=too_high)
        self._be_told(now, epoch)
        self.waited = 0
        if too_low or (too_high and self.approach.in_vain):
            self._adapt(state, faster=too_low)
        return self.approach.suboptimality

    def _reconsider(self, state: State, data: Data) -> None:
        """Go on where training would end without progress because each step is short, unless that would take too long.

        What is watched falls in each epoch about as much as in all of them then, and the minimum is far.
        """
        plan, objective, watched = self._plan, state.objective, self.watched
        given = not (isinstance(plan.schedule.learning_rate, str) or plan.hidden_layer_sizes)
        if not given or self.ending.reason not in ("no progress", "validation") or len(watched) < 3:
            return
        loss, half = objective.loss, len(watched) // 2
        pace, mean_pace = (watched[half] - watched[-1]) / (len(watched) - 1 - half), watched[0] - watched[-1]
        mean_pace /= len(watched) - 1
        if not (pace > _STEADY * mean_pace > 0.0 and (loss.smooth or loss.smoothable)):
            return
        distance = self._estimate(readout(state.iterate, state.optimizer, objective), state, data, fully=True).distance
        if distance <= self._constant * max(_FAR, parameters_a_row(state)):
            return
        self._n_more = distance / pace
        if self._n_more <= plan.max_iter and "auto" in (plan.tol, plan.n_iter_no_change):
            self.ending, self.waited = Ending(), 0
        else:
            self.end(self.ending.reason, converged=False)

    def _is_time(self, epoch: int) -> bool:
        before = self.approach.epoch
        if epoch - before < self._interval and before:
            return False
        return (self._has_waited and epoch >= _SOON * before) or epoch >= max(_LATER * before, self._interval)

    def _estimate(self, theta: np.ndarray, state: State, data: Data, *, fully: bool = False) -> Estimate:
        objective = state.objective
        if self._certificate is None:
            exact = isinstance(data[0], np.ndarray) and has_few_columns(objective, data[0])
            self._certificate = Certificate(objective, data, exact=exact)
        gain = max(self._constant - self.best, _ROUNDING)
        value, distance = self._certificate(theta, math.inf if fully else float(self._goal or 0.0) * gain)
        return Estimate(value - self._of_outliers, distance)

    def _relative(self, estimate: Estimate) -> float:
        if estimate.distance <= _ROUNDING:
            return 0.0
        gain = self._constant - estimate.value + estimate.distance
        return estimate.distance / max(gain, _ROUNDING if self._smooth else _NO_GAIN)

    def _be_told(self, estimate: Estimate, epoch: int) -> None:
        before = self.approach
        better = estimate.distance < (1.0 - _BETTER) * before.distance
        better = better or estimate.value < before.value - self._least_fall * estimate.distance
        self.approach = replace(
            before,
            epoch=epoch,
            value=min(estimate.value, before.value),
            distance=min(estimate.distance, before.distance),
            suboptimality=self._relative(estimate),
            in_vain=0 if better else before.in_vain + 1,
        )
        self._judge()

    def _judge(self) -> None:
        if self.approach.suboptimality <= (self._of_steps if self._newton else self._asked):
            self.end("converged", converged=True)
        elif self.approach.in_vain >= _STALLED:
            self._end_before("stalled")

    def _end_before(self, reason: str) -> None:
        """Stop for a reason other than the criterion, unless what was asked for is there."""
        near = self.approach.suboptimality <= self._asked
        self.end("converged" if near else reason, converged=near)

    def _adapt(self, state: State, *, faster: bool) -> None:
        """Make the noise of steps smaller or, where there is none, steps longer, if that is left to "auto".

        Slots of gradients forget the noise of smaller batches.
        """
        approach, plan, optimizer = self.approach, self._plan, state.optimizer
        grows = plan.batch_size == "auto" and approach.growth * self._batch < state.columns.rows
        if grows and not faster:
            self.approach = replace(approach, growth=4 * approach.growth)
            if optimizer.implicit:
                slots = initial_iterate(state.iterate.theta, optimizer, False).slots
                state.iterate = state.iterate._replace(slots=slots)
        elif isinstance(plan.schedule, Constant) and plan.schedule.learning_rate == "auto":
            noisy = approach.growth * self._batch < state.columns.rows
            fastest = _FASTEST if self._smooth and not (noisy or _may_explode(optimizer)) else 1.0
            slowdown = min(approach.slowdown / _SLOWER if faster else approach.slowdown * _SLOWER, fastest)
            in_vain = 0 if slowdown > approach.slowdown else approach.in_vain
            self.approach = replace(approach, slowdown=slowdown, in_vain=in_vain)

    # -- the end ------------------------------------------------------------------------------------------------------

    def conclude(self, state: State, data: Data) -> Ending:
        """Return why training has ended, after a last check where it was ``max_iter``, and warn where that is due."""
        n_epochs = len(self.watched)
        told = self._newton or self.approach.epoch == n_epochs
        if not self.done and self._goal is not None and not told:
            theta = readout(state.iterate, state.optimizer, state.objective)
            self._be_told(self._estimate(theta, state, data, fully=True), n_epochs)
        if not self.done:
            self._end_before("max_iter")
        asked = n_epochs and self._plan.tol is not None and self._plan.reports
        message = self._message(state) if asked else ""
        if message:
            warnings.warn(message, ConvergenceWarning, stacklevel=_CALLER)
        return self.ending

    def _message(self, state: State) -> str:
        """Return the warning that is due where training ended without its criterion, or a constant is far better."""
        plan, suboptimality = self._plan, self.ending.suboptimality
        if self._is_hopeless or (self.best > _HOPELESS and plan.hidden_layer_sizes):
            what = "a validation loss" if self._validates else "an objective"
            return (
                f"Training ended with {what} {self._kept:.3g} times that of the best constant model. "
                f"{self._remedy_of_hopeless()}"
            )
        if self._n_more and self.ending.reason in ("no progress", "validation") and not self.ending.converged:
            return (
                f"Training ended after {len(self.watched)} epochs, far from the minimum: at this pace, it would take "
                f"about {self._n_more:.2g} more. The learning rate is too small: increase learning_rate, which is "
                f"{plan.schedule.learning_rate:.3g}, or set it to 'auto'."
            )
        if self.ending.reason not in ("max_iter", "stalled"):
            return ""
        n_epochs, enough = len(self.watched), "Increase max_iter, or set tol=None if this number of epochs is enough."
        if math.isnan(suboptimality) and self._n_more:
            enough = f"The learning rate, {plan.schedule.learning_rate:.3g}, may be too small. {enough}"
        if math.isnan(suboptimality):
            what = "validation loss" if self._validates else "objective"
            return f"Training ended at max_iter={plan.max_iter} epochs, before the {what} converged. {enough}"
        asked = f"about {suboptimality:.2g} of the possible gain over a constant model, but tol={self._asked:.2g}."
        if self.ending.reason == "stalled":
            return (
                f"Training stalled after {n_epochs} epochs. The distance to the minimum is {asked} {self._cause(state)}"
            )
        asked = f"{asked} {enough} {self._cause(state)}"
        return f"Training ended at max_iter={plan.max_iter} epochs. The distance to the minimum is {asked}"

    def _remedy_of_hopeless(self) -> str:
        plan, at_max_iter = self._plan, self.ending.reason == "max_iter"
        if not isinstance(plan.schedule.learning_rate, str) and not (at_max_iter and self._kept < self.watched[0]):
            return "The learning rate is too large: decrease learning_rate, or set it to 'auto'."
        if not (self._has_intercept and plan.precondition):
            return "Set fit_intercept=True and precondition=True, or center y."
        if self._validates:
            return "The validation set seems to differ from the training data: check how they were split."
        return "Increase max_iter." if at_max_iter else "Use the defaults of optimizer and batch_size."

    @property
    def _of_steps(self) -> float:
        """How near the minimum Newton's steps are to come."""
        return min(self._asked, self._accuracy)

    @property
    def _asked(self) -> float:
        """How near the minimum, where that is estimated."""
        if self._goal is not None:
            return self._goal
        return _OF_NEWTON if self._smooth else _WITH_KINKS

    def _cause(self, state: State) -> str:
        if state.optimizer.weight_decay:
            return "The weight_decay of the optimizer changes the minimum: set it to 0, and use alpha instead."
        if self._newton:
            return "The minimum may be at infinity, for example if classes are separable: set alpha above 0."
        if self.approach.too_high and self._plan.batch_size is None:
            return "The learning rate is too large: decrease learning_rate, or use a schedule."
        if self.approach.too_high:
            return (
                "The learning rate is too large, or the gradients are too noisy: decrease learning_rate, use a "
                "schedule, or set batch_size=None."
            )
        return (
            "Features are strongly correlated, or the learning rate is too small: use the defaults of optimizer, "
            "learning_rate and batch_size, which take Newton steps where these are affordable, decorrelate the "
            "features (PCA(whiten=True)), or increase learning_rate."
        )


# ---------------------------------------------------------------------------------------------------------------------
# How much progress is asked for, and how often
# ---------------------------------------------------------------------------------------------------------------------


def goal_of(objective: Objective, plan: Plan, validates: bool) -> float | None:
    """Return how near the minimum training is to come, relative to what there is to gain, or None for another end."""
    if plan.tol is None or validates or plan.hidden_layer_sizes:
        return None
    if plan.tol == plan.alpha == "auto" or not (objective.loss.smooth or objective.loss.smoothable):
        return None
    if plan.tol != "auto":
        return float(plan.tol)
    return _NUMERICAL if objective.loss.smooth else _WITH_KINKS


def _interval(state: State, data: Data, n_steps: int) -> int:
    """Return how many epochs one check takes a tenth of the time of, about."""
    objective, X = state.objective, data[0]
    n_entries = X.size * objective.n_outputs
    seconds = 1e-3 + 1e-7 * n_entries
    if isinstance(X, np.ndarray) and has_few_columns(objective, X):
        seconds += 2e-10 * products_of_columns(objective, *X.shape)
    epochs = 10.0 * seconds / (2e-4 * n_steps + 1e-8 * n_entries)
    return int(2.0 ** round(math.log2(max(epochs, 1.0))))  # which few samples more, as of copies, do not change


def _tolerance(state: State, plan: Plan, tol: float, n_steps: int, *, exact: bool) -> float:
    """Return by which fraction of itself the objective has to fall in an epoch of so many steps."""
    tol *= min(1.0, n_steps / _FULL_EPOCH)
    if exact or n_steps == 1 or plan.hidden_layer_sizes or is_brief(state, plan):
        return tol
    return tol * (1.0 + 120.0 * min(parameters_a_row(state), 0.2))


def _patience(state: State, plan: Plan, n_steps: float, validates: bool, *, regression: bool) -> int:
    """Return how many epochs without progress end the training; short ones, and other samples' losses, say less."""
    if plan.n_iter_no_change != "auto":
        return plan.n_iter_no_change
    if plan.hidden_layer_sizes:
        soon = chooses_epochs(plan) and is_linear_in_pairs(plan.activation) and not (regression or validates)
        return max(round((_STEPS_OF_CLASSIFIER if soon else _FULL_EPOCH) / n_steps), 3 if validates else 2)
    if is_brief(state, plan):
        n_steps = n_steps / 8
    return 3 if validates else min(max(round((_LONG_EPOCH / n_steps) ** 0.5), 1), 3)


def _may_be_enough(state: State, plan: Plan, n_steps: int, patience: int) -> bool:
    """Say whether the first epoch can be the only one: a long one, of many rows, at automatic rates."""
    automatic = isinstance(plan.schedule.learning_rate, str) and not (plan.hidden_layer_sizes or is_brief(state, plan))
    long = n_steps >= _FULL_EPOCH and patience == 1 and has_many_rows(state)
    return automatic and long and plan.tol is not None and state.iterate.t == 0


# ---------------------------------------------------------------------------------------------------------------------
# Whether an epoch has made progress
# ---------------------------------------------------------------------------------------------------------------------


def _may_explode(optimizer: Optimizer) -> bool:
    """Say whether steps in proportion to the gradient, or to earlier steps, may grow without end at a high rate."""
    return not optimizer.implicit and isinstance(optimizer, (SGD, AdaDelta, FTRL))


def _scale_of(objective: float) -> float:
    """Return what a fall of the objective is relative to: itself, and a little of the constant model's, which is one.

    Without the latter, a model that fits perfectly would never be done.
    """
    return abs(objective) + 0.03


def fall_since_middle(state: State, batches: Batches, summary: EpochSummary) -> float:
    """Return by how much the loss of some samples in the middle of an epoch has fallen since their steps.

    The next epoch will gain less. What the whole epoch gained does not tell, for it began with an untrained model.
    """
    X, y, weight, order, size = batches
    n_steps = len(summary.losses)
    count = max(min(-(-(2**13) // size), n_steps // 4), 1)
    first = (n_steps - count) // 2
    rows = order[first * size : (first + count) * size]
    total = len(rows) if weight is None else weight[rows].sum()
    if not total > 0.0:  # classes may weigh nothing
        return math.inf
    then = summary.losses[first : first + count].sum() / total
    now = state.objective.mean_losses(state.iterate.theta, X, y, weight, rows)
    return float(then - (state.objective.worth * now).sum())


def _falls_within(losses: np.ndarray, tol: float) -> bool:
    """Say whether the loss still falls from the third quarter of an epoch to the last one, and is not all but gone.

    In a first epoch, that is the loss of new samples: if it has converged, more epochs would overfit (progressive
    validation: Blum, Kalai and Langford, COLT 1999). No sample counts for more than one.
    """
    quarter, losses = max(len(losses) // 4, 1), np.minimum(losses, 1.0)
    last, third = losses[-quarter:].mean(), losses[-2 * quarter : -quarter].mean()
    return last < (1.0 - 12.0 * tol) * third and last > 5.0 * tol
