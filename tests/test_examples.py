"""Every example, and every Python block of the README and the documentation, runs and prints what it says it does."""

import ast
import inspect
import re
import runpy
import tomllib
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor

import skgd

matplotlib.use("Agg")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = {path.stem: path for path in (ROOT / "examples").rglob("*.py")}
NEEDED = {  # by pages and examples, beside what all tests need
    "deployment.md": ["skl2onnx", "onnxruntime"],
    "onnx.md": ["skl2onnx", "onnxruntime"],
    "onnx_predictions": ["skl2onnx", "onnxruntime"],
    "mlflow.md": ["mlflow"],
    "large_data.md": ["pyarrow"],
    "cluster.md": ["dask", "distributed", "pyarrow"],
    "mlflow_runs": ["mlflow"],
}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def numbers(text):
    return [float(number) for number in NUMBER.findall(text)]


def check_descent_on_a_line(printed, tmp_path):
    assert [line.split()[0] for line in printed.splitlines() if "descent" in line] == [
        "batch",
        "stochastic",
        "mini-batch",
    ]
    lines = re.findall(r"solution: y = (\S+) x \+ (\S+)", printed)
    (batch, *faster), (by_hand,) = lines, re.findall(r"from scratch: y = (\S+) x \+ (\S+)", printed)
    assert batch == by_hand
    assert [float(number) for number in batch] == pytest.approx([2, 3], abs=0.05)
    assert faster == [("2.0000", "3.0000")] * 2
    for part in printed.split("solution")[:3]:
        losses = [float(loss) for loss in re.findall(r"loss (\S+)", part)]
        assert losses == sorted(losses, reverse=True)
        assert losses[-1] < 1e-3 < losses[0]


def check_imbalanced_stream(printed, tmp_path):
    score = {name: numbers(rest) for name, rest in re.findall(r"^(plain|balanced) +(.*)$", printed, re.MULTILINE)}
    found, _, balanced_accuracy = zip(score["plain"], score["balanced"], strict=True)
    assert found[1] > found[0] + 0.2
    assert balanced_accuracy[1] > balanced_accuracy[0] + 0.1
    assert "the same: True" in printed
    by_stream, by_fit = re.findall(r"coefficients after one .*: +\[(.*)\]", printed)
    assert by_stream == by_fit


def check_online_text_classification(printed, tmp_path):
    score = {name: float(value) for name, value in re.findall(r"^(\w+):\s+(\S+)$", printed, re.MULTILINE)}
    assert score["GDClassifier"] > score["majority"] + 0.3
    assert score["GDClassifier"] > score["SGDClassifier"] - 0.02
    table = [numbers(line) for line in printed.splitlines() if re.match(r"\s+\d+\s", line)]
    assert [row[0] for row in table] == list(range(500, 5001, 500))
    assert sum(row[1] for row in table) / len(table) == pytest.approx(score["GDClassifier"], abs=0.01)


def check_out_of_core(printed, tmp_path):
    losses = [float(loss) for loss in re.findall(r"held-out data (\S+)", printed)]
    assert len(losses) == 4
    assert min(losses) < float(re.search(r"class frequencies: (\S+)", printed)[1]) - 0.08


def check_own_optimizer_and_loss(printed, tmp_path):
    fit, stream, search = printed.splitlines()
    above, below, _ = numbers(fit)
    assert above == pytest.approx(below, rel=0.1)
    apart, highest, steps = numbers(stream)
    assert apart < 0.03 * highest
    assert steps == 1200
    assert "'loss__level': 0.5" in search
    assert numbers(search)[-1] == pytest.approx(0.48, abs=0.05)  # LinearRegression's R² in the same folds


def check_mlflow_runs(printed, tmp_path):
    *rows, loaded = printed.splitlines()
    accuracies = [numbers(row)[-1] for row in rows]
    assert len(rows) == 3
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.95
    for row in rows:
        first, last, epochs, _ = numbers(row.replace("...", " "))
        assert first > last
        assert epochs == 15
    assert numbers(loaded) == [numbers(row)[-1] for row in rows if row.startswith("adam")]


