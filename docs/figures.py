"""Draw the figures in ``docs/_static`` that are no output of an example.

Usage: ``python docs/figures.py``. It overwrites the plot of README and of the landing page, and the thumbnails of
examples without a plot.
"""

import re
import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

matplotlib.use("Agg")

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "docs" / "_static"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


def training():
    """Plot what the first snippet of README plots."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    namespace = {}
    exec(compile(snippet, "README.md", "exec"), namespace)
    figure = namespace["display"].figure_
    figure.set_size_inches(6.4, 3.8)
    return figure


def raw_data():
    """Plot the scores that the example prints."""
    example = runpy.run_path(str(ROOT / "examples" / "raw_data.py"))
    scores = example["scores"]
    figure, axes = plt.subplots(figsize=(4, 2.8), layout="constrained")
    colors = {"GD*": BLUE, "SGD*": ORANGE, "scaled SGD*": GREEN}
    for i, (name, color) in enumerate(colors.items()):
        heights = [max(row[i], 0) for row in scores.values()]
        places = [place + 0.27 * (i - 1) for place in range(len(heights))]
        axes.bar(places, heights, width=0.25, color=color, label=name)
    axes.set_xticks(range(len(scores)), scores, fontsize="small")
    axes.set(ylabel="score", ylim=(0, 1.25))
    axes.legend(ncols=3, loc="upper center", fontsize="small", frameon=False)
    return figure


def onnx():
    """Draw where a converted pipeline goes."""
    figure, axes = plt.subplots(figsize=(4, 2.8))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    box = {"boxstyle": "round,pad=0.5", "linewidth": 1.5}
    arrow = {"arrowstyle": "->", "linewidth": 1.5, "shrinkA": 22}
    targets = {"server": 0.8, "browser": 0.5, "phone": 0.2}
    for name, height in targets.items():
        axes.annotate(
            name,
            xy=(0.53, 0.5),
            xytext=(0.84, height),
            bbox={**box, "facecolor": "white", "edgecolor": GREEN},
            arrowprops={**arrow, "arrowstyle": "<-"},
            ha="center",
            va="center",
        )
    axes.annotate("", (0.46, 0.5), (0.16, 0.5), arrowprops=arrow)
    for name, place, color in [
        ("Pipeline", 0.16, BLUE),
        ("ONNX", 0.53, ORANGE),
    ]:
        axes.text(
            place,
            0.5,
            name,
            bbox={**box, "facecolor": color, "edgecolor": color},
            color="white",
            weight="bold",
            ha="center",
            va="center",
        )
    return figure


if __name__ == "__main__":
    training().savefig(STATIC / "training.png", dpi=200)
    (STATIC / "thumbnails").mkdir(exist_ok=True)
    raw_data().savefig(STATIC / "thumbnails" / "raw_data.png", dpi=150)
    onnx().savefig(STATIC / "thumbnails" / "onnx_predictions.png", dpi=150)
