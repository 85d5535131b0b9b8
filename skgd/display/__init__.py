r"""Plots of training, with the API of scikit-learn's displays.

* :class:`TrainingDisplay`: training and validation curves;
* :class:`LearningRateDisplay`: the learning rate range test;
* :class:`DescentPathDisplay`: the path of optimizers over the contour lines of the objective.

``from_estimator`` computes and plots; ``plot(ax=...)`` plots again. The data are attributes, ``ax_`` and ``figure_``
are matplotlib's objects. Only this module imports matplotlib, for plotting only: ``pip install skgd[plot]``.
"""

# In the order of the API reference, which takes it from here.
# isort: off
from skgd.display.training_curves import TrainingDisplay
from skgd.display.learning_rate_range import LearningRateDisplay
from skgd.display.descent_path import DescentPathDisplay
# isort: on

__all__ = ["DescentPathDisplay", "LearningRateDisplay", "TrainingDisplay"]
