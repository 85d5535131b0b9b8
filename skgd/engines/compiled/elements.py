"""How compiled code finds elements and parts of arrays: with a third of the code that Numba makes for it.

Numba copies what it knows of an array to memory wherever an element is read or written, and LLVM removes the copies
again. Loops have hundreds of such places. What they mean stays the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import load_item, store_item

from skgd.engines.compiled.calls import ContextForCalls, shaped


class ContextForElements(ContextForCalls):
    """And for elements, lengths and shapes of arrays."""

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Callable:
        """Return what generates the code of a function."""
        generate = _GENERATE.get(getattr(fn, "typing_key", fn))
        if generate is None or self.enable_boundscheck or not _is_known(*sig.args):
            return super().get_function(fn, sig, _firstcall)
        return partial(generate, self, sig)

    def get_getattr(self, typ: Any, attr: str) -> Callable:
        """Return what generates the code of an attribute."""
        return _shape if attr == "shape" and isinstance(typ, types.Array) else super().get_getattr(typ, attr)


def section(context: Any, builder: Any, kind: Any, array: Any, first: Any, lengths: list[Any]) -> Any:
    """Return the part of an array from a number on, in this shape; its numbers lie one after the other."""
    places = context.data_model_manager[kind].get_field_position
    part = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for name in ("meminfo", "parent", "itemsize"):
        field = builder.extract_value(array, places(name))
        part = builder.insert_value(part, field, places(name))
    data = builder.gep(builder.extract_value(array, places("data")), [first])
    return shaped(context, builder, kind, part, field, data, lengths)  # by the size of an item


def _is_known(array: Any, index: Any = types.intp, value: Any = None) -> bool:
    """Say whether this is about an element, the length or rows of an array whose numbers lie one after the other."""
    if type(array) is not types.Array or array.layout != "C":
        return False
    if isinstance(index, types.SliceType):
        return value is None and not index.has_step
    kinds = getattr(index, "types", (index,))
    fewest = 1 if value is None else array.ndim
    return fewest <= len(kinds) <= array.ndim and all(isinstance(kind, types.Integer) for kind in kinds)


def _read(context: Any, signature: Any, builder: Any, arguments: Any, loc: Any = None) -> Any:
    """Return an element or rows."""
    (kind, index), (array, at) = signature.args, arguments
    if isinstance(index, types.SliceType):
        return _read_rows(context, builder, kind, array, at)
    first, lengths = _number_of(context, builder, kind, index, array, at)
    if lengths:
        return section(context, builder, signature.return_type, array, first, lengths)
    return load_item(context, builder, kind, _pointer(context, builder, kind, array, first))


def _read_rows(context: Any, builder: Any, kind: Any, array: Any, bounds: Any) -> Any:
    """Return the rows between two bounds, of which those below zero count from the end, as far as there are such."""
    shape = context.data_model_manager[kind].get_field_position("shape")
    length, *others = (builder.extract_value(array, (shape, axis)) for axis in range(kind.ndim))
    zero, ends = length.type(0), []
    for place in range(2):
        number = _from_start(builder, builder.extract_value(bounds, place), length)
        number = builder.select(builder.icmp_signed("<", number, zero), zero, number)
        ends.append(builder.select(builder.icmp_signed(">", number, length), length, number))
    (first, end), n_rows = ends, builder.sub(ends[1], ends[0])
    n_rows = builder.select(builder.icmp_signed(">", end, first), n_rows, zero)
    for other in others:
        first = builder.mul(first, other)
    return section(context, builder, kind, array, first, [n_rows, *others])


def _from_start(builder: Any, number: Any, length: Any) -> Any:
    """Return a number that counts from the start, of one that counts from the end if it is below zero."""
    if isinstance(number, ir.Constant) and number.constant >= 0:
        return number
    return builder.select(builder.icmp_signed("<", number, number.type(0)), builder.add(number, length), number)


def _write(context: Any, signature: Any, builder: Any, arguments: Any, loc: Any = None) -> None:
    """Set an element."""
    (kind, index, value), (array, at, number) = signature.args, arguments
    first, _ = _number_of(context, builder, kind, index, array, at)
    number = context.cast(builder, number, value, kind.dtype)
    store_item(context, builder, kind, number, _pointer(context, builder, kind, array, first))


def _shape(context: Any, builder: Any, kind: Any, array: Any, attribute: str) -> Any:
    """Return the shape of an array."""
    return builder.extract_value(array, context.data_model_manager[kind].get_field_position("shape"))


def _length(context: Any, signature: Any, builder: Any, arguments: Any, loc: Any = None) -> Any:
    """Return how many rows or elements an array has."""
    (kind,), (array,) = signature.args, arguments
    return builder.extract_value(_shape(context, builder, kind, array, "shape"), 0)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, number: Any) -> Any:
    """Return where a number of an array lies."""
    data = builder.extract_value(array, context.data_model_manager[kind].get_field_position("data"))
    return builder.gep(data, [number])


def _number_of(context: Any, builder: Any, kind: Any, index: Any, array: Any, at: Any) -> tuple[Any, list[Any]]:
    """Return which number an index means, those below zero counting from the end, and the lengths of other axes."""
    shape = context.data_model_manager[kind].get_field_position("shape")
    lengths = [builder.extract_value(array, (shape, axis)) for axis in range(kind.ndim)]
    kinds = getattr(index, "types", None)
    numbers = [at] if kinds is None else cgutils.unpack_tuple(builder, at, len(kinds))
    kinds = kinds or [index]
    first = None
    for number, of, length in zip(numbers, kinds, lengths, strict=False):
        number = context.cast(builder, number, of, types.intp if of.signed else types.uintp)
        number = _from_start(builder, number, length) if of.signed else number
        first = number if first is None else builder.add(builder.mul(first, length), number)
    for length in lengths[len(kinds) :]:
        first = builder.mul(first, length)
    return first, lengths[len(kinds) :]


_GENERATE = {operator.getitem: _read, operator.setitem: _write, len: _length}
