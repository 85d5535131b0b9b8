"""Make optimizer_goldens.json: trajectories of optimizers that torch.optim lacks, from their reference implementations.

Yogi, ADOPT, AdEMAMix and Lion are optax's, Adan is pytorch-optimizer's (optax 0.2.8 weights its differences otherwise
than the paper and the authors do), AdaBelief and schedule-free AdamW are their authors' packages, and FTRL is Algorithm
1 of McMahan et al. (KDD 2013), written out here one coordinate at a time. The warm-up of AdEMAMix is that of its
paper's equations, written out here. Nothing here imports skgd.

    pip install optax torch pytorch-optimizer adabelief-pytorch schedulefree
    python tests/reference/optimizer_goldens.py

Each optimizer is run twice: "noisy", from ``start`` (FTRL from 0) with the gradient of a badly scaled least-squares
problem plus a noise, zero now and then; and "fit", from 0 with the gradient of the least-squares problem alone.
"""

import importlib.metadata
import json
import math
from pathlib import Path

import numpy as np

NOISY_STEPS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300)
FIT_STEPS = (1, 2, 10, 250)

rng = np.random.default_rng(0)
X = rng.standard_normal((12, 6)) * np.logspace(0.0, -1.5, 6)
Y = X @ rng.uniform(-2.0, 2.0, 6) + rng.standard_normal(12)
START = rng.uniform(-1.0, 1.0, 6)
FREQUENCIES = rng.uniform(1.0, 3.0, 6)


def fit_gradient(w, t):
    return X.T @ (X @ w - Y) / len(Y)


def noisy_gradient(w, t):
    g = fit_gradient(w, t) + np.sin(t * FREQUENCIES)
    return np.where((t + np.arange(6)) % 5 == 0, 0.0, g)


def optax_trajectory(transform):
    """Run an optax transformation."""

    def run(gradient, start, n_steps):
        import jax
        import jax.numpy as jnp
        import optax

        jax.config.update("jax_enable_x64", True)
        w, rule = jnp.asarray(start), transform(optax)
        state = rule.init(w)
        for t in range(1, n_steps + 1):
            updates, state = rule.update(jnp.asarray(gradient(np.asarray(w), t)), state, w)
            w = optax.apply_updates(w, updates)
            yield {"w": np.asarray(w)}

    return run


def torch_trajectory(make, halved_after=None):
    """Run a torch optimizer, its rate halved after some step.

    With a train and an eval mode, "w" is the point of the one and "readout" of the other.
    """

    def run(gradient, start, n_steps):
        import torch

        w = torch.tensor(start, requires_grad=True)
        rule = make([w])
        two_modes = hasattr(rule, "train")
        for t in range(1, n_steps + 1):
            if t - 1 == halved_after:
                rule.param_groups[0]["lr"] /= 2.0
            if two_modes:
                rule.train()
            w.grad = torch.from_numpy(gradient(w.detach().numpy(), t))
            rule.step()
            point = {"w": w.detach().numpy().copy()}
            if two_modes:
                rule.eval()
                point["readout"] = w.detach().numpy().copy()
            yield point

    return run


def adabelief(learning_rate, beta1, beta2, epsilon):
    def make(parameters):
        from adabelief_pytorch import AdaBelief

        return AdaBelief(
            parameters,
            lr=learning_rate,
            betas=(beta1, beta2),
            eps=epsilon,
            weight_decouple=False,
            rectify=False,
            print_change_log=False,
        )

    return torch_trajectory(make)


def schedule_free(learning_rate, beta1, beta2, epsilon, warmup_steps=0, halved_after=None):
    def make(parameters):
        from schedulefree import AdamWScheduleFree

        return AdamWScheduleFree(
            parameters,
            lr=learning_rate,
            betas=(beta1, beta2),
            eps=epsilon,
            warmup_steps=warmup_steps,
            weight_decay=0.0,
            r=0.0,
            weight_lr_power=2.0,
        )

    return torch_trajectory(make, halved_after)


def yogi(learning_rate, beta1, beta2, epsilon, initial_accumulator):
    return optax_trajectory(
        lambda optax: optax.chain(
            optax.scale_by_yogi(beta1, beta2, epsilon, initial_accumulator_value=initial_accumulator),
            optax.scale_by_learning_rate(learning_rate),
        )
    )


