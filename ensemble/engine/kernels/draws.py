"""JAX's own random draws for eight members at once: the same bits of threefry, the same normal numbers to rounding.

Each lane has a key of its own, two words of 32 bits: `words[at : at + 8]` holds the first word of eight lanes and
`words[at + 8 : at + 16]` the second. `fold` is `jax.random.fold_in`, and the k-th number of `jax.random.normal(key,
(d,))` comes from the hash of k under the key, so that numbers can be drawn one after another, in any order.
"""

# pyright: reportCallIssue=false
# An intrinsic's first parameter, the typing context, is Numba's to give.

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .duals import LANES
from .vectors import choose_greater, fma, load, log_of, polynomial, root, splat, store, vector, wide_polynomial

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_WORDS, _LONGS = ir.VectorType(_I32, LANES), ir.VectorType(_I64, LANES)
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def _constant(number: int, kind: Any = _WORDS) -> ir.Constant:
    return ir.Constant(kind, [number] * LANES)


def _threefry(builder: Any, keys: Sequence[Any], counters: Sequence[Any]) -> list[list[Any]]:
    """Threefry 2×32 with 20 rounds (Salmon et al. 2011) of the counters (0, c), lane by lane.

    Several counters side by side: each hash is one long chain, and a processor works on several at once.
    """
    k0, k1 = keys
    k2 = builder.xor(builder.xor(k0, k1), _constant(_PARITY))
    schedule = (k0, k1, k2)
    states = [[k0, builder.add(counter, k1)] for counter in counters]
    for group in range(5):
        for places in _ROTATIONS[group % 2]:
            for x in states:
                x[0] = builder.add(*x)
            left = [builder.shl(x[1], _constant(places)) for x in states]
            right = [builder.lshr(x[1], _constant(32 - places)) for x in states]
            turned = [builder.or_(a, b) for a, b in zip(left, right, strict=True)]
            for x, y in zip(states, turned, strict=True):
                x[1] = builder.xor(y, x[0])
        added = builder.add(schedule[(group + 2) % 3], _constant(group + 1))
        for x in states:
            x[0], x[1] = builder.add(x[0], schedule[(group + 1) % 3]), builder.add(x[1], added)
    return states


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _WORDS.as_pointer())


def _load(context: Any, builder: Any, array_type: Any, array: Any, index: Any, offset: int = 0) -> Any:
    place = builder.add(index, ir.Constant(index.type, offset))
    value = builder.load(_address(context, builder, array_type, array, place))
    value.align = 4
    return value


def _store(context: Any, builder: Any, array_type: Any, array: Any, index: Any, values: Sequence[Any]) -> None:
    for number, value in enumerate(values):
        place = builder.add(index, ir.Constant(index.type, number * LANES))
        builder.store(value, _address(context, builder, array_type, array, place)).align = 4


def _splat(builder: Any, number: Any) -> Any:
    """The same word, the lower 32 bits of an integer, in every lane."""
    word = builder.trunc(number, _I32) if number.type.width > 32 else number
    empty = ir.Constant(_WORDS, ir.Undefined)
    first = builder.insert_element(empty, word, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, empty, _constant(0))


@intrinsic
def fold(typing_context, words, at, number, to):
    """The keys at `to` become `fold_in(key at `at`, number)` of every lane."""

    def generate(context, builder, signature, arguments):
        words, at, number, to = arguments
        kind = signature.args[0]
        keys = [_load(context, builder, kind, words, at, offset) for offset in (0, LANES)]
        (found,) = _threefry(builder, keys, [_splat(builder, number)])
        _store(context, builder, kind, words, to, found)
        return context.get_dummy_value()

    return types.void(words, at, number, to), generate


@intrinsic
def fold_each(typing_context, words, at, numbers, to):
    """As `fold`, with a number of each lane's own: eight words at `numbers`."""

    def generate(context, builder, signature, arguments):
        words, at, numbers, to = arguments
        kind = signature.args[0]
        keys = [_load(context, builder, kind, words, at, offset) for offset in (0, LANES)]
        (found,) = _threefry(builder, keys, [_load(context, builder, kind, words, numbers)])
        _store(context, builder, kind, words, to, found)
        return context.get_dummy_value()

    return types.void(words, at, numbers, to), generate


def _uniforms(count: int) -> Callable:
    """The intrinsic `(words, at, number)` ↦ `count` vectors f in [0, 1), multiples of 2⁻⁵²: those that JAX makes of
    the 64-bit draws `number`, `number` + 1, … of the keys at `at`."""

    @intrinsic
    def uniforms(typing_context, words, at, number):
        def generate(context, builder, signature, arguments):
            words, at, number = arguments
            kind = signature.args[0]
            keys = [_load(context, builder, kind, words, at, offset) for offset in (0, LANES)]
            first = _splat(builder, number)
            hashes = _threefry(builder, keys, [builder.add(first, _constant(k)) for k in range(count)])
            one, double = _constant(0x3FF0000000000000, _LONGS), context.get_value_type(vector)
            found = []
            for high, low in hashes:
                upper = builder.shl(builder.zext(high, _LONGS), _constant(20, _LONGS))
                lower = builder.lshr(builder.zext(low, _LONGS), _constant(12, _LONGS))
                between = builder.bitcast(builder.or_(builder.or_(upper, lower), one), double)
                found.append(builder.fsub(between, ir.Constant(double, [1.0] * LANES)))
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(vector, count)(words, at, number), generate

    return uniforms


