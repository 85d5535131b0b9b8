"""Arrays that are written again for each piece of the data.

New arrays of a megabyte are slow where the C library returns freed memory to the system at once, as in the workers of
Dask: the system clears each page of them when it is written first.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import DTypeLike


class Workspace:
    """Arrays by name, each of which is valid until its name is asked for again."""

    def __init__(self) -> None:
        self._memory: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> np.ndarray:
        """Return an array with any content, in the memory of the last one of this name and type if it is enough."""
        size = prod(shape)
        memory = self._memory.get(name)
        if memory is None or len(memory) < size or memory.dtype != dtype:
            memory = self._memory[name] = np.empty(size, dtype)
        return memory[:size].reshape(shape)

    def doubled(self, values: np.ndarray) -> np.ndarray:
        """Return an array in double precision and row-major order: itself, or a copy in the workspace."""
        if values.dtype == np.float64 and values.flags.c_contiguous:
            return values
        doubled = self.array("doubled", values.shape)
        doubled[:] = values
        return doubled
