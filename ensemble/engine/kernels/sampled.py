"""The descent on samples on a CPU: eight members side by side in SIMD registers, as `descent.py` on the population.

A step's samples are drawn, or read, a few at a time and used while they are in the nearest cache. What is drawn are the
samples that `problem/risks/sample.py` draws, to rounding; sums go over samples in their order, so that a member's bits
depend on nothing but its own numbers. What a few samples give is in `sample_steps.py`.
"""

import numpy as np
from numba import njit

from ..lanes import ACTIVE, DIVERGED, RULE_MET
from .descent import _descend, _norms, _stage_values
from .draws import fold, fold_each, store_normals
from .duals import DRAWN, FRESH, LANES, SHUFFLED, WHOLE
from .sample_steps import add_slopes, errors, finish, labels, preactivations
from .vectors import choose_greater, load, root, splat, store

_ROWS = 8
"""Samples in work at once."""
_BASE, _STEP, _OF_STEP, _FIRST, _SECOND, _ROW, _WORDS = 0, 16, 24, 40, 56, 72, 88
"""Where keys lie: the lane's, its step, that of the step, two made of it, a row's; and how many words there are."""


@njit
def _places(m, mt, d, held):
    """Where arrays begin: (W, T, a, ta, P, slope, norms of W and T, inverses), (X, Y, Z, H, numbers, x, y, end)."""
    W = 0
    T = W + m * d
    a = T + mt * d
    ta = a + m
    P = ta + mt
    slope = P + m * d
    norm = slope + m
    inverse = norm + m + mt
    X = inverse + m + mt
    Y = X + _ROWS * d
    Z = Y + _ROWS
    H = Z + _ROWS * max(m, mt)
    numbers = H + _ROWS * m
    x = numbers + 7
    y = x + held * d
    L = LANES
    return (
        (W * L, T * L, a * L, ta * L, P * L, slope * L, norm * L, inverse * L),
        (X * L, Y * L, Z * L, H * L, numbers * L, x * L, y * L, (y + held) * L),
    )


def scratch_sizes(m: int, teacher_neurons: int, d: int, held: int) -> tuple[int, int]:
    """Doubles and words that a block needs."""
    return _places.py_func(m, teacher_neurons, d, held)[1][-1], _WORDS


@njit
def _draw(s, places, words, first, rows, mt, d, sigma, noisy):
    """Fresh x and labels of a step's rows `first` …, as `risks.sample.drawn` has them."""
    X, Y, Z, T, ta, norm, numbers = places
    for r in range(rows):
        fold(words, _FIRST, first + r, _ROW)
        store_normals(s, X + r * d * LANES, words, _ROW, d)
    preactivations(s, X, T, Z, rows, mt, d)
    labels(s, Z, ta, norm, Y, rows, mt, sigma)
    if noisy:
        spread, drawn = load(s, numbers + 5 * LANES), numbers + 6 * LANES
        for r in range(rows):
            fold(words, _SECOND, first + r, _ROW)
            store_normals(s, drawn, words, _ROW, 1)
            store(s, Y + r * LANES, load(s, Y + r * LANES) + spread * load(s, drawn))


@njit
def _gather(s, X, Y, words, order, upper, starts, base, x, y, kind, first, rows, d):
    """Rows `first` … of a step's batch out of the members' samples."""
    span = np.uint64(x.shape[1])
    power = (np.uint64(1) << np.uint64(32)) % span
    power = (power * power) % span
    for r in range(rows):
        if kind == DRAWN:
            # `jax.random.randint`: 128 bits modulo the count, the upper 64 under the first key of a split.
            fold(words, _FIRST, first + r, _ROW)
            for lane in range(LANES):
                upper[lane] = _long(words, lane)
            fold(words, _SECOND, first + r, _ROW)
        for lane in range(LANES):
            row = first + r
            if kind == DRAWN:
                row = np.int64(((upper[lane] % span) * power + _long(words, lane) % span) % span)
            elif kind == SHUFFLED:
                row = order[lane, starts[lane] + first + r]
            for k in range(d):
                s[X + (r * d + k) * LANES + lane] = x[base + lane, row, k]
            s[Y + r * LANES + lane] = y[base + lane, row]


@njit
def _long(words, lane):
    """The 64 bits that a hash left of a lane."""
    return (np.uint64(words[_ROW + lane]) << np.uint64(32)) | np.uint64(words[_ROW + LANES + lane])