_one_uniform, _four_uniforms = _uniforms(1), _uniforms(4)


# Giles' polynomials for erf⁻¹(u)/u in w = −log(1 − u²), as XLA has them: below 6.25, below 16, and beyond.
_NEAR = wide_polynomial(
    (
        1.6536545626831027356,
        0.24015818242558961693,
        -0.0060336708714301490533,
        -0.00074070253416626697512,
        0.0001867342080340571352,
        -1.3882523362786468719e-05,
        -1.3654692000834678645e-06,
        4.2347877827932403518e-07,
        -2.9070369957882005086e-08,
        -4.1126339803469836976e-09,
        1.051212273321532285e-09,
        -5.4154120542946279317e-11,
        -1.2975133253453532498e-11,
        2.6335093153082322977e-12,
        -8.1519341976054721522e-14,
        -4.0545662729752068639e-14,
        6.6376381343583238325e-15,
        2.0972767875968561637e-17,
        -1.333171662854620906e-16,
        1.115787767802518096e-17,
        1.2858480715256400167e-18,
        -1.685059138182016589e-19,
        -3.6444120640178196996e-21,
    )
)
_FAR = polynomial(
    (
        3.0838856104922207635,
        1.0052589676941592334,
        0.005370914553590063617,
        -0.0037512085075692412107,
        0.0024914420961078508066,
        -0.0016882755560235047313,
        0.00095328937973738049703,
        -0.0003550375203628474796,
        2.4031110387097893999e-05,
        6.8284851459573175448e-05,
        -4.7318229009055733981e-05,
        1.2475304481671778723e-05,
        2.9234449089955446044e-06,
        -4.013867526981545969e-06,
        1.5027403968909827627e-06,
        1.8239629214389227755e-08,
        -2.7517406297064545428e-07,
        9.0756561938885390979e-08,
        2.2137376921775787049e-09,
    )
)
_FARTHEST = polynomial(
    (
        4.8499064014085844221,
        1.0103004648645343977,
        -0.00013871931833623122026,
        -0.00021503011930044477347,
        7.5995277030017761139e-05,
        -1.9681778105531670567e-05,
        4.5260625972231537039e-06,
        -9.9298272942317002539e-07,
        2.2900482228026654717e-07,
        -6.7711997758452339498e-08,
        2.9147953450901080826e-08,
        -1.4960026627149240478e-08,
        7.6157012080783393804e-09,
        -3.7894654401267369937e-09,
        1.5076572693500548083e-09,
        -2.5556418169965252055e-10,
        -2.7109920616438573243e-11,
    )
)
_SQRT_2 = math.sqrt(2.0)
_LOWEST = math.nextafter(-1.0, 0.0)


@njit
def store_normals(s, to, words, at, count):
    """s[to + 8k …] becomes number k of `jax.random.normal(key, …)` of the eight keys at `at`, k < `count`."""
    # In two passes: the hashes need all registers of an older processor, and so do the polynomials.
    for k in range(0, count - 3, 4):
        f0, f1, f2, f3 = _four_uniforms(words, at, k)
        store(s, to + k * LANES, f0)
        store(s, to + (k + 1) * LANES, f1)
        store(s, to + (k + 2) * LANES, f2)
        store(s, to + (k + 3) * LANES, f3)
    for k in range(count - count % 4, count):
        store(s, to + k * LANES, _one_uniform(words, at, k)[0])
    for k in range(to, to + count * LANES, LANES):
        store(s, k, _normal(load(s, k)))


@njit
def _normal(f):
    """√2 erf⁻¹(u) of u = 2f − 1, with JAX's least u above −1; −log(1 − u²) is of the rounded square, as XLA has it."""
    near = splat(6.25)
    u = fma(splat(2.0), f, splat(_LOWEST))
    w = splat(0.0) - log_of(splat(1.0) - u * u)
    ratio = _NEAR(w - splat(3.125))
    if any_greater(w, near):
        size = root(w)
        beyond = choose_greater(splat(16.0), w, _FAR(size - splat(3.25)), _FARTHEST(size - splat(5.0)))
        ratio = choose_greater(w, near, beyond, ratio)
    return splat(_SQRT_2) * (ratio * u)


@intrinsic
def any_greater(typing_context, a, b):
    """Whether a > b in any lane."""

    def generate(context, builder, signature, arguments):
        found = builder.fcmp_ordered(">", *arguments)
        bits = builder.bitcast(found, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(vector, vector), generate
