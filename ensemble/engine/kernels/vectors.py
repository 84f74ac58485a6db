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
from numba import njit, types
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


def wide_polynomial(coefficients: tuple[float, ...]) -> Callable:
    """As `polynomial`, as four of z⁴ side by side: a long one is then no chain that a processor waits for."""

    @intrinsic
    def evaluate(typing_context, z):
        def generate(context, builder, signature, arguments):
            step, (z,) = _llvm_function("fma", 3), arguments
            square = builder.fmul(z, z)
            fourth = builder.fmul(square, square)

            def added(a, b, c):
                return step(context, builder, signature, (a, b, c))

            def part(first):
                value, *rest = (ir.Constant(_IR, [c] * LANES) for c in reversed(coefficients[first::4]))
                for constant in rest:
                    value = added(value, fourth, constant)
                return value

            return added(added(part(3), z, part(2)), square, added(part(1), z, part(0)))

        return vector(vector), generate

    return evaluate


@intrinsic
def _split(typing_context, a):
    """(e, f) with a = 2ᵉ f and f in [√½, √2), of positive normal numbers: e as a float64."""

    def generate(context, builder, signature, arguments):
        longs = ir.VectorType(ir.IntType(64), LANES)

        def constant(number):
            return ir.Constant(longs, [number] * LANES)

        bits = builder.bitcast(arguments[0], longs)
        # An arithmetic shift of 64-bit lanes is no instruction of AVX2: a bias makes every exponent positive.
        biased = builder.lshr(builder.sub(bits, constant(_ROOT_HALF - (_BIAS << 52))), constant(52))
        part = builder.sub(bits, builder.shl(builder.sub(biased, constant(_BIAS)), constant(52)))
        # The bits of 2⁵² + n end with those of a small n ≥ 0.
        number = builder.bitcast(builder.or_(biased, constant(0x4330000000000000)), _IR)
        exponent = builder.fsub(number, ir.Constant(_IR, [2.0**52 + _BIAS] * LANES))
        return context.make_tuple(builder, signature.return_type, [exponent, builder.bitcast(part, _IR)])

    return types.UniTuple(vector, 2)(vector), generate


_ROOT_HALF = 0x3FE6A09E667F3BCD
"""The bits of √½."""
_BIAS = 1100

# log((1 + s)/(1 − s)) = 2s + s·z·R(z), z = s²: the coefficients of FreeBSD's log, error below 2⁻⁵⁸.
_log_series = polynomial(
    (
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    )
)
_LN_2 = 0.6931471805599453


@njit
def log_of(a):
    """log a of positive normal numbers, to 2⁻⁵³ (1 + |log a|)."""
    exponent, part = _split(a)
    x = part - splat(1.0)
    s = x / (splat(2.0) + x)
    z = s * s
    return fma(exponent, splat(_LN_2), fma(s * z, _log_series(z), s + s))
