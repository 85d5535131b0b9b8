"""Kinds of loops: what decides which one an epoch takes, and what fills in the tables and flags of `interface`."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

from skgd.engines.compiled.dense import dense_rows
from skgd.engines.compiled.interface import Rows, Strategies
from skgd.engines.compiled.loss import slope_of_loss_along
from skgd.engines.compiled.networks import network_rows
from skgd.engines.compiled.row_steps import take_row_steps
from skgd.engines.compiled.sparse import sparse_rows
from skgd.engines.compiled.specialize import Loop, specialized
from skgd.engines.compiled.steps import take_steps
from skgd.losses import SoftmaxLoss

# Numba's tuples have a length, so that this has to be written out for each number of slots.
_SLOT_ACCESS = """
def slots_of(slots, c, k):
    return ({reads})

def keep_slots(slots, c, k, after):
    {writes}

def fetch_slots(slots, c, k):
    {fetches}
"""


def _slot_access(n_slots: int, idle: Collection[int]) -> dict[str, Any]:
    """Return what reads, writes and fetches the slots of one parameter; the array has no place for idle ones."""
    busy = [slot for slot in range(n_slots) if slot not in idle]
    places = {slot: f"slots[{place}, c, k]" for place, slot in enumerate(busy)}
    reads = "".join(f"1.0 * {places[slot]}, " if slot in places else "0.0, " for slot in range(n_slots))
    writes = "; ".join(f"{places[slot]} = after[{slot}]" for slot in busy) or "pass"
    fetches = "; ".join(f"prefetch(slots, ({place}, c, k))" for place in range(len(busy))) or "pass"
    namespace: dict[str, Any] = {"__name__": __name__, "prefetch": None}  # an intrinsic, put in by the specializer
    exec(_SLOT_ACCESS.format(reads=reads, writes=writes, fetches=fetches), namespace)
    return {name: namespace[name] for name in ("slots_of", "keep_slots", "fetch_slots")}


class Kind(NamedTuple):
    """All that decides which loop it takes: the classes of the strategies, and what the rows and the steps are like."""

    optimizer: Any
    loss: Any
    target: Any
    activation: Any = None  # of networks
    adaptive: bool = False
    sparse: bool = False
    centered: bool = False
    single: bool = False
    has_intercept: bool = True
    laziness: str = ""
    idle: tuple[int, ...] = ()  # slots
    linear: bool = False
    decays: bool = False
    bounded: bool = False
    implicit: bool = False
    smooth: bool = False
    row_by_row: bool = False
    along_row: bool = False
    shared: bool = False
    repeating: bool = False

    @property
    def lazy(self) -> bool:
        """Whether steps leave out the columns that their rows do not have."""
        return self.laziness != ""

    def filled_in(self) -> dict[str, Any]:
        """Return what takes the places of the names of `skgd.engines.compiled.interface`."""
        optimizer, loss, activation = self.optimizer, self.loss, self.activation
        n_slots = len(optimizer.slots)
        network = (
            {} if activation is None else {"activate": activation.value, "slope_of_activation": activation.derivative}
        )
        rows: Rows = sparse_rows(self.laziness) if self.sparse else dense_rows(self.single)
        if network:
            rows = network_rows(rows if self.sparse else None)
        strategies = Strategies(
            rule=optimizer.rule,
            readout=optimizer.readout,
            skip=optimizer.skip,
            rescaled=optimizer.rescaled,
            detached=optimizer.detached,
            attached=optimizer.attached,
            momentum_and_size=optimizer.momentum_and_size,
            auto_learning_rate=optimizer.auto_learning_rate,
            value=loss.value,
            gradient=loss.gradient,
            target=self.target,
            **_slot_access(n_slots, range(n_slots) if self.linear else self.idle),  # a linear rule's hold nothing
            **network,
        )
        return {
            "strategies": strategies,
            "rows": rows,
            "slope_along": slope_of_loss_along,
            "single": self.single,
            "narrow": self.single and not network and (self.sparse or self.row_by_row),
            "hidden": activation is not None,
            "adaptive": self.adaptive,
            "dense": not self.sparse,
            "has_intercept": self.has_intercept,
            "centered": self.centered,
            "lazy": self.lazy,
            "resting": self.laziness == "rest",
            "proximal": optimizer.proximal,
            "normalized": loss.normalized,
            "softmax": loss.normalized and loss.gradient is SoftmaxLoss.gradient,
            "decays": self.decays,
            "bounded": self.bounded,
            "implicit": self.implicit,
            "smooth": self.smooth,
            "along_row": self.along_row,
            "shared": self.shared,
            "repeating": self.repeating,
        }


@lru_cache(maxsize=256)
def loop_for(kind: Kind) -> Loop:
    """Return the compiled loop over such steps."""
    return specialized(take_row_steps if kind.row_by_row else take_steps, kind.filled_in())
