"""How compiled code finds the elements of arrays: with a third of the code that Numba makes for it, and the same meaning.

Numba copies what it knows of an array to memory wherever an element is read or written, and LLVM removes the copies
again. Loops have hundreds of such places.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.cpu import CPUContext
from numba.np.arrayobj import load_item, store_item


class ContextForElements(CPUContext):
    """Numba's context, but for elements of arrays."""

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Callable:
        """Return what generates the code of a function."""
        generate = _GENERATE.get(getattr(fn, "typing_key", fn))
        if generate is None or self.enable_boundscheck or not _is_element(*sig.args[:2]):
            return super().get_function(fn, sig, _firstcall)
        return partial(generate, self, sig)


def _is_element(array: Any, index: Any) -> bool:
    """Say whether this is an element of an array whose numbers lie one after the other."""
    if type(array) is not types.Array or array.layout != "C":
        return False
    kinds = index.types if isinstance(index, types.BaseTuple) else (index,)
    return array.ndim == len(kinds) and all(isinstance(kind, types.Integer) for kind in kinds)


def _read(context: Any, signature: Any, builder: Any, arguments: Any, loc: Any = None) -> Any:
    """Return an element."""
    kind, index = signature.args
    return load_item(context, builder, kind, _place(context, builder, kind, index, *arguments))


def _write(context: Any, signature: Any, builder: Any, arguments: Any, loc: Any = None) -> None:
    """Set an element."""
    (kind, index, value), (array, at, number) = signature.args, arguments
    place = _place(context, builder, kind, index, array, at)
    store_item(context, builder, kind, context.cast(builder, number, value, kind.dtype), place)


def _place(context: Any, builder: Any, kind: Any, index: Any, array: Any, at: Any) -> Any:
    """Return where an element lies; numbers below zero count from the end."""
    fields = context.data_model_manager[kind].get_field_position
    several = isinstance(index, types.BaseTuple)
    numbers = cgutils.unpack_tuple(builder, at, len(index)) if several else [at]
    place = None
    for axis, (number, number_kind) in enumerate(zip(numbers, index.types if several else [index], strict=True)):
        length = builder.extract_value(array, (fields("shape"), axis))
        number = context.cast(builder, number, number_kind, types.intp if number_kind.signed else types.uintp)
        if number_kind.signed and not (isinstance(number, ir.Constant) and number.constant >= 0):
            is_negative = builder.icmp_signed("<", number, number.type(0))
            number = builder.select(is_negative, builder.add(number, length), number)
        place = number if place is None else builder.add(builder.mul(place, length), number)
    return builder.gep(builder.extract_value(array, fields("data")), [place])


_GENERATE = {operator.getitem: _read, operator.setitem: _write}
