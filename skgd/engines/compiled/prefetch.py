"""Ask the processor for memory that a loop will need soon."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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