def check_onnx_predictions(printed, tmp_path):
    rows = dict(re.findall(r"^(.*?): +(.*)$", printed, re.MULTILINE))
    assert float(rows["accuracy"]) > 0.7
    assert rows["outputs"] == "label probabilities"
    assert rows["labels that differ"] == "0"
    assert float(rows["largest difference of a probability"]) < 1e-5


def check_pipeline_mixed_columns(printed, tmp_path):
    auc = {
        name: float(value)
        for name, value in re.findall(r"^(\w+Classifier|LogisticRegression) .* (\S+)$", printed, re.M)
    }
    assert auc["GDClassifier"] == pytest.approx(auc["LogisticRegression"], abs=0.01)
    assert auc["GDClassifier"] > auc["SGDClassifier"] + 0.05
    late, year = (float(re.search(f"{what}: +(\\S+)", printed)[1]) for what in ("late payment", "year in the job"))
    assert (late, year) == pytest.approx((-0.9, 12 * 0.015), abs=0.15)  # those that the table was made with


def check_plot_learning_rate_search(printed, tmp_path):
    assert "Both ways give Adam the same scores: True" in printed
    best = {float(rate) for rate in re.findall(r"best (\S+),", printed)}
    assert all(1e-3 < rate < 1 for rate in best)  # not at an end of the range searched
    scores = [float(score) for score in re.findall(r"accuracy (\S+)", printed)]
    assert min(scores) > 0.9
    assert (tmp_path / "rates.png").stat().st_size > 10_000


def check_plot_training_curves(printed, tmp_path):
    best, epoch, last, kept, penalized = numbers(printed)
    assert best == kept < penalized < last
    assert 10 < epoch < 200


def check_plot_learning_rate_range(printed, tmp_path):
    suggestions = re.findall(r": suggested learning rate (\S+)", printed)
    assert len(suggestions) == 3
    assert float(suggestions[1]) == pytest.approx(float(suggestions[0]) / 10, rel=0.7)  # momentum: 1 / (1 - 0.9) times
    for scores in re.findall(r"too low (\S+), suggested (\S+), too high (\S+)", printed):
        too_low, suggested, too_high = map(float, scores)
        assert suggested > 0.9
        assert suggested > max(too_low, too_high)


def check_plot_descent_path(printed, tmp_path):
    low, high, higher = (float(distance) for distance in re.findall(r"rate \S+: (\S+) from the minimum", printed))
    assert low > 10 * high > 10 * higher
    assert re.search(r"diverges at learning rates above (\S+)", printed)[1] > "0.2"
    slope, intercept = map(float, re.search(r"y = (\S+) x \+ (\S+)", printed).groups())
    assert (slope, intercept) == pytest.approx((2, 3), abs=0.2)


def check_plot_adaptive_rates(printed, tmp_path):
    rare = {name: numbers(line)[-1] for line in printed.splitlines()[1:] for name in [line.split()[0]]}
    assert rare["SGD"] < 0.7 < 0.9 < min(rare["AdaGrad"], rare["Adam"])
    assert rare["SGD"] < rare["RMSProp"] < rare["AdaGrad"]


def check_plot_batch_sizes(printed, tmp_path):
    gap = {line.split()[0]: numbers(line)[-1] for line in printed.splitlines()}
    assert gap["mini-batch"] < gap["stochastic"] < gap["batch"]


def check_plot_deep_gradients(printed, tmp_path):
    norms = r"^(\w+, \d) +accuracy (\S+), first gradients (\S+) \.\.\. (\S+)$"
    rows = {name: [float(number) for number in rest] for name, *rest in re.findall(norms, printed, re.MULTILINE)}
    accuracy, first, last = rows["logistic, 6"]
    assert accuracy < 0.6
    assert last > 100 * first
    accuracy, first, last = rows["relu, 6"]
    assert accuracy > 0.95
    assert last < 10 * first
    assert rows["logistic, 1"][0] > 0.8
    assert "neither            Training diverged" in printed
    assert min(float(score) for score in re.findall(r"R² (\S+)", printed)) > 0.25


