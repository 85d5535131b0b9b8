r"""Displays: pictures of a training, by scikit-learn's convention.

* :class:`TrainingDisplay`: how the losses fell, epoch by epoch;
* :class:`LearningRateDisplay`: which learning rate to choose;
* :class:`DescentPathDisplay`: how optimizers walk down the loss surface of two coefficients.

``from_estimator`` computes and draws; ``plot(ax=...)`` draws again. What is drawn are plain attributes, ``ax_`` and
``figure_`` are matplotlib's. Only this module imports matplotlib, and only to draw: ``pip install skgd[plot]``.
"""

# In the order of the API reference, which takes it from here.
# isort: off
from skgd.display.training_curves import TrainingDisplay
from skgd.display.learning_rate_range import LearningRateDisplay
from skgd.display.descent_path import DescentPathDisplay
# isort: on

__all__ = ["DescentPathDisplay", "LearningRateDisplay", "TrainingDisplay"]