@njit
def _shuffle(words, order, bits, starts, epochs, step, base, batch):
    """Where each lane's batch begins in the permutation of its epoch, which is made where an epoch begins."""
    count = order.shape[1]
    steps = count // batch
    changed = False
    for lane in range(LANES):
        epoch = step[base + lane] // steps
        changed |= epochs[lane] != epoch
        words[_STEP + lane] = epoch
        starts[lane] = (step[base + lane] - epoch * steps) * batch
    if not changed:
        return
    fold_each(words, _BASE, _STEP, _OF_STEP)
    for j in range(count):
        fold(words, _OF_STEP, j, _ROW)
        for lane in range(LANES):
            bits[lane, j] = _long(words, lane)
    for lane in range(LANES):
        if epochs[lane] != np.int64(words[_STEP + lane]):
            epochs[lane] = words[_STEP + lane]
            order[lane] = np.argsort(bits[lane], kind="mergesort")


@njit
def _load_block(s, base, words, moving, teacher, data, places, held):
    """The lanes' numbers into scratch."""
    W, T, a, ta = places[0][0], places[0][1], places[0][2], places[0][3]
    numbers, x, y = places[1][4], places[1][5], places[1][6]
    a_out, W_out = moving
    teacher_a, teacher_W = teacher
    keys, noise, x_of, y_of = data
    m, d, mt = W_out.shape[1], W_out.shape[2], teacher_W.shape[1]
    noisy = False
    for lane in range(LANES):
        at = base + lane
        words[_BASE + lane], words[_BASE + LANES + lane] = keys[at, 0], keys[at, 1]
        s[numbers + 5 * LANES + lane] = noise[at]
        noisy |= noise[at] != 0.0
        for i in range(m):
            s[a + i * LANES + lane] = a_out[at, i]
            for k in range(d):
                s[W + (i * d + k) * LANES + lane] = W_out[at, i, k]
        for j in range(mt):
            s[ta + j * LANES + lane] = teacher_a[at, j]
            for k in range(d):
                s[T + (j * d + k) * LANES + lane] = teacher_W[at, j, k]
        for r in range(held):
            for k in range(d):
                s[x + (r * d + k) * LANES + lane] = x_of[at, r, k]
            s[y + r * LANES + lane] = y_of[at, r]
    return noisy


@njit
def _wake(base, moving, stage, snapshots, record_steps, changes, s, a, W, numbers):
    """How many lanes take a step; η, λ and masks of each, and what is due put aside."""
    _, W_out, step, code, record, decay_used, step_size_used = moving
    start_step, end_step, step_sizes, step_every, decays, decay_every, moves_output, moves_first, _ = stage
    taken_a, taken_W, taken_decay, taken_step_size, taken = snapshots
    m, d, slots = W_out.shape[1], W_out.shape[2], taken_decay.shape[1]
    eta, lam, out_mask, first_mask = numbers, numbers + LANES, numbers + 2 * LANES, numbers + 3 * LANES
    awake = 0
    for lane in range(LANES):
        at = base + lane
        s[out_mask + lane] = s[first_mask + lane] = 0.0
        if code[at] != ACTIVE or step[at] >= end_step[at]:
            continue
        due = step[at] == record_steps[record[at]]
        if due and taken[at] == slots:
            continue
        if step[at] >= changes[lane]:
            changes[lane] = _stage_values(
                at, lane, step, start_step, step_sizes, step_every, decays, decay_every, s, eta, lam
            )
        awake += 1
        decay_used[at], step_size_used[at] = s[lam + lane], s[eta + lane]
        s[out_mask + lane] = 1.0 if moves_output[at] else 0.0
        s[first_mask + lane] = 1.0 if moves_first[at] else 0.0
        if due:
            slot = taken[at]
            for i in range(m):
                taken_a[at, slot, i] = s[a + i * LANES + lane]
                for k in range(d):
                    taken_W[at, slot, i, k] = s[W + (i * d + k) * LANES + lane]
            taken_decay[at, slot], taken_step_size[at, slot] = s[lam + lane], s[eta + lane]
            taken[at] += 1
            record[at] += 1
    return awake