def decayed(rule, learning_rate, weight_decay):
    """Return how to make an optax transformation with decoupled weight decay."""
    return lambda optax: optax.chain(
        rule(optax), optax.add_decayed_weights(weight_decay), optax.scale_by_learning_rate(learning_rate)
    )


def adopt(learning_rate, beta1, beta2, epsilon, weight_decay):
    return optax_trajectory(
        decayed(lambda optax: optax.contrib.scale_by_adopt(beta1, beta2, epsilon), learning_rate, weight_decay)
    )


def ademamix(learning_rate, beta1, beta2, beta3, alpha, epsilon, weight_decay, warmup_steps):
    """Run optax's rule; its schedules count steps from 0, those of the paper (equations 2 and 3) from 1."""

    def alpha_at(t):
        return min(t * alpha / warmup_steps, alpha)

    def beta3_at(t):
        share = t / warmup_steps
        start, end = math.log(beta1), math.log(beta3)
        return min(math.exp(start * end / ((1.0 - share) * end + share * start)), beta3) if share < 1.0 else beta3

    def at_each_step(function):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        table = jnp.array([function(t) for t in range(1, max(NOISY_STEPS) + 1)])
        return lambda count: table[count]

    def rule(optax):
        schedules = (at_each_step(beta3_at), at_each_step(alpha_at)) if warmup_steps else (beta3, alpha)
        return optax.contrib.scale_by_ademamix(beta1, beta2, *schedules, epsilon)

    return optax_trajectory(decayed(rule, learning_rate, weight_decay))


def adan(learning_rate, beta1, beta2, beta3, epsilon, weight_decay):
    def make(parameters):
        from pytorch_optimizer import Adan

        betas = (beta1, beta2, beta3)
        return Adan(
            parameters, lr=learning_rate, betas=betas, eps=epsilon, weight_decay=weight_decay, weight_decouple=True
        )

    return torch_trajectory(make)


def lion(learning_rate, beta1, beta2, weight_decay):
    return optax_trajectory(lambda optax: optax.lion(learning_rate, beta1, beta2, weight_decay=weight_decay))


def ftrl(learning_rate, beta, l1, l2, initial_accumulator=0.0, alpha=0.0, l1_ratio=0.0):
    """Run Algorithm 1; with ``alpha``, the elastic net of step s adds to the leader's objective of all t >= s."""

    def run(gradient, start, n_steps):
        size = len(start)
        z, n, w = [0.0] * size, [initial_accumulator] * size, [0.0] * size
        for t in range(1, n_steps + 1):
            g = gradient(np.array(w), t).tolist()
            lambda1, lambda2 = l1 + t * alpha * l1_ratio, l2 + t * alpha * (1.0 - l1_ratio)
            for i in range(size):
                sigma = ((n[i] + g[i] ** 2) ** 0.5 - n[i] ** 0.5) / learning_rate
                z[i] += g[i] - sigma * w[i]
                n[i] += g[i] ** 2
                if abs(z[i]) <= lambda1:
                    w[i] = 0.0
                else:
                    sign = 1.0 if z[i] > 0.0 else -1.0
                    w[i] = -(z[i] - sign * lambda1) / ((beta + n[i] ** 0.5) / learning_rate + lambda2)
            yield {"w": np.array(w)}

    return run


