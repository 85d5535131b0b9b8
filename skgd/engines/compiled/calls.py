"""How compiled functions call each other: with half of the code that Numba makes for it.

Numba hands over seven numbers or more of each array, and takes note of what the function may have raised. What is
inlined needs less: of an array whose numbers lie one after the other, where they lie and its shape say everything, and
whatever was raised is left to what has called the loop. LLVM removes the rest, too, but takes its time. To hand over
arrays and tuples as they are would be even less code, but LLVM does not see through all of these, and makes other code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.cpu import CPUContext


class ContextForCalls(CPUContext):
    """Numba's context, but for calls of skgd's own functions that are inlined."""

    def declare_function(self, module: Any, fndesc: Any) -> Any:
        """Return a function, in its own code or in that of another one."""
        if _is_inlined(fndesc):
            fndesc.argtypes = _Fewer(fndesc.argtypes)
        return super().declare_function(module, fndesc)

    def get_arg_packer(self, fe_args: Any) -> Any:
        """Return what takes arguments apart and puts them together."""
        return _Arguments(self, fe_args) if isinstance(fe_args, _Fewer) else super().get_arg_packer(fe_args)

    def insert_user_function(self, func: Any, fndesc: Any, libs: Any = ()) -> None:
        """Note how a compiled function is called."""
        if _is_inlined(fndesc):
            self.insert_func_defn([(_call_of(self, fndesc, libs), func, fndesc.argtypes)])
        else:
            super().insert_user_function(func, fndesc, libs)

    def pair_first(self, builder: Any, val: Any, ty: Any) -> Any:
        """Return the next element of a loop."""
        return builder.extract_value(val, 0)

    def pair_second(self, builder: Any, val: Any, ty: Any) -> Any:
        """Return whether there is one."""
        return builder.extract_value(val, 1)


class _Fewer(tuple):
    """The types of arguments of which only some parts are handed over."""


class _Arguments:
    """Takes arguments apart and puts them together: what Numba asks for in the place of its ``ArgPacker``."""

    def __init__(self, context: Any, kinds: _Fewer):
        self._context, self._kinds = context, kinds
        self.argument_types = tuple(part for kind in kinds for part in self._types(kind))

    def as_arguments(self, builder: Any, values: Iterable) -> list:
        """Return what a function is handed."""
        return [part for pair in zip(self._kinds, values, strict=True) for part in self._parts(builder, *pair)]

    def from_arguments(self, builder: Any, arguments: Iterable) -> list:
        """Return what it reads."""
        parts = iter(arguments)
        return [self._whole(builder, kind, parts) for kind in self._kinds]

    def assign_names(self, arguments: Iterable, names: Iterable) -> None:
        """Do nothing."""

    def _types(self, kind: Any) -> Iterator:
        if _is_tuple(kind):
            for member in kind.types:
                yield from self._types(member)
        elif not isinstance(kind, types.Omitted):  # what a function has a default for
            whole = self._context.get_value_type(kind)
            if _is_contiguous(kind):
                yield whole.elements[self._context.data_model_manager[kind].get_field_position("data")]
                yield from [self._context.get_value_type(types.intp)] * kind.ndim
            else:
                yield whole

    def _parts(self, builder: Any, kind: Any, value: Any) -> Iterator:
        if _is_tuple(kind):
            for place, member in enumerate(kind.types):
                yield from self._parts(builder, member, builder.extract_value(value, place))
        elif _is_contiguous(kind):
            places = self._context.data_model_manager[kind].get_field_position
            yield builder.extract_value(value, places("data"))
            for axis in range(kind.ndim):
                yield builder.extract_value(value, (places("shape"), axis))
        elif not isinstance(kind, types.Omitted):
            yield value

    def _whole(self, builder: Any, kind: Any, parts: Iterator) -> Any:
        if _is_tuple(kind):
            value = ir.Constant(self._context.get_value_type(kind), ir.Undefined)
            for place, member in enumerate(kind.types):
                value = builder.insert_value(value, self._whole(builder, member, parts), place)
        elif _is_contiguous(kind):
            data, *lengths = (next(parts) for _ in range(1 + kind.ndim))
            value = _array(self._context, builder, kind, data, lengths)
        else:
            value = None if isinstance(kind, types.Omitted) else next(parts)
        return value


def _is_tuple(kind: Any) -> bool:
    return isinstance(kind, types.BaseTuple)


def _is_contiguous(kind: Any) -> bool:
    return type(kind) is types.Array and kind.layout == "C"


def _array(context: Any, builder: Any, kind: Any, data: Any, lengths: list[Any]) -> Any:
    """Return an array whose numbers lie one after the other, from where they lie and its shape."""
    array = ir.Constant(context.get_value_type(kind), None)  # of which no references are counted
    stride = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    place = context.data_model_manager[kind].get_field_position("itemsize")
    return shaped(context, builder, kind, builder.insert_value(array, stride, place), stride, data, lengths)


def shaped(context: Any, builder: Any, kind: Any, array: Any, stride: Any, data: Any, lengths: list[Any]) -> Any:
    """Return an array of such items with another shape, whose numbers lie one after the other, and where they do."""
    places, size = context.data_model_manager[kind].get_field_position, context.get_constant(types.intp, 1)
    for axis in reversed(range(len(lengths))):
        array = builder.insert_value(array, lengths[axis], (places("shape"), axis))
        array = builder.insert_value(array, stride, (places("strides"), axis))
        size = builder.mul(size, lengths[axis], flags=["nsw"])
        stride = builder.mul(stride, lengths[axis]) if axis else stride
    array = builder.insert_value(array, size, places("nitems"))
    return builder.insert_value(array, data, places("data"))


def _is_inlined(fndesc: Any) -> bool:
    """Say whether this describes a function of skgd's own that is always inlined."""
    return fndesc.inline and fndesc.modname.startswith("skgd.") and not isinstance(fndesc.restype, types.Optional)


def _call_of(own: ContextForCalls, fndesc: Any, libs: Any) -> Callable:
    """Return what generates a call of a function with this context, from a user's function, too, which has Numba's."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = own.declare_function(builder.module, fndesc)
        with builder.goto_entry_block():
            result = builder.alloca(function.args[0].type.pointee)
        parts = own.get_arg_packer(fndesc.argtypes).as_arguments(builder, arguments)
        code = builder.call(function, [result, builder.function.args[1], *parts])
        with cgutils.if_unlikely(builder, builder.icmp_signed("!=", code, code.type(0))):
            builder.ret(code)
        return own.get_returned_value(builder, fndesc.restype, builder.load(result))

    generate.libs = tuple(libs)  # type: ignore[attr-defined]
    return generate