def check_plot_exploding_vanishing(printed, tmp_path):
    plain, clipped = (float(value) for value in re.findall(r"off by up to (\S+)", printed))
    assert clipped < 0.5 < 100 < plain
    log_loss, squared = (float(value) for value in re.findall(r"wrong predictions: (\S+)", printed))
    assert squared < 0.1 < 0.9 < log_loss


def check_plot_hidden_layers(printed, tmp_path):
    accuracy = {name: float(value) for name, value in re.findall(r"^(.*): accuracy (\S+)", printed, re.MULTILINE)}
    assert accuracy["XOR, linear"] < 0.6 < 0.98 < accuracy["XOR, 16 hidden neurons"]
    assert accuracy["two moons, linear"] < 0.9 < 0.98 < accuracy["two moons, 16 hidden neurons"]
    scores = {name: float(value) for name, value in re.findall(r"^sine, (\w+): R² (\S+),", printed, re.MULTILINE)}
    assert scores["linear"] < 0.7 < 0.95 < min(scores["relu"], scores["tanh"])


def check_plot_local_minima(printed, tmp_path):
    ends = [numbers(line) for line in printed.splitlines() if line.startswith("from")]
    assert len(ends) == 4
    assert all(end == pytest.approx(2 if start > 0 else -2, abs=0.1) for start, end in ends)
    steps = {line.split()[0]: numbers(line)[0] for line in printed.splitlines() if "saddle" in line}
    assert steps["Adam"] < steps["momentum"] < steps["SGD"]


def check_plot_momentum(printed, tmp_path):
    gap = {line.split()[0]: numbers(line)[-1] for line in printed.splitlines()[1:]}
    assert max(gap["momentum"], gap["Nesterov"]) < gap["plain"] / 50


def check_plot_preconditioning(printed, tmp_path):
    raw, standardized, minimum = (numbers(line) for line in printed.splitlines()[:3])
    assert standardized == pytest.approx(minimum, rel=0.02)
    assert raw[1] < 0.1 * minimum[1]
    explicit, implicit = (numbers(line.split(" at ")[1]) for line in printed.splitlines()[-2:])
    assert implicit[0] == explicit[0]
    assert implicit[1] == 1000 > 100 * explicit[1]


def check_plot_regularisation(printed, tmp_path):
    ridge, lasso, stopping = printed.splitlines()
    assert numbers(ridge.split(": ")[-1]) == [0] * 15
    assert numbers(lasso.split(": ")[-1])[-2:] == [10, 10]
    best, epochs, lowest, kept = numbers(stopping)
    assert 1 < best < epochs / 2
    assert lowest == kept


def check_plot_rosenbrock(printed, tmp_path):
    rows = {line.split()[0]: numbers(line) for line in printed.splitlines()}
    lowest = {name: row[-1] for name, row in rows.items()}
    assert max(lowest["momentum"], lowest["Adam"]) < 1e-6 < 1e-3 < lowest["RMSProp"] < lowest["SGD"]
    assert rows["Adam"][:2] == pytest.approx([1, 1], abs=1e-2)
    assert rows["Adam"][2] < rows["momentum"][2] < rows["SGD"][2]


def check_plot_matrix_factorization(printed, tmp_path):
    mean, factors = numbers(re.search("held-out ratings: (.*)", printed)[1])
    assert factors < mean / 2  # the noise of the ratings is 0.3
    assert numbers(printed.splitlines()[-1])[-1] < 0.4 * mean


def check_plot_soft_k_means(printed, tmp_path):
    agreement, distance, of_k_means = (numbers(line)[-1] for line in printed.splitlines())
    assert agreement > 0.9
    assert distance == pytest.approx(of_k_means, rel=0.01)


