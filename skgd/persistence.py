"""Saved models: what a pickle holds is plain data, which other releases of skgd, and other formats, can read.

`packed` turns the objects of this package, strategies and the parts of `skgd.state.State`, into dicts of their
fields, and `unpacked` makes them again. A release may therefore move classes, and give them new fields: these take
their defaults where the file is older. What an older release would misread needs a new `FORMAT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from skgd.activations import ACTIVATIONS
from skgd.combinations import Combinations, CoMoments
from skgd.coordinates import ColumnStatistics, Coordinates
from skgd.engines import Iterate
from skgd.lazy_stream import LazyStream, SavedLazyStream
from skgd.losses import CLASSIFIER_LOSSES, REGRESSOR_LOSSES, SoftmaxLoss
from skgd.objective import Objective
from skgd.optimizers import OPTIMIZERS
from skgd.run import Beginning, Best, Unfinished
from skgd.schedules import SCHEDULES
from skgd.state import Approach, Past, Progress, State
from skgd.strategy import Strategy
from skgd.stream import Stream
from skgd.wide import SavedWideStream, WideStream

FORMAT = 1

_REGISTRIES: tuple[Mapping[str, type], ...] = (ACTIVATIONS, CLASSIFIER_LOSSES, OPTIMIZERS, REGRESSOR_LOSSES, SCHEDULES)
_PARTS = (
    Approach,
    Beginning,
    Best,
    CoMoments,
    ColumnStatistics,
    Combinations,
    Coordinates,
    Iterate,
    Objective,
    Past,
    Progress,
    SavedLazyStream,
    SavedWideStream,
    State,
    Unfinished,
)
_KINDS = {kind.__name__: kind for kind in (*_PARTS, SoftmaxLoss, *(k for each in _REGISTRIES for k in each.values()))}
_KIND = "skgd kind"  # the key of the name


def packed(value: Any) -> Any:
    """Return plain data instead of skgd's objects, in dicts and tuples too; all else as it is."""
    lasting = isinstance(value, (LazyStream, WideStream))
    value = value.whole if isinstance(value, Stream) else value.saved if lasting else value
    kind = type(value)
    if kind is dict:
        return {key: packed(inner) for key, inner in value.items()}
    if kind is tuple:
        return tuple(map(packed, value))
    if _KINDS.get(kind.__name__) is not kind:  # a strategy of the user's own, too
        return value
    return {_KIND: kind.__name__, **{name: packed(inner) for name, inner in _fields_of(value).items()}}


def _fields_of(value: Any) -> dict[str, Any]:
    if isinstance(value, Strategy):
        return value.get_params(deep=False)
    if isinstance(value, Iterate):
        return value._asdict()
    return {each.name: getattr(value, each.name) for each in fields(value)}


def unpacked(value: Any) -> Any:
    """Return the inverse of :func:`packed`.

    Raises
    ------
    KeyError, TypeError
        For kinds and fields that are not known.
    """
    kind = type(value)
    if kind is tuple:
        return tuple(map(unpacked, value))
    if kind is not dict:
        return value
    inner = {key: unpacked(part) for key, part in value.items() if key != _KIND}
    made = _KINDS[value[_KIND]](**inner) if _KIND in value else inner
    return made.restored() if isinstance(made, (SavedLazyStream, SavedWideStream)) else made


def saved(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a saved estimator holds, from its attributes."""
    return {"skgd_format": FORMAT, "skgd_release": _release(), **packed(dict(attributes))}


def loaded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a saved estimator.

    Raises
    ------
    ValueError
        Where another release saved it in a way that this one cannot read.
    """
    values = dict(values)
    number, release = values.pop("skgd_format", None), values.pop("skgd_release", None)
    if number is None:
        raise ValueError(
            "This model was saved before skgd 0.1.0, the first release with a stable format: train a new model."
        )
    try:
        if number != FORMAT:
            raise KeyError(f"format {number}")
        return unpacked(values)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"This model was saved by skgd {release}, in a way that skgd {_release()} cannot read: {error.args[0]}. "
            f"Install that release, pip install 'skgd=={release}', to use the model, or train a new model."
        ) from error


@cache
def _release() -> str:
    try:
        return version("skgd")
    except PackageNotFoundError:  # a folder of files that was never installed
        return "(unknown release)"
