"""Common code of the displays: matplotlib, line styles, and the estimator whose training is plotted."""

from __future__ import annotations

from typing import Any

from skgd.estimators import GDClassifier, GDRegressor
from skgd.strategy import plain_repr

# Okabe and Ito's colors, which the color-blind tell apart; markers and line styles do so in print without color.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"
_LINES = ("-", "--", "-.", ":")


def pyplot(caller: Any) -> Any:
    """Import matplotlib, here and nowhere else, or say what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(caller).__name__}.plot draws with matplotlib, which is not installed: pip install skgd[plot]"
        ) from error
    return plt


def line_style(index: int, n_points: int, n_markers: int = 12) -> dict[str, Any]:
    """Return color, line and marker of the so-many-th line, with markers at about so many of its points."""
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": _LINES[index % len(_LINES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 5,
        "markevery": max(1, -(-n_points // n_markers)),
    }


def checked(estimator: Any) -> Any:
    """Return an estimator of skgd; raise TypeError for any other."""
    if not isinstance(estimator, (GDClassifier, GDRegressor)):
        raise TypeError(
            f"estimator must be a GDClassifier or a GDRegressor, got {plain_repr(estimator)}. Of a Pipeline, pass the "
            "last step, and X as transformed by the others."
        )
    return estimator