def check_plot_schedules(printed, tmp_path):
    fast, slow, falling, averaged = (numbers(line.split("above")[0])[-1] for line in printed.splitlines())
    assert falling < averaged < fast / 50
    assert falling < slow < fast / 5


def check_plot_second_order(printed, tmp_path):
    passes = {line.split()[0]: numbers(line.split("after")[1])[0] for line in printed.splitlines()}
    assert passes["Newton"] <= passes["L-BFGS"] < 20
    assert passes["mini-batch"] < 20 < passes["batch"]


def check_plot_valley(printed, tmp_path):
    small, right, large = (float(guess) for guess in re.findall(r": +(\S+) €", printed))
    assert right == pytest.approx(12, abs=0.2)
    assert small < 8
    assert abs(large - 12) > abs(8 - 12)  # farther than its start


def check_raw_data(printed, tmp_path):
    table = {line[:15].strip(): numbers(line[25:]) for line in printed.splitlines()[1:]}
    assert len(table) == 4
    for raw, other, scaled in table.values():
        assert raw > other
        assert raw > scaled - 0.03
    assert table["diabetes"][1] < -1e9


def skip_without_what_is_needed(name):
    for package in NEEDED.get(name, []):
        pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example(name, monkeypatch, capsys, tmp_path):
    skip_without_what_is_needed(name)
    output = ["--output", str(tmp_path / "rates.png")] if name == "plot_learning_rate_search" else []
    monkeypatch.setattr("sys.argv", [str(EXAMPLES[name]), *output])
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    runpy.run_path(str(EXAMPLES[name]), run_name="__main__")
    plt.close("all")
    globals()[f"check_{name}"](capsys.readouterr().out, tmp_path)


