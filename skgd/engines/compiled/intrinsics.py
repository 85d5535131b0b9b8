"""What compiled code can do and Python cannot say, or says in a way that takes long to compile."""

from __future__ import annotations

from functools import partial

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed, lower_builtin
from numba.extending import intrinsic, models, register_model
from numba.np.linalg import call_xxdot, call_xxgemm, call_xxgemv, ensure_blas

from skgd.engines.compiled.elements import section
from skgd.engines.compiled.interface import HINT


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for the cache line of an entry, without waiting for it."""

    def generate(context, builder, signature, arguments):
        array_type, index_type = signature.args
        view = context.make_array(array_type)(context, builder, arguments[0])
        several = isinstance(index_type, types.BaseTuple)
        indices = cgutils.unpack_tuple(builder, arguments[1]) if several else [arguments[1]]
        kinds = index_type if several else [index_type]
        indices = [context.cast(builder, *pair, types.intp) for pair in zip(indices, kinds, strict=True)]
        shape, strides = (cgutils.unpack_tuple(builder, part, array_type.ndim) for part in (view.shape, view.strides))
        pointer = cgutils.get_item_pointer2(
            context, builder, view.data, shape, strides, array_type.layout, indices, wraparound=False
        )
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [builder.bitcast(pointer, byte), flag(0), flag(HINT), flag(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


@intrinsic
def part_of(typing_context, numbers, begin, shape):
    """Return some of an array's numbers, in their order, in another shape: a tenth of the code of ``reshape``."""
    if numbers.layout != "C":
        raise TypingError("part_of is for arrays whose numbers lie one after the other")
    result = types.Array(numbers.dtype, len(shape), "C", readonly=not numbers.mutable)

    def generate(context, builder, signature, arguments):
        first = context.cast(builder, arguments[1], signature.args[1], types.intp)
        pairs = zip(cgutils.unpack_tuple(builder, arguments[2]), signature.args[2], strict=True)
        lengths = [context.cast(builder, length, kind, types.intp) for length, kind in pairs]
        return impl_ret_borrowed(
            context, builder, result, section(context, builder, result, arguments[0], first, lengths)
        )

    return result(numbers, begin, shape), generate


@intrinsic
def chosen(typing_context, condition, then, otherwise):
    """Return one of two numbers: `skgd.measuring.choose`."""
    result = typing_context.unify_types(then, otherwise)

    def generate(context, builder, signature, arguments):
        is_true, *numbers = map(
            partial(context.cast, builder), arguments, signature.args, (types.boolean, result, result)
        )
        return builder.select(is_true, *numbers)

    return result(condition, then, otherwise), generate


@intrinsic
def smaller(typing_context, one, other):
    """Return the smaller of two numbers, as ``min`` does."""
    return _first_in_order(typing_context, "<", one, other)


@intrinsic
def larger(typing_context, one, other):
    """Return the larger of two numbers, as ``max`` does."""
    return _first_in_order(typing_context, ">", one, other)


def _first_in_order(typing_context, order, one, other):
    """Return a signature, and what generates a choice: of the first number, unless the other one comes before it."""
    result = typing_context.unify_types(one, other)

    def generate(context, builder, signature, arguments):
        first, second = map(partial(context.cast, builder), arguments, signature.args, (result, result))
        is_float, is_signed = isinstance(result, types.Float), getattr(result, "signed", False)
        compare = builder.fcmp_ordered if is_float else builder.icmp_signed if is_signed else builder.icmp_unsigned
        return builder.select(compare(order, second, first), second, first)

    return result(one, other), generate


@intrinsic
def product(typing_context, left, right, out):
    """Write the product of two matrices by BLAS: what `numpy.dot` does, without its tests of shapes and references."""
    if not left.dtype == right.dtype == out.dtype or {left.layout, right.layout} - {"C", "F"} or out.layout != "C":
        raise TypingError("product is for matrices of one type whose numbers lie one after the other")

    def generate(context, builder, signature, arguments):
        ensure_blas()
        types_of = signature.args
        left, right, out = (
            context.make_array(kind)(context, builder, x) for kind, x in zip(types_of, arguments, strict=True)
        )
        shapes = [cgutils.unpack_tuple(builder, array.shape) for array in (left, right, out)]
        one = context.get_constant(types.intp, 1)
        is_row, is_column = (builder.icmp_signed("==", n, one) for n in shapes[2])
        of_left, of_right = (types_of[0], shapes[0], left.data), (types_of[1], shapes[1], right.data)
        with builder.if_else(is_column) as (column, no_column):
            with column, builder.if_else(is_row) as (number, no_number):
                with number:
                    call_xxdot(
                        context, builder, False, types_of[2].dtype, shapes[0][1], left.data, right.data, out.data
                    )
                with no_number:
                    call_xxgemv(context, builder, types_of[0].layout == "C", *of_left, right.data, out.data)
            with no_column, builder.if_else(is_row) as (row, matrix):
                with row:
                    call_xxgemv(context, builder, types_of[1].layout != "C", *of_right, left.data, out.data)
                with matrix:
                    call_xxgemm(context, builder, *of_left, *of_right, types_of[2], shapes[2], out.data)
        return context.get_dummy_value()

    return types.void(left, right, out), generate


class _Range(types.SimpleIterableType):
    """The type of `counted`."""

    def __init__(self) -> None:
        super().__init__("skgd.range", _RangeIterator())


class _RangeIterator(types.SimpleIteratorType):
    """The type of what goes through it."""

    def __init__(self) -> None:
        super().__init__("skgd.range_iterator", types.intp)


@register_model(_Range)
class _RangeModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [(name, types.intp) for name in ("start", "stop", "step")])


@register_model(_RangeIterator)
class _RangeIteratorModel(models.StructModel):
    def __init__(self, manager, kind):
        at = types.EphemeralPointer(types.intp)
        super().__init__(manager, kind, [("at", at), ("stop", types.intp), ("step", types.intp)])


@intrinsic
def counted(typing_context, *bounds):
    """Return a range that goes up: with less code than Python's, which may go down, too, or nowhere."""
    given = types.BaseTuple.from_types(bounds)

    def generate(context, builder, signature, arguments):
        pairs = zip(cgutils.unpack_tuple(builder, arguments[0]), bounds, strict=True)
        numbers = [context.cast(builder, number, kind, types.intp) for number, kind in pairs]
        zero, one = (context.get_constant(types.intp, number) for number in (0, 1))
        start, stop, step = {1: [zero, *numbers, one], 2: [*numbers, one], 3: numbers}[len(numbers)]
        return cgutils.pack_struct(builder, [start, stop, step])

    return _Range()(given), generate


@lower_builtin("getiter", _Range)
def _begin(context, builder, signature, arguments):
    start, stop, step = cgutils.unpack_tuple(builder, arguments[0], 3)
    at = cgutils.alloca_once(builder, start.type)
    builder.store(start, at)
    return cgutils.pack_struct(builder, [at, stop, step])


@lower_builtin("iternext", _RangeIterator)
def _go_on(context, builder, signature, arguments):
    at, stop, step = cgutils.unpack_tuple(builder, arguments[0], 3)
    number = builder.load(at)
    builder.store(builder.add(number, step, flags=["nsw"]), at)
    return cgutils.pack_struct(builder, [number, builder.icmp_signed("<", number, stop)])
