"""Names that people bring from other tools, and what stands for them here.

The tables hold what is not found by its spelling.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

# The right name, the reason, and the names of others for it, without capitals and signs.
_LOSSES = [
    ("squared_error", "half of it is minimized", "mse rmse meansquarederror squaredloss leastsquares ols l2 gaussian"),
    ("absolute_error", "minimized by the median", "mae meanabsoluteerror absoluteloss lad l1 median laplace"),
    ("huber", "squared near zero, linear beyond", "smoothl1 huberloss"),
    ("quantile", "Quantile(0.9) is for other quantiles than the median", "pinball pinballloss quantileloss"),
    ("epsilon_insensitive", "that of support vector regression", "svr"),
    ("poisson", "with a log link", "poissonnll halfpoissonloss poissonloss count"),
    (
        "log_loss",
        "the cross entropy, of two classes or of more",
        "log logistic logit crossentropy bce ce nll softmax multinomial deviance binarycrossentropy "
        "categoricalcrossentropy sparsecategoricalcrossentropy negativeloglikelihood",
    ),
    ("hinge", "that of the linear support vector machine", "svm svc hingeloss"),
]
_OPTIMIZERS = [
    (
        "auto",
        "Newton steps, if there are few features and other parameters allow it",
        "lbfgs bfgs newton newtoncg newtoncholesky liblinear sag saga cholesky svd lsqr cg cd irls",
    ),
    ("sgd", "batch_size=None uses all samples in each step", "gd gradientdescent batch minibatch vanilla"),
    ("sgd", "with momentum it is an object, SGD(momentum=0.9) of skgd.optimizers", "momentum"),
    ("sgd", "Nesterov's is an object, SGD(momentum=0.9, nesterov=True) of skgd.optimizers", "nesterov nag"),
    ("sgd", "with average=True", "asgd averagedsgd"),
    ("adam", "amsgrad makes it an object, Adam(amsgrad=True) of skgd.optimizers", "amsgrad"),
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
    ("relu", "for hidden layers; the output activation depends on the loss", "softmax rectifier"),
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

# What to use in place of parameters of others, and these.
_PARAMETERS = {
    name: advice
    for advice, names in [
        ("alpha and l1_ratio: 'l2' is l1_ratio=0, 'l1' is l1_ratio=1, None is alpha=0", "penalty"),
        ("alpha, which is 1 / (C * n_samples)", "C"),
        ("alpha", "lambda_ reg_lambda reg_alpha weight_decay l2 regularization"),
        ("learning_rate: a number is constant", "lr eta eta0 learning_rate_init step_size"),
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
        ("loss=Quantile(quantile=...) of skgd.losses", "quantile"),
        ("loss=Tweedie(power=...) of skgd.losses", "power"),
        ("loss", "criterion objective link"),
        ("max_iter", "epochs n_epochs num_epochs max_epochs n_iter num_iter max_iterations max_fun"),
        ("n_iter_no_change", "patience"),
        ("validation_fraction", "validation_split val_size"),
        ("max_grad_norm", "clipnorm clip_norm max_norm global_clipnorm gradient_clip"),
        ("hidden_layer_sizes", "hidden_layers hidden_units hidden_sizes layers"),
        ("fit_intercept", "bias use_bias"),
        ("random_state", "seed random_seed"),
        ("precondition, which is True by default", "normalize standardize"),
        ("the method set_callbacks", "callbacks"),
        ("n_jobs of a meta-estimator such as GridSearchCV: one fit uses one thread", "n_jobs"),
        (
            "nothing: log_loss is multinomial for three or more classes; OneVsRestClassifier is one-vs-rest",
            "multi_class",
        ),
        ("nothing: remove it", "dual intercept_scaling copy_X"),
    ]
    for name in names.split()
}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def right_name(name: str, known: Collection[str], kind: str) -> tuple[str, str] | None:
    """Return which name is meant by one that is not known, and the reason where it is not the spelling, else "".

    ``kind`` is the base class of what the names stand for: "Loss", "Optimizer", "Schedule" or "Activation".
    """
    by_letters, letters = {_letters(each): each for each in known}, _letters(name)
    if letters in by_letters:
        return by_letters[letters], ""
    if letters in _VALUES.get(kind, {}):
        return _VALUES[kind][letters]
    near = get_close_matches(letters, by_letters, n=1, cutoff=0.65)
    return (by_letters[near[0]], "") if near else None


def advice_on_name(name: str, known: Collection[str], kind: str) -> str:
    """Return a sentence on which name is meant by one that is not known, with a space before it, or ""."""
    right, reason = right_name(name, known, kind) or ("", "")
    return f" Did you mean {right!r}{reason and f' ({reason})'}?" if right else ""


def advice_on_parameter(name: str, known: Collection[str]) -> str:
    """Return a sentence on what to use in place of a parameter that is not known, with a space before it, or ""."""
    if name in _PARAMETERS:
        return f" Use {_PARAMETERS[name]}."
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.65)
    return f" Did you mean {near[0]!r}?" if near else ""
