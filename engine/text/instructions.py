"""Operations of kernels that numba has no words for, given to LLVM as they are: unaligned loads, 64 bytes at once."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from engine.text.kernels import Instruction, instruction

LANES = 64
"""Bytes worked on at a time."""
_BIT, _SIXTY_FOUR_LANES = ir.IntType(1), ir.VectorType(ir.IntType(8), LANES)


@instruction
def load_64(_typing: Any, array: Any, _place: Any) -> Instruction:
    """Return the 8 bytes array[place : place + 8] as one little-endian integer."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, arguments, 0, ir.IntType(64)), align=1)

    return types.uint64(array, types.uint64), emit


@instruction
def store_64(_typing: Any, array: Any, _place: Any, _value: Any) -> Instruction:
    """Write 8 bytes to array[place : place + 8]."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments, 0, ir.IntType(64))
        builder.store(arguments[2], pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.uint64, types.uint64), emit


@instruction
def trailing_zeros(_typing: Any, _value: Any) -> Instruction:
    """Return the place of the lowest bit that is set, 64 where none is."""
    return types.uint64(types.uint64), lambda _, builder, __, arguments: builder.cttz(*arguments, _BIT(0))


@instruction
def leading_zeros(_typing: Any, _value: Any) -> Instruction:
    """Return how many bits above the highest that is set are not, 64 where none is."""
    return types.uint64(types.uint64), lambda _, builder, __, arguments: builder.ctlz(*arguments, _BIT(0))


@instruction
def num_ones(_typing: Any, _value: Any) -> Instruction:
    """Return how many bits are set."""
    return types.uint64(types.uint64), lambda _, builder, __, arguments: builder.ctpop(*arguments)


@instruction
def nonzero_64(_typing: Any, array: Any, _place: Any) -> Instruction:
    """Return a bit for each byte of array[place : place + 64], the lowest for the first: is it not zero?"""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = builder.load(_pointer(context, builder, signature, arguments, 0, _SIXTY_FOUR_LANES), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", lanes, lanes.type(None)), ir.IntType(64))

    return types.uint64(array, types.uint64), emit


@instruction
def within_64(_typing: Any, array: Any, _place: Any, _ones: Any, _first: Any, _last: Any) -> Instruction:
    """Return a bit for each byte of array[place : place + 64]: is it, with the bits `ones` set, from first to last?

    `ones`, `first` and `last` are uint8.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = builder.load(_pointer(context, builder, signature, arguments, 0, _SIXTY_FOUR_LANES), align=1)
        ones, first, last = (_every_lane(builder, lanes.type, value) for value in arguments[2:])
        # Unsigned: what lies below the first wraps round to above the last.
        above = builder.sub(builder.or_(lanes, ones), first)
        return builder.bitcast(builder.icmp_unsigned("<=", above, builder.sub(last, first)), ir.IntType(64))

    return types.uint64(array, types.uint64, types.uint8, types.uint8, types.uint8), emit


@instruction
def fold_8(_typing: Any, _value: Any) -> Instruction:
    """Return 8 bytes, the first the lowest, folded as ASCII: letters to lower case, all but letters and digits to 0."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        lanes = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(8), 8))
        return builder.bitcast(_folded_lanes(builder, lanes), ir.IntType(64))

    return types.uint64(types.uint64), emit


@instruction
def fold_64(_typing: Any, source: Any, _place: Any, target: Any, _target_place: Any) -> Instruction:
    """Write source[place : place + 64] to `target`, folded as by `fold_8`; return a bit for each byte beyond ASCII."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = builder.load(_pointer(context, builder, signature, arguments, 0, _SIXTY_FOUR_LANES), align=1)
        pointer = _pointer(context, builder, signature, arguments, 2, _SIXTY_FOUR_LANES)
        builder.store(_folded_lanes(builder, lanes), pointer, align=1)
        return builder.bitcast(builder.icmp_signed("<", lanes, lanes.type(None)), ir.IntType(64))

    return types.uint64(source, types.uint64, target, types.uint64), emit


def _every_lane(builder: Any, lanes: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), None))


def _folded_lanes(builder: Any, lanes: Any) -> Any:
    def is_within(values: Any, first: str, last: str) -> Any:
        """Unsigned: what lies below the first wraps round to above the last."""
        return builder.icmp_unsigned("<=", builder.sub(values, every(ord(first))), every(ord(last) - ord(first)))

    def every(value: int) -> Any:
        return lanes.type([value] * lanes.type.count)

    lower = builder.or_(lanes, every(0x20))
    # The bit is set in every digit already.
    is_kept = builder.or_(is_within(lower, "a", "z"), is_within(lanes, "0", "9"))
    return builder.select(is_kept, lower, every(0))


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, array: int, element: Any) -> Any:
    """Return a pointer to the byte of an array that the next argument names, as one to `element`."""
    data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
    return builder.bitcast(builder.gep(data, [arguments[array + 1]]), element.as_pointer())