def test_picture_is_not_shown_without_a_screen(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plot_learning_rate_search.py"])
    monkeypatch.setattr("numpy.logspace", lambda *_: [0.1])  # one rate is enough here
    runpy.run_path(str(EXAMPLES["plot_learning_rate_search"]), run_name="__main__")
    assert "--output" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, capsys):
    """The blocks run one after the other, as pasted into one session; each prints the text block that follows it.

    A ``{code-block}`` is left out where what it imports is not installed; nothing that follows depends on it.
    """
    skip_without_what_is_needed(page.name)
    block = r"```(python|{code-block} python)\n(.*?)```(?:\s+```text\n(.*?)```)?"
    blocks = re.findall(block, page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks or page.name != "README.md"
    namespace = {"__name__": "page"}
    for kind, code, expected in blocks:
        packages = re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE)
        if kind != "python" and not all(map(find_spec, packages)):
            continue
        exec(compile(code, page.name, "exec"), namespace)
        printed = capsys.readouterr().out
        assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", expected).split()  # columns are as wide as numbers
        assert numbers(printed) == pytest.approx(numbers(expected), abs=0.03)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_pages_fits(page):
    """In 78 columns, which a page shows without scrolling; what a terminal prints may be wider."""
    blocks = re.findall(r"```(\w+|{code-block} python)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for kind, code in blocks if kind != "text" for line in code.splitlines()]
    assert [line for line in lines if len(line) > 78] == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_code_of_examples_fits(name):
    """In 78 columns; the docstring and the comments that begin a cell become paragraphs."""
    text = EXAMPLES[name].read_text(encoding="utf-8")
    code = text.replace(ast.get_docstring(ast.parse(text), clean=False), "")
    code = re.sub(r"^# %%\n(#.*\n)*", "", code, flags=re.MULTILINE)
    assert [line for line in code.splitlines() if len(line) > 78] == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_have_a_thumbnail(name):
    text = EXAMPLES[name].read_text(encoding="utf-8")
    given = re.search(r"^# sphinx_gallery_thumbnail_path = '(.*)'$", text, re.MULTILINE)
    assert "plt.show()" in text if given is None else (ROOT / "docs" / given[1]).exists()


def test_links_to_examples_exist():
    """Sphinx does not check the targets of figures."""
    links = re.findall(r"gallery/([\w/]+)\.(?:html|rst)", "".join(page.read_text("utf-8") for page in PAGES))
    assert len(links) > 30
    assert [link for link in links if link != "index" and not (ROOT / "examples" / f"{link}.py").exists()] == []


def table_column(page, number):
    """Return what stands as code in one column of a page's tables."""
    rows = re.findall(r"^\| (.*) \|$", (ROOT / "docs/coming_from" / page).read_text(encoding="utf-8"), re.MULTILINE)
    return [code for row in rows for code in re.findall("`([^`]+)`", row.split("|")[number])]


@pytest.mark.parametrize(
    ("page", "estimators"),
    [
        ("sgd.md", (SGDClassifier, SGDRegressor)),
        ("mlp.md", (MLPClassifier, MLPRegressor)),
        ("logistic_ridge.md", (LogisticRegression, Ridge, LinearRegression)),
    ],
)
def test_tables_name_every_parameter_of_scikit_learn(page, estimators):
    parameters = {name for estimator in estimators for name in inspect.signature(estimator).parameters}
    named = {re.match(r"\w+", code)[0] for code in table_column(page, 0) if re.match(r"[a-zA-Z]", code)}
    assert {name for name in named if not name.endswith("_")} == parameters


def check_calls(column, modules):
    """Check that whatever looks like ``Name(parameter, other=1)`` exists, and has these parameters."""
    known = {name: value for module in modules for name, value in vars(module).items() if inspect.isclass(value)}
    calls = [call for code in column for call in re.findall(r"^([A-Z]\w+)\(([^()]*(?:\([^()]*\))?[^()]*)\)$", code)]
    for name, arguments in calls:
        parameters = re.findall(r"(?:^|, )([a-z]\w*)(?==|,|$)", arguments)
        assert set(parameters) <= set(inspect.signature(known[name]).parameters), name
    return len(calls)


@pytest.mark.parametrize("page", ["sgd.md", "mlp.md", "logistic_ridge.md", "pytorch.md", "keras.md"])
def test_tables_name_parameters_that_skgd_has(page):
    modules = (skgd, skgd.losses, skgd.optimizers, skgd.schedules)
    n_calls = check_calls(table_column(page, 1), modules)
    assert n_calls >= 4 or page == "logistic_ridge.md"
    named = {re.match(r"[a-z]\w*", code)[0] for code in table_column(page, 1) if re.match(r"[a-z]\w*=", code)}
    assert named <= set(inspect.signature(skgd.GDClassifier).parameters)


def test_tables_name_parameters_that_torch_has():
    theirs = [code for code in table_column("pytorch.md", 0) if not code.startswith("DataLoader")]
    assert check_calls(theirs, (torch.optim, torch.optim.lr_scheduler, torch.nn)) >= 15


def test_readme_names_files_and_extras_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [path for path in re.findall(r"examples/\w+\.py|[A-Z]+\.md", readme) if not (ROOT / path).exists()]
    assert not missing
    extras = re.search(r"-e \"\.\[([a-z,]+)\]\"", readme)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras) <= set(project["optional-dependencies"])


def test_the_api_index_lists_every_public_class():
    page = (ROOT / "docs/api/index.md").read_text(encoding="utf-8")
    sections = re.split(r"^\.\. currentmodule:: ", page, flags=re.MULTILINE)[1:]
    listed = {f"{module}.{name}" for module, *names in map(str.split, sections) for name in names}
    modules = (skgd.losses, skgd.optimizers, skgd.schedules, skgd.activations)
    assert {f"{module.__name__}.{name}" for module in modules for name in module.__all__} <= listed
    assert {f"skgd.{name}" for name in skgd.__all__ if name.startswith("GD")} <= listed
