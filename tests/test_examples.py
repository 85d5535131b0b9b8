"""Every example, and every Python block of the README, runs without a warning and prints what it says it does."""

import re
import runpy
import tomllib
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("Agg")

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.stem: path for path in (ROOT / "examples").glob("*.py")}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def numbers(text):
    return [float(number) for number in NUMBER.findall(text)]


def check_descent_on_a_line(printed, tmp_path):
    assert [line.split()[0] for line in printed.splitlines() if "descent" in line] == [
        "batch",
        "stochastic",
        "mini-batch",
    ]
    lines = re.findall(r"learnt: y = (\S+) x \+ (\S+)", printed)
    (batch, *faster), (by_hand,) = lines, re.findall(r"by hand: y = (\S+) x \+ (\S+)", printed)
    assert batch == by_hand
    assert [float(number) for number in batch] == pytest.approx([2, 3], abs=0.05)
    assert faster == [("2.0000", "3.0000")] * 2
    for part in printed.split("learnt")[:3]:
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


def check_own_optimizer_and_loss(printed, tmp_path):
    fit, stream, search = printed.splitlines()
    above, below, _ = numbers(fit)
    assert above == pytest.approx(below, rel=0.1)
    apart, highest, steps = numbers(stream)
    assert apart < 0.03 * highest
    assert steps == 1200
    assert "'loss__level': 0.5" in search
    assert numbers(search)[-1] == pytest.approx(0.48, abs=0.05)  # LinearRegression's R² in the same folds


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
    best, epoch, last, kept, penalised = numbers(printed)
    assert best == kept < penalised < last
    assert 10 < epoch < 200


def check_plot_learning_rate_range(printed, tmp_path):
    suggestions = re.findall(r": (\S+) is suggested", printed)
    assert len(suggestions) == 3
    assert float(suggestions[1]) == pytest.approx(float(suggestions[0]) / 10, rel=0.7)  # momentum: 1 / (1 - 0.9) times
    for scores in re.findall(r"too low (\S+), suggested (\S+), too high (\S+)", printed):
        too_low, suggested, too_high = map(float, scores)
        assert suggested > 0.9
        assert suggested > max(too_low, too_high)


def check_plot_descent_path(printed, tmp_path):
    low, high, higher = (float(distance) for distance in re.findall(r"rate \S+: (\S+) from the minimum", printed))
    assert low > 10 * high > 10 * higher
    assert re.search(r"explodes at rates above (\S+)", printed)[1] > "0.2"
    slope, intercept = map(float, re.search(r"y = (\S+) x \+ (\S+)", printed).groups())
    assert (slope, intercept) == pytest.approx((2, 3), abs=0.2)


def check_raw_data(printed, tmp_path):
    table = {line[:15].strip(): numbers(line[25:]) for line in printed.splitlines()[1:]}
    assert len(table) == 4
    for raw, other, scaled in table.values():
        assert raw > other
        assert raw > scaled - 0.03
    assert table["diabetes"][1] < -1e9


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example(name, monkeypatch, capsys, tmp_path):
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


def test_readme(capsys):
    """The blocks run one after the other, as pasted into one session; each prints the text block that follows it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == readme.count("```python") >= 4
    namespace = {}
    for code, expected in blocks:
        exec(compile(code, "README.md", "exec"), namespace)
        printed = capsys.readouterr().out
        assert NUMBER.sub("#", printed) == NUMBER.sub("#", expected)
        assert numbers(printed) == pytest.approx(numbers(expected), abs=0.03)


def test_readme_names_files_and_extras_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [path for path in re.findall(r"examples/\w+\.py|[A-Z]+\.md", readme) if not (ROOT / path).exists()]
    assert not missing
    extras = re.search(r"-e \"\.\[([a-z,]+)\]\"", readme)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras) <= set(project["optional-dependencies"])
