"""Names that people bring from other tools, and what stands for them here.

The tables hold what is not found by its spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, Literal

# The right name, the reason, and the names of others for it, without capitals and signs.
_LOSSES = [
    (
        "squared_error",
        "half of it is minimized",
        "mse rmse meansquarederror squared squaredloss quadratic leastsquares ls ols l2 gaussian",
    ),
    (
        "absolute_error",
        "minimized by the median",
        "mae meanabsoluteerror absolute absoluteloss lad l1 median laplace",
    ),
    ("huber", "squared near zero, linear beyond", "smoothl1 huberloss logcosh"),
    ("quantile", "Quantile(0.9) is for other quantiles than the median", "pinball pinballloss quantileloss"),
    ("epsilon_insensitive", "that of support vector regression", "svr"),
    ("poisson", "with a log link", "poissonnll halfpoissonloss poissonloss count"),
    (
        "log_loss",
        "the cross entropy, of two classes or of more",
        "log logistic logisticloss logit crossentropy bce ce nll softmax multinomial deviance binarycrossentropy "
        "categoricalcrossentropy sparsecategoricalcrossentropy negativeloglikelihood",
    ),
    ("hinge", "that of the linear support vector machine", "svm svc hingeloss"),
]
_OPTIMIZERS = [
    (
        "auto",
        "Newton steps, if there are few features and other parameters allow it",
        "lbfgs lbfgsb bfgs newton newtoncg newtoncholesky liblinear sag saga cholesky svd lsqr cg cd irls",
    ),
    (
        "sgd",
        "batch_size=None uses all samples in each step",
        "gd gradientdescent stochasticgradientdescent batch minibatch vanilla",
    ),
    (
        "sgd",
        "with momentum it is an object, SGD(momentum=0.9) of skgd.optimizers",
        "momentum sgdm sgdmomentum momentumsgd heavyball",
    ),
    ("sgd", "Nesterov's is an object, SGD(momentum=0.9, nesterov=True) of skgd.optimizers", "nesterov nag"),
    ("sgd", "with average=True", "asgd averagedsgd"),
    ("adam", "amsgrad makes it an object, Adam(amsgrad=True) of skgd.optimizers", "amsgrad adamamsgrad"),
    ("rmsprop", "its form for batches", "rprop"),
]
_SCHEDULES = [
    ("auto", "derived from the data, while SGDClassifier's 'optimal' depends on alpha", "optimal"),
    ("reduce_on_plateau", "it reduces the learning rate when the objective plateaus", "adaptive plateau onplateau"),
    ("inverse_scaling", "a power of the step number", "invscaling inverse invsqrt inversetime timebased"),
    ("exponential", "exponential decay", "exp decay exponentialdecay exponentiallr"),
    ("step", "step decay", "steplr stepdecay staircase"),
    ("piecewise", "piecewise constant", "multistep multisteplr piecewiseconstant"),
    ("cosine", "restarts make it an object, Cosine(restarts=True)", "cosineannealing cosinedecay sgdr"),
    ("linear", "a warm-up makes it an object, Linear(warmup_steps=100)", "warmup poly polynomial lineardecay"),
]
_ACTIVATIONS = [
    ("logistic", "the sigmoid", "sigmoid expit"),
    ("silu", "also called swish", "swish"),
    ("identity", "no activation", "linear none"),
    ("leaky_relu", "", "lrelu"),
    (
        "relu",
        "for hidden layers; the output activation depends on the loss",
        "softmax rectifier rectifiedlinear",
    ),
]
_VALUES = {
    kind: {name: (right, reason) for right, reason, names in rows for name in names.split()}
    for kind, rows in {
        "Loss": _LOSSES,
        "Optimizer": _OPTIMIZERS,
        "Schedule": _SCHEDULES,
        "Activation": _ACTIVATIONS,
    }.items()
}

# Parameters of strategies: as above, the first row whose right name the strategy has.
_PARAMETERS_OF_STRATEGIES = [
    (
        "learning_rate",
        "",
        "lr eta eta0 learning_rate_init initial_learning_rate initial_lr base_lr max_lr max_learning_rate init_value",
    ),
    ("beta1", "", "beta_1 b1"),
    ("beta1", "and beta2, each a parameter of its own", "betas"),
    ("beta1", "which is Adam's momentum", "momentum"),
    ("beta2", "", "beta_2 b2"),
    ("beta3", "", "beta_3 b3"),
    ("rho", "", "alpha decay gamma beta2 beta_2"),
    ("nesterov", "", "nesterovs_momentum nesterov_momentum use_nesterov"),
    ("epsilon", "", "eps delta"),
    ("initial_accumulator", "", "initial_accumulator_value"),
    ("l1", "", "l1_regularization_strength lambda1"),
    ("l2", "", "l2_regularization_strength lambda2"),
    ("quantile", "", "alpha q tau level"),
    ("power", "", "p power_t"),
    ("slope", "", "negative_slope alpha"),
    ("boundaries", "", "milestones"),
    ("factors", "of the learning rate, one more than boundaries", "values gamma"),
    ("decay_rate", "in decay_steps steps", "gamma decay"),
    ("step_size", "steps, not epochs", "decay_steps drop_every"),
    ("factor", "", "gamma decay_rate drop"),
    ("warmup_steps", "", "warmup num_warmup_steps alpha_warmup beta3_warmup"),
    ("warmup_fraction", "", "pct_start warmup"),
    ("decay_steps", "steps, not epochs", "T_max T_0 total_iters total_steps max_steps first_decay_steps step_size"),
    ("total_steps", "steps, not epochs", "T_max total_iters decay_steps max_steps epochs"),
    ("end_factor", "a fraction of the learning rate", "eta_min min_lr end_learning_rate alpha"),
    ("lowest_factor", "a fraction of the learning rate", "eta_min min_lr"),
    ("period_growth", "", "T_mult t_mul"),
    ("start_divisor", "", "div_factor"),
    ("end_divisor", "", "final_div_factor"),
    ("threshold", "", "min_delta tol"),
]

# What to use in place of parameters of others, and these.
_REPLACEMENTS = {
    "Strategy": [
        ("alpha of the estimator, or AdamW(weight_decay=...)", "weight_decay l2"),
        ("a schedule, such as learning_rate=InverseScaling(power=1, decay_steps=...)", "decay lr_decay"),
        ("an optimizer that has it: SGD or RMSProp", "momentum"),
        ("NAdam() or SGD(momentum=..., nesterov=True)", "nesterov"),
        ("Adam(amsgrad=True)", "amsgrad"),
        ("that of the estimator", "alpha l1_ratio average batch_size max_iter tol max_grad_norm random_state"),
        ("max_grad_norm of the estimator", "clipnorm clip_norm clipvalue max_norm global_clipnorm"),
        ("average of the estimator", "use_ema ema_momentum"),
        ("nothing: remove it", "params name maximize foreach fused last_epoch verbose reduction"),
        (
            "an object, such as method=Adam(learning_rate=0.01); scipy.optimize.minimize was passed the class",
            "args jac hess hessp bounds constraints callback",
        ),
    ],
    "Estimator": [
        ("alpha and l1_ratio: 'l2' is l1_ratio=0, 'l1' is l1_ratio=1, None is alpha=0", "penalty"),
        ("alpha, which is 1 / (C * n_samples)", "C"),
        ("alpha", "lambda_ reg_lambda reg_alpha weight_decay l2 regularization"),
        ("learning_rate: a number is constant", "lr eta eta0 learning_rate_init step_size"),
        (
            "learning_rate, which may be a schedule",
            "schedule scheduler lr_schedule lr_scheduler learning_rate_schedule",
        ),
        ("learning_rate=Linear(warmup_steps=...) of skgd.schedules", "warmup warmup_steps"),
        ("learning_rate=InverseScaling(power=...) of skgd.schedules", "power_t"),
        ("optimizer", "solver algorithm"),
        ("optimizer=SGD(momentum=..., nesterov=...) of skgd.optimizers", "momentum nesterov nesterovs_momentum"),
        ("optimizer=Adam(beta1=..., beta2=...) of skgd.optimizers", "beta_1 beta_2 beta1 beta2 betas"),
        ("optimizer=RMSProp(rho=...) of skgd.optimizers", "rho"),
        (
            "that of the loss, as in loss=Huber(epsilon=...) of skgd.losses, or that of the optimizer, as in "
            "optimizer=Adam(epsilon=...) of skgd.optimizers",
            "epsilon",
        ),
        ("loss=Quantile(quantile=...) of skgd.losses", "quantile tau"),
        ("loss=Tweedie(power=...) of skgd.losses", "power"),
        ("loss=Huber(epsilon=...) of skgd.losses", "delta"),
        ("loss", "criterion objective link loss_function"),
        ("max_iter", "epochs n_epochs num_epochs max_epochs n_iter num_iter max_iterations max_fun"),
        ("tol", "tolerance ftol gtol"),
        ("n_iter_no_change", "patience"),
        ("validation_fraction", "validation_split val_size"),
        ("max_grad_norm", "clipnorm clip_norm max_norm global_clipnorm gradient_clip"),
        ("hidden_layer_sizes", "hidden_layers hidden_units hidden_sizes layers"),
        ("fit_intercept", "bias use_bias"),
        ("random_state", "seed random_seed"),
        ("precondition, which is True by default", "normalize standardize"),
        ("the method set_callbacks", "callbacks"),
        ("the argument sample_weight of fit", "sample_weight class_weight"),
        ("the argument classes of partial_fit", "classes"),
        ("alpha or early_stopping: there is no dropout", "dropout dropout_rate"),
        ("n_jobs of a meta-estimator such as GridSearchCV: one fit uses one thread", "n_jobs"),
        (
            "nothing: log_loss is multinomial for three or more classes; OneVsRestClassifier is one-vs-rest",
            "multi_class",
        ),
        ("nothing: remove it", "dual intercept_scaling copy_X"),
    ],
}
_ADVICE = {
    kind: {name: advice for advice, names in rows for name in names.split()} for kind, rows in _REPLACEMENTS.items()
}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _nearest(name: str, known: Collection[str], similarity: float = 0.65) -> str:
    """Return the name that is spelled most alike, or "" where none is so similar."""
    by_letters = {_letters(each): each for each in known}
    near = get_close_matches(_letters(name), by_letters, n=1, cutoff=similarity)
    return by_letters[near[0]] if near else ""


def right_name(name: str, known: Collection[str], kind: str) -> tuple[str, str] | None:
    """Return which name is meant by one that is no other's, and the reason where it is not the spelling, else "".

    ``kind`` is the base class of what the names stand for: "Loss", "Optimizer", "Schedule" or "Activation".
    """
    right = _nearest(name, known, similarity=1.0)
    if not right and _letters(name) in _VALUES.get(kind, {}):
        return _VALUES[kind][_letters(name)]
    right = right or _nearest(name, known, similarity=0.85)
    return (right, "") if right else None


def advice_on_name(name: str, known: Collection[str], kind: str) -> str:
    """Return a sentence on which name is meant by one that is not known, with a space before it, or ""."""
    right, reason = right_name(name, known, kind) or (_nearest(name, known), "")
    return f" Did you mean {right!r}{reason and f' ({reason})'}?" if right else ""


def advice_on_parameter(name: str, known: Collection[str], kind: Literal["Estimator", "Strategy"]) -> str:
    """Return a sentence on what to use in place of a parameter that is not known, with a space before it, or ""."""
    for right, reason, names in _PARAMETERS_OF_STRATEGIES if kind == "Strategy" else ():
        if right in known and name in names.split():
            return f" Did you mean {right!r}{reason and f' ({reason})'}?"
    if name in _ADVICE[kind]:
        return f" Use {_ADVICE[kind][name]}."
    near = _nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""


def advising_init(init: Callable, owner: str, kind: Literal["Estimator", "Strategy"]) -> Callable:
    """Return a constructor of a class, its owner, that says what to use in place of a parameter that there is not."""
    _, *known = signature(init).parameters

    @wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in known:
                advice = advice_on_parameter(name, known, kind)
                raise TypeError(f"{owner}.__init__() got an unexpected keyword argument {name!r}.{advice}")
        init(self, *args, **kwargs)

    return __init__


def with_advice(
    error: ValueError, names: Iterable[str], known: Collection[str], kind: Literal["Estimator", "Strategy"]
) -> ValueError:
    """Return an error of ``set_params`` with what to use in place of the first of the names that is not known."""
    wrong = (name for name in names if name.partition("__")[0] not in known)
    advice = next((advice_on_parameter(name, known, kind) for name in wrong), "")
    return ValueError(f"{error}{advice}") if advice else error
