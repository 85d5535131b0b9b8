r"""Training on partitions in mini-batches: stochastic gradient descent in several lanes, which are averaged.

In each pass, the partitions are dealt out to a fixed number of lanes, in random order with ``shuffle=True``. Each lane
begins at the same parameters and goes through its partitions one after the other, with the mini-batches, learning rates
and loops of ``fit``. Then the lanes are averaged, in proportion to the weights of their samples: parameters, running
averages of the iterates, and the state of the optimizer. So the next pass begins from one state, as if one lane had
taken the steps, and a model continues with ``partial_fit`` from there (*Zinkevich, Weimer, Smola and Li*,
"Parallelized stochastic gradient descent", NIPS 2010).

State of an optimizer that consists of averages or sums of gradients, or of their squares, is averaged as it is. State
that holds parameters is first moved to the average of the parameters (`Optimizer.rebase`).

Coordinates, penalty and learning rates are those of ``fit``, from the statistics of all partitions and from the sample:
correlated features are replaced by uncorrelated combinations, outliers limited. Networks start at the linear model as
in ``fit``, which passes by sums train, or else at random coefficients. The samples of a partition are taken in random
order, in batches of about ``batch_size`` samples, all of the same size.

With ``tol=None``, training takes ``max_iter`` passes. Otherwise it ends when the loss has not fallen, by the rules of
`skgd.stopping` for validation sets, and the best pass is kept. This is the loss of the validation set or, without one,
of samples that are held out: 5 %, at least 1000 and at most 4096 of them, but no more than 10 %. Linear models with 100
samples per parameter or more, or with a number for ``alpha`` or ``tol``, hold out none: the objective of the sample
counts, of about 20,000 samples. The distance to the minimum is not estimated: ``suboptimality_`` is nan.

Nothing depends on where the lanes run, so that the same partitions and the same number of lanes give the same bits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skgd.automatic import (
    average_every,
    base_rate,
    batch_size,
    can_start_at_linear_model,
    has_many_rows,
    linear_plan,
    optimizer_for,
    penalty_of_network,
)
from skgd.constant import best_constant, is_robust
from skgd.decorrelation import Decorrelation, decorrelation_of
from skgd.engines import USUAL_EPOCHS, EpochSummary, Iterate, choose, readout
from skgd.engines import Engine as Loops
from skgd.engines.vectorized import penalties_of
from skgd.history import append, drop_unfinished, entry_of, history_keys, print_ending, print_entry
from skgd.optimizers import Optimizer
from skgd.partition_sums import (
    Known,
    Partition,
    Survey,
    held_out_sums,
    of_sample,
    one_thread,
    row_major,
)
from skgd.passes import (
    Engine,
    losses_and_score,
    minimizes,
    number_of_copies,
    sample_of,
    share_held_out,
    standardized,
    targets_of,
    train_by_sums,
)
from skgd.plan import Plan
from skgd.run import Run
from skgd.state import Data, Progress, State
from skgd.steps import Batches, Orders, divergence, rates_of, run, with_optimizer, with_penalty, without_outlying_rows
from skgd.stopping import Ending, Stopping, goal_of
from skgd.training import begun_with_yardstick, predicting_like, untrained_linear_model

_FEW_ROWS = 20  # of which none are held out
MORE_ROWS = 2**14  # in the sample, by which training ends

# ---------------------------------------------------------------------------------------------------------------------
# One partition
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lane:
    """Where a lane is in its pass: the iterate, the weight of its samples so far, and what an epoch says of itself.

    ``record`` has sums over samples: their number, loss, penalty, progress, and squares of the layers' gradients.
    """

    optimizer: Optimizer
    iterate: Iterate
    engine: Loops
    weight: float
    record: np.ndarray
    rate: float

    def merged(self, other: Lane) -> Lane:
        """Return the average of both, in proportion to the weights of their samples."""
        total = self.weight + other.weight
        share, (one, two) = other.weight / total, (self.iterate, other.iterate)
        theta = _between(one.theta, two.theta, share)
        slots, slots_of_two = (_slots_at(theta, self.optimizer, each) for each in (one, two))
        average = None
        if one.average is not None and two.average is not None:
            average = _between(one.average, two.average, share)
        return Lane(
            self.optimizer,
            Iterate(
                theta,
                tuple(_between(*both, share) for both in zip(slots, slots_of_two, strict=True)),
                average,
                max(one.t, two.t),
                max(one.averaged, two.averaged),
            ),
            self.engine,
            total,
            self.record + other.record,
            self.rate if one.t >= two.t else other.rate,
        )

    @property
    def summary(self) -> EpochSummary:
        """What the pass says of itself: means over samples, each before the step of its batch."""
        n_rows, *sums = self.record.tolist()
        loss, penalty, progress, *squares = (total / n_rows for total in sums)
        return EpochSummary(loss, penalty, progress, squares, int(n_rows), np.empty(0))


def _between(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return one + share * (other - one)


def _slots_at(theta: np.ndarray, optimizer: Optimizer, iterate: Iterate) -> tuple[np.ndarray, ...]:
    """Return the slots that an iterate would have at other parameters."""
    shift = theta - iterate.theta
    return optimizer.rebase(lambda point: point + shift, iterate.theta, iterate.slots, optimizer.hyper())


@dataclass(frozen=True)
class Course:
    """What all lanes know in a pass: the state that they begin from, and how steps are taken."""

    known: Known
    state: State
    combined: Decorrelation | None  # of the features, if it takes their place
    size: int
    every: int
    n_epochs: int
    n_steps: int
    n_entries: int
    robust: bool
    from_linear_model: bool
    seeds: tuple[int, int] = (0, 0)  # of the fit, and the number of the pass
    memory: Any = None  # of the schedule


def train_lane(before: Lane | None, partition: Partition, number: int, course: Course) -> Lane | None:
    """Take the steps of one partition, from where those of the lane's partitions before it ended."""
    known = course.known
    rows = known.rows(partition, number)
    if rows is None or not len(rows[0][1]):
        return before
    X, y, weight = rows[0]
    del rows
    X = row_major(X)
    state, plan, columns = replace(course.state), known.plan, course.state.columns
    if before is not None:
        state.iterate = before.iterate
    total = float(len(y) if weight is None else weight.sum())
    if weight is not None or columns.weight != columns.rows:  # rows of all partitions weigh one in the mean
        weight = (np.ones(len(y)) if weight is None else weight) / (columns.weight / columns.rows)
    with one_thread(), np.errstate(all="ignore"):
        if course.combined is not None:
            X = course.combined.rows(X)
        if course.robust:
            measured = course.combined is None  # the statistics of combinations are those of the sample
            weight = without_outlying_rows(state, plan, (X, y, weight), stream=False, measured=measured)
        state.engine = choose(
            state.optimizer,
            state.objective,
            n_epochs=course.n_epochs,
            n_steps=course.n_steps,
            n_entries=course.n_entries,
        )
        size = -(-len(y) // max(round(len(y) / course.size), 1))  # batches of a few left over would be noisy
        order = Orders(plan, len(y), size, np.random.RandomState((*course.seeds, number))).draw()
        base, longest = base_rate(state, plan, from_linear_model=course.from_linear_model)
        rates = rates_of(base, state, plan, -(-len(y) // size), course.memory)
        where = f"pass {course.seeds[1]} over partition {number}"
        batches = Batches(X, y, weight, order, size)
        summary = run(state, plan, batches, rates, longest, course.every, where)
    means = np.array([1.0, summary.loss, summary.penalty, summary.progress, *summary.squared_norms])
    record, weighed = len(y) * means, 0.0
    if before is not None:
        record, weighed = before.record + record, before.weight
    return Lane(state.optimizer, state.iterate, state.engine, weighed + total, record, float(rates[-1]))


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def train_in_lanes(
    state: State,
    plan: Plan,
    engine: Engine,
    known: Known,
    found: Survey,
    validation: Data | None,
    history: dict[str, list[float]],
    observer: Run | None,
    n_lanes: int,
    random_state: np.random.RandomState,
) -> tuple[State, int, Ending]:
    """Take passes until the loss of samples that are not trained on falls no more, at most ``plan.max_iter``.

    Return the state with the parameters of the best pass, the number of passes, and why there were no more.
    """
    regression, watches = known.reader._target_dtype is not None, plan.tol is not None
    validates = validation is not None or known.held_out is not None
    watched = validation
    if watches and not validates:
        validates = _holds_out(state, plan, found)
        known, found, watched = _with_held_out(known, found, validates)
    sample, targets, given = sample_of(known, found, dense=False), targets_of(known, found), state
    robust, columns = is_robust(state.objective, sample[1]), state.columns
    if not state.t:
        state = with_optimizer(state, optimizer_for(state, plan, regression=regression))
    state = standardized(with_penalty(state, plan), plan, sample, newton=False)
    known = replace(known, objective=state.objective, weight=columns.weight)
    combined = _combinations(state, plan, _in_steps(state, plan, sample, None) if robust else sample)
    if combined is not None:
        state, sample = _begun_in_combinations(combined, given, plan, state.optimizer, sample)
    if robust and watched is not None and validation is None:
        watched = _in_steps(state, plan, watched, combined)
    constant = best_constant(state, *targets)
    state, of_outliers, unit = begun_with_yardstick(state, plan, (sample[0], *targets), constant)
    interrupted = False
    linear = untrained_linear_model(given, random_state) if can_start_at_linear_model(given, plan) else None
    begins = linear is not None and minimizes(linear.objective)
    if linear is not None and begins:
        linear = replace(linear, targets=given.targets, class_totals=given.class_totals)
        of_linear: dict[str, list[float]] = {key: [] for key in history_keys(1)}
        linear, _, end = train_by_sums(linear, linear_plan(plan), engine, known, found, None, of_linear, None)
        state, interrupted = predicting_like(linear, state, sample[0]), end.reason == "interrupted"
    if begins and plan.alpha == "auto":
        alpha = penalty_of_network(state.objective, number_of_copies(found))
        state.objective = replace(state.objective, alpha=alpha)
    if begins:
        known = replace(known, objective=state.objective)
    seed, size = int(random_state.randint(2**31)), batch_size(state, plan, regression=regression)
    n_lanes, n_steps = min(n_lanes, engine.n_partitions), -(-columns.rows // size)
    course = Course(
        known,
        state,
        combined,
        size=size,
        every=average_every(size, columns),
        n_epochs=min(plan.max_iter, USUAL_EPOCHS),
        n_steps=n_steps,
        n_entries=int(columns.rows * columns.filled.sum()),
        robust=robust,
        from_linear_model=begins,
    )
    stopping = Stopping(
        state,
        plan,
        (sample[0], *targets),
        of_outliers,
        -(-n_steps // n_lanes),
        shuffled=plan.shuffle,
        validates=watches or validates,
        newton=False,
    )
    watched_key, worth = "validation_loss" if validates else "objective", state.objective.worth
    epoch, best, best_epoch, best_score = 0, None, 0, np.nan
    before, began = state.t, len(history["objective"])

    def whole_of(state: State) -> State:
        return replace(state) if combined is None else combined.whole(state)

    def evaluate(state: State) -> tuple[float, np.ndarray, float]:
        """Return what is to fall, and the losses and the score that it is made of."""
        objective, held_out = state.objective, None
        theta = readout(state.iterate, state.optimizer, objective)
        if watched is None:
            held_out = engine.run(held_out_sums, known, theta)
        losses, score = losses_and_score(state, plan, watched, held_out)
        value = float((worth * losses).sum())
        return value if validates else value + penalties_of(objective, theta)[1], losses, score

    def now() -> tuple[State, Progress]:
        whole = whole_of(state)
        so_far = whole.iterate, stopping.best, None, stopping.waited, None
        return whole, Progress(
            epoch,
            len(history["objective"]),
            *so_far,
            past=state.past,
            watched=tuple(stopping.watched),
            steps=state.t - before,
            best_epoch=best_epoch,
            best_score=best_score,
        )

    if begins and not interrupted:  # which is kept, unless a pass is better
        value, _, best_score = evaluate(state)
        best, stopping.best = replace(state), value - of_outliers
    try:
        if interrupted:
            raise KeyboardInterrupt
        while epoch < plan.max_iter and not stopping.done:
            if observer is not None:
                observer.begin_epoch(*now())
            epoch += 1
            started = time.perf_counter()
            lanes = _dealt(engine.n_partitions, n_lanes, plan, (seed, epoch))
            course = replace(course, state=state, seeds=(seed, epoch), memory=state.past.memory.get(watched_key))
            lane: Lane = engine.run_in_lanes(train_lane, lanes, course)
            state.iterate, state.engine, summary = lane.iterate, lane.engine, lane.summary
            if stopping.exploded(summary):
                raise divergence(plan, f"pass {epoch} (learning rate {lane.rate:.3g})", "exploded")
            value, shown = summary.progress, (np.nan, np.nan)
            seen = {"objective": value}
            if watches or validates:
                whole = whole_of(state)
                value, losses, score = evaluate(whole)
            if validates:
                shown, seen["validation_loss"] = (float(losses.sum()), score), value
            if stopping.observe(value, state, None, summary) and (watches or validates):
                best, best_epoch, best_score = whole, epoch, shown[1]
            entry = entry_of(summary, lane.rate, started, shown)
            append(history, entry)
            seen = {key: (of_pass - of_outliers) / unit for key, of_pass in seen.items()}
            state.past = state.past.followed_by(seen, plan.schedule)
            if plan.verbose:
                print_entry(state.past.epochs, entry, header=epoch == 1)
            if observer is not None and observer.end_epoch(*now()):
                stopping.end("callback")
        ending = stopping.conclude(state, (sample[0], *targets))
        if ending.reason == "validation" and not validates:
            ending = ending._replace(reason="no progress")
    except KeyboardInterrupt:
        drop_unfinished(history)
        ending = stopping.interrupted(epoch)
    if plan.verbose:
        print_ending(ending.reason, ending.suboptimality)
    state = whole_of(state)
    if best is not None:
        state.iterate = best.iterate
    n_passes = len(history["objective"]) - began
    return state, n_passes, ending._replace(kept=n_passes if best is None else best_epoch, score=best_score)


def _in_steps(state: State, plan: Plan, data: Data, combined: Decorrelation | None) -> Data:
    """Return samples with the weights that they have in steps, perhaps in combinations of the features."""
    X, y, weight = data
    rows = X if combined is None else combined.rows(X)
    return X, y, without_outlying_rows(state, plan, (rows, y, weight), stream=False, measured=combined is None)


def _combinations(state: State, plan: Plan, sample: Data) -> Decorrelation | None:
    """Return uncorrelated combinations of the features, by the sample, where ``fit`` would train on such."""
    to_minimum = goal_of(state.objective, plan, validates=False) is not None
    asked = plan.tol is not None and (to_minimum or has_many_rows(state))
    return decorrelation_of(state, plan, sample) if asked else None


def _begun_in_combinations(
    combined: Decorrelation, given: State, plan: Plan, optimizer: Optimizer, sample: Data
) -> tuple[State, Data]:
    """Return the state and the sample of the combinations, whose statistics are those of the sample."""
    X, y, weight = sample
    columns, rows = given.columns, combined.rows(X)
    state = combined.begun(with_optimizer(given, optimizer))
    of_sample = state.columns.updated(rows, weight, exact=True)
    state.columns = replace(of_sample, rows=columns.rows, weight=columns.weight)
    sample = rows, y, weight
    return standardized(with_penalty(state, plan), plan, sample, newton=False, scale=combined.scale), sample


def _dealt(n_partitions: int, n_lanes: int, plan: Plan, seeds: tuple[int, int]) -> list[list[int]]:
    """Return the numbers of the partitions of each lane, in the order in which it takes them."""
    order = np.random.default_rng(seeds).permutation(n_partitions) if plan.shuffle else np.arange(n_partitions)
    return [order[lane::n_lanes].tolist() for lane in range(n_lanes)]


def _holds_out(state: State, plan: Plan, found: Survey) -> bool:
    """Say whether samples are held out to end training by, where nobody has chosen them.

    They are not where the data hardly can be overfitted, or the minimum is asked for: then, the objective of the sample
    is watched, which is trained on.
    """
    if found.columns.rows < _FEW_ROWS:
        return False
    free = plan.tol == plan.alpha == "auto" and not has_many_rows(state)
    return bool(plan.hidden_layer_sizes) or free


def _with_held_out(known: Known, found: Survey, holds_out: bool) -> tuple[Known, Survey, Data]:
    """Return what is known and found, and that part of the sample which says when to stop: held out, or all of it."""
    sample = watched = found.sample
    if holds_out:
        fraction = min(share_held_out(found.columns.rows), float(np.median(sample.draws)))
        fraction = max(fraction, float(np.partition(sample.draws, 1)[1]))  # one sample at least
        watched, rest = sample.parted(fraction)
        known, found = replace(known, held_out=of_sample(fraction)), replace(found, sample=rest)
    return known, found, (watched.X.astype(known.dtype), known.reader._encode(watched.y, "y"), watched.weight)