@njit
def _settle(base, moving, tolerance, limit, s, numbers, output, first):
    """What a step's gradient says of each lane: it moves, or has met its rule, or diverged."""
    _, _, step, code, _, _, _ = moving
    out_mask, first_mask, squares = numbers + 2 * LANES, numbers + 3 * LANES, numbers + 4 * LANES
    half, zero = splat(0.5), splat(0.0)
    output = choose_greater(load(s, out_mask), half, output, zero)
    first = choose_greater(load(s, first_mask), half, first, zero)
    store(s, squares, root(output + first))
    for lane in range(LANES):
        at = base + lane
        if s[out_mask + lane] + s[first_mask + lane] == 0.0:
            continue
        if not s[squares + lane] < limit:
            code[at] = DIVERGED
        elif s[squares + lane] <= tolerance[at]:
            code[at] = RULE_MET
        else:
            step[at] += 1
            continue
        s[out_mask + lane] = s[first_mask + lane] = 0.0


@njit(nogil=True, cache=True)
def advance_sampled(
    blocks,
    moving,
    stage,
    teacher,
    data,
    aside,
    record_steps,
    budget,
    sigmas,
    limit,
    kind,
    batch,
    held,
    s,
    words,
    executed,
):
    """Advances the blocks of eight lanes from blocks[0] to blocks[1] − 1 by up to `budget` steps each, in place.

    As `descent.advance_blocks`; `data` are keys, noise, x and y of the lanes, of which `kind` says what is read, and
    `held` how many samples stay in scratch; `sigmas`, four numbers of the student's activation and of the teacher's.
    """
    a_out, W_out, step = moving[0], moving[1], moving[2]
    m, d, mt = W_out.shape[1], W_out.shape[2], teacher[1].shape[1]
    count = data[2].shape[1]
    places = _places(m, mt, d, held)
    (W, T, a, ta, P, slope, norm, inverse), (X, Y, Z, H, numbers, x, y, _) = places
    sigma, teacher_sigma = sigmas
    changes, starts, epochs = np.empty(LANES, np.int64), np.empty(LANES, np.int64), np.empty(LANES, np.int64)
    upper, order = np.empty(LANES, np.uint64), np.empty((LANES, count if kind == SHUFFLED else 0), np.int64)
    bits = np.empty(order.shape, np.uint64)
    sum_of_errors = numbers + 4 * LANES
    for block in range(blocks[0], blocks[1]):
        base = block * LANES
        changes[:], epochs[:] = -1, -1
        aside[4][base : base + LANES] = 0
        noisy = _load_block(s, base, words, (a_out, W_out), teacher, data, places, held)
        _norms(s, T, norm + m * LANES, inverse + m * LANES, 0, mt, d)
        ran = 0
        while ran < budget:
            if _wake(base, moving, stage, aside, record_steps, changes, s, a, W, numbers) == 0:
                break
            if kind == SHUFFLED:
                _shuffle(words, order, bits, starts, epochs, step, base, batch)
            elif kind != WHOLE:
                words[_STEP : _STEP + LANES] = step[base : base + LANES]
                fold_each(words, _BASE, _STEP, _OF_STEP)
                fold(words, _OF_STEP, 0, _FIRST)
                fold(words, _OF_STEP, 1, _SECOND)
            if sigma[2] != 0.0:
                _norms(s, W, norm, inverse, 0, m, d)
            for begin in range(0, batch, _ROWS):
                rows = min(_ROWS, batch - begin)
                X_now = X
                if kind == FRESH:
                    fresh = X, Y, Z, T, ta, norm + m * LANES, numbers
                    _draw(s, fresh, words, begin, rows, mt, d, teacher_sigma, noisy)
                elif held > 0:
                    X_now = x + begin * d * LANES
                    for r in range(rows):
                        store(s, Y + r * LANES, load(s, y + (begin + r) * LANES))
                else:
                    _gather(s, X, Y, words, order, upper, starts, base, data[2], data[3], kind, begin, rows, d)
                preactivations(s, X_now, W, Z, rows, m, d)
                errors(s, Z, H, a, norm, Y, rows, m, sigma, 1.0 / batch)
                add_slopes(s, Z, H, X_now, Y, P, slope, sum_of_errors, rows, m, d, begin == 0)
            output, first = finish(s, W, a, P, slope, inverse, sum_of_errors, load(s, numbers + LANES), m, d, sigma)
            _settle(base, moving, stage[8], limit, s, numbers, output, first)
            _descend(s, a, slope, load(s, numbers + 2 * LANES), load(s, numbers), m)
            _descend(s, W, P, load(s, numbers + 3 * LANES), load(s, numbers), m * d)
            ran += 1
        executed[block] = ran
        for lane in range(LANES):
            at = base + lane
            for i in range(m):
                a_out[at, i] = s[a + i * LANES + lane]
                for k in range(d):
                    W_out[at, i, k] = s[W + (i * d + k) * LANES + lane]
