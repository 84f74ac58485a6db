"""What eight lanes do between two steps on a CPU: who goes, what is put aside, and who has come to an end."""

from numba import njit

from ..lanes import ACTIVE, DIVERGED, RULE_MET
from .descent import _stage_values
from .duals import LANES
from .vectors import choose_greater, load, root, splat, store


@njit
def wake(base, moving, stage, snapshots, record_steps, changes, s, a, W, numbers):
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
def settle(base, moving, tolerance, limit, s, numbers, output, first):
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
