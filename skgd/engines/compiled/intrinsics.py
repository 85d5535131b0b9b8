"""What compiled code can do and Python cannot say, or says in a way that takes long to compile."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array
from numba.np.linalg import call_xxdot, call_xxgemm, call_xxgemv, ensure_blas

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
        whole = context.make_array(signature.args[0])(context, builder, arguments[0])
        part = context.make_array(signature.return_type)(context, builder)
        first = context.cast(builder, arguments[1], signature.args[1], types.intp)
        pairs = zip(cgutils.unpack_tuple(builder, arguments[2]), signature.args[2], strict=True)
        lengths = [context.cast(builder, length, kind, types.intp) for length, kind in pairs]
        strides = [whole.itemsize]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        populate_array(
            part,
            data=builder.gep(whole.data, [first]),
            shape=lengths,
            strides=strides,
            itemsize=whole.itemsize,
            meminfo=whole.meminfo,
            parent=whole.parent,
        )
        return impl_ret_borrowed(context, builder, signature.return_type, part._getvalue())

    return result(numbers, begin, shape), generate


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
