"""Vectors of eight float64 lanes as a Numba type: one SIMD register where the processor has AVX-512, two or four
where it has AVX or NEON.

Every operation is rounded as IEEE 754 says, lane by lane; `fma` is the exact fused operation on every processor,
and nothing else is ever fused. So a lane's bits depend on nothing but its own operands: not on its neighbours, on its
place in the vector, or on the width of the machine's registers.
"""

# pyright: reportCallIssue=false
# An intrinsic's first parameter, the typing context, is Numba's to give.

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .duals import LANES

_IR = ir.VectorType(ir.DoubleType(), LANES)


class Vector(types.Type):
    """The Numba type of eight float64."""

    def __init__(self):
        super().__init__("float64x8")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _IR)


def _address(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _IR.as_pointer())


@intrinsic
def load(typing_context, array, index):
    """The vector of array[index : index + 8] of a one-dimensional float64 array; bounds are not checked."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, signature.args[0], *arguments))
        value.align = 8
        return value

    return vector(array, index), generate


@intrinsic
def store(typing_context, array, index, value):
    """array[index : index + 8] = value; bounds are not checked."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address).align = 8
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def splat(typing_context, number):
    """The vector with the same number in every lane."""

    def generate(context, builder, signature, arguments):
        empty = ir.Constant(_IR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        first = builder.insert_element(empty, arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, empty, zeros)

    return vector(types.float64), generate


@intrinsic
def choose_greater(typing_context, a, b, x, y):
    """x where a > b, else y (y too where a or b is NaN)."""

    def generate(context, builder, signature, arguments):
        a, b, x, y = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), x, y)

    return vector(vector, vector, vector, vector), generate


def _llvm_function(name: str, count: int) -> Callable:
    """Code generation for a call of LLVM's own vector function of `count` vectors."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(_IR, [_IR] * count)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f64"), arguments)

    return generate


@intrinsic
def fma(typing_context, a, b, c):
    """a·b + c, rounded once."""
    return vector(vector, vector, vector), _llvm_function("fma", 3)


@intrinsic
def root(typing_context, a):
    """√a."""
    return vector(vector), _llvm_function("sqrt", 1)


@intrinsic
def magnitude(typing_context, a):
    """|a|."""
    return vector(vector), _llvm_function("fabs", 1)


@intrinsic
def with_sign(typing_context, a, b):
    """|a| with the sign of b."""
    return vector(vector, vector), _llvm_function("copysign", 2)


def _define(symbol: Callable, instruction: str) -> None:
    """An arithmetic operator of two vectors."""

    @intrinsic
    def operation(typing_context, a, b):
        def generate(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments)

        return vector(vector, vector), generate

    @overload(symbol)
    def overloaded(a, b):
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: operation(a, b)
        return None


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define(_symbol, _instruction)


def polynomial(coefficients: tuple[float, ...]) -> Callable:
    """The intrinsic z ↦ Σ_n coefficients[n] zⁿ, by Horner's rule with fused steps."""

    @intrinsic
    def evaluate(typing_context, z):
        def generate(context, builder, signature, arguments):
            step = _llvm_function("fma", 3)
            value, *rest = (ir.Constant(_IR, [c] * LANES) for c in reversed(coefficients))
            for constant in rest:
                value = step(context, builder, signature, (value, arguments[0], constant))
            return value

        return vector(vector), generate

    return evaluate