# name: (reference, name in skgd, its parameters, what the estimator adds)
CASES = {
    "yogi": (
        yogi,
        "yogi",
        {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3, "initial_accumulator": 1e-6},
        {},
    ),
    "yogi_other": (
        yogi,
        "yogi",
        {"learning_rate": 0.02, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-2, "initial_accumulator": 0.1},
        {},
    ),
    "adopt": (
        adopt,
        "adopt",
        {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.9999, "epsilon": 1e-6, "weight_decay": 0.0},
        {},
    ),
    "adopt_other": (
        adopt,
        "adopt",
        {"learning_rate": 0.02, "beta1": 0.7, "beta2": 0.9, "epsilon": 0.3, "weight_decay": 0.0},
        {},
    ),
    "adopt_decay": (
        adopt,
        "adopt",
        {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6, "weight_decay": 0.3},
        {},
    ),
    "adan": (
        adan,
        "adan",
        {"learning_rate": 0.05, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "epsilon": 1e-8, "weight_decay": 0.0},
        {},
    ),
    "adan_other": (
        adan,
        "adan",
        {"learning_rate": 0.02, "beta1": 0.7, "beta2": 0.3, "beta3": 0.95, "epsilon": 1e-2, "weight_decay": 0.0},
        {},
    ),
    "adan_decay": (
        adan,
        "adan",
        {"learning_rate": 0.02, "beta1": 0.9, "beta2": 0.8, "beta3": 0.99, "epsilon": 1e-8, "weight_decay": 0.3},
        {},
    ),
    "ademamix": (
        ademamix,
        "ademamix",
        {
            "learning_rate": 0.05,
            "beta1": 0.9,
            "beta2": 0.999,
            "beta3": 0.9999,
            "alpha": 5.0,
            "epsilon": 1e-8,
            "weight_decay": 0.0,
            "warmup_steps": 0,
        },
        {},
    ),
    "ademamix_warmup": (
        ademamix,
        "ademamix",
        {
            "learning_rate": 0.02,
            "beta1": 0.8,
            "beta2": 0.95,
            "beta3": 0.98,
            "alpha": 2.0,
            "epsilon": 1e-2,
            "weight_decay": 0.0,
            "warmup_steps": 60,
        },
        {},
    ),
    "ademamix_decay": (
        ademamix,
        "ademamix",
        {
            "learning_rate": 0.02,
            "beta1": 0.9,
            "beta2": 0.99,
            "beta3": 0.99,
            "alpha": 3.0,
            "epsilon": 1e-8,
            "weight_decay": 0.3,
            "warmup_steps": 0,
        },
        {},
    ),
    "lion": (lion, "lion", {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}, {}),
    "lion_decay": (lion, "lion", {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.3}, {}),
    "adabelief": (
        adabelief,
        "adabelief",
        {"learning_rate": 0.02, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-16},
        {},
    ),
    "adabelief_other": (
        adabelief,
        "adabelief",
        {"learning_rate": 0.02, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        {},
    ),
    "schedule_free": (
        schedule_free,
        "schedule_free",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        {},
    ),
    "schedule_free_other_rates": (
        schedule_free,
        "schedule_free",
        {"learning_rate": 0.05, "beta1": 0.95, "beta2": 0.98, "epsilon": 1e-2},
        {"warmup_steps": 20, "halved_after": 30},
    ),
    "ftrl": (ftrl, "ftrl", {"learning_rate": 0.3, "beta": 1.0, "l1": 0.0, "l2": 0.0}, {}),
    "ftrl_penalties": (
        ftrl,
        "ftrl",
        {"learning_rate": 0.5, "beta": 0.5, "l1": 1.5, "l2": 0.7, "initial_accumulator": 0.1},
        {},
    ),
    "ftrl_no_beta": (ftrl, "ftrl", {"learning_rate": 0.2, "beta": 0.0, "l1": 0.0, "l2": 0.0}, {}),
    "ftrl_summed": (
        ftrl,
        "ftrl",
        {"learning_rate": 0.5, "beta": 1.0, "l1": 0.5, "l2": 0.2},
        {"alpha": 0.1, "l1_ratio": 0.7},
    ),
}


def trajectory(points, steps):
    """Return the points at the given steps, each a dictionary of lists."""
    return {
        str(t): {key: value.tolist() for key, value in point.items()}
        for t, point in enumerate(points, start=1)
        if t in steps
    }


def main():
    cases = {}
    for name, (reference, optimizer, parameters, estimator) in CASES.items():
        run = reference(**parameters, **estimator)
        start = 0.0 * START if optimizer == "ftrl" else START
        cases[name] = {
            "optimizer": optimizer,
            "parameters": parameters,
            "estimator": estimator,
            "start": start.tolist(),
            "fit": trajectory(run(fit_gradient, 0.0 * START, max(FIT_STEPS)), FIT_STEPS),
        }
        if "alpha" not in estimator:  # a rule alone knows no penalty
            cases[name]["noisy"] = trajectory(run(noisy_gradient, start, max(NOISY_STEPS)), NOISY_STEPS)
    packages = ("optax", "jax", "torch", "pytorch-optimizer", "adabelief-pytorch", "schedulefree")
    goldens = {
        "made_with": {package: importlib.metadata.version(package) for package in packages},
        "problem": {
            "X": X.tolist(),
            "y": Y.tolist(),
            "start": START.tolist(),
            "frequencies": FREQUENCIES.tolist(),
        },
        "cases": cases,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(goldens, indent=1) + "\n")


if __name__ == "__main__":
    main()
