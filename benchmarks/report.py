"""docs/performance.md's measured part and its plots, from the benchmark's figures."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from analysis.plots import STYLE

PAGE = Path("docs/performance.md")
PLOT = Path("docs/images/performance.png")
MARK = "<!-- measured: written by `make bench`, do not edit below -->"
NAMES = {
    "numpy": "NumPy, one process a core",
    "vmap": "`jax.vmap` + `lax.while_loop` + `jnp.arccos`",
    "torch": "`torch.func.vmap`",
    "xla": "gd-atlas, XLA kernel",
    "simd": "gd-atlas, SIMD kernel",
    "ceiling": "hand-vectorised C++, sizes known to the compiler",
}


def write_report(figures: dict[str, Any]) -> None:
    """Replaces what is below the mark."""
    head = PAGE.read_text().split(MARK)[0] if PAGE.exists() else "# Performance\n\n"
    PAGE.write_text(head + MARK + "\n\n" + measured(figures))
    draw(figures)


def measured(figures: dict[str, Any]) -> str:
    sections = (
        _machine,
        _per_step,
        _to_convergence,
        *[_deep] * ("deep" in figures),
        _scaling,
        _overheads,
        _storage,
        *[_online] * ("online" in figures),
    )
    return "\n\n".join(section(figures) for section in sections) + "\n"


def _machine(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v != "unknown")
    commit = machine["commit"][:12] + (" with changes" if machine["dirty"] else "")
    return (
        f"Measured on {machine['date']}: {machine['cores']} cores ({machine['processor']}),\n"
        f"Python {machine['python']}, {versions}, commit {commit}."
    )


def _per_step(figures: dict[str, Any]) -> str:
    steps = figures["per_step"]
    sizes = sorted(steps, key=int)
    rows = []
    for name, title in NAMES.items():
        cells = []
        for k in sizes:
            value = steps[k][name]
            cells.append("not measured" if value is None else f"{value:.3g} ({value / steps[k]['simd']:.1f}×)")
        rows.append(f"| {title} | {' | '.join(cells)} |")
    head = f"| | {' | '.join(f'k = {k}' for k in sizes)} |\n|---|{'---|' * len(sizes)}"
    return (
        "## A member-step\n\n"
        "float64, relu, m = m* = d = k, plain descent on the first layer, 512 members, all cores; microseconds a\n"
        "member-step and, in brackets, how many times that of the SIMD kernel.\n\n"
    ) + "\n".join([head, *rows])


def _to_convergence(figures: dict[str, Any]) -> str:
    study = figures["to_convergence"]
    ours = study["ours"]
    return (
        "## To convergence\n\n"
        f"k = {study['k']}, {study['members']} members to a gradient norm of 1e-9; steps: median "
        f"{ours['median_steps']:.0f}, mean {ours['mean_steps']:.0f}, largest {ours['max_steps']}.\n"
        f"gd-atlas {ours['seconds']:.1f} s, everything counted (lane efficiency {ours['lane_efficiency']:.1%}); the "
        f"plain vmapped while_loop {study['vmap_seconds']:.1f} s,\nits compilation not counted: "
        f"**{study['vmap_seconds'] / ours['seconds']:.0f} times** as long."
    )


def _deep(figures: dict[str, Any]) -> str:
    found = figures["deep"]
    return (
        "## Deep students\n\n"
        f"{found['members']} members of depth 4, width 32, on 24 samples, descent to a gradient norm of 0.01 or 2 000 "
        f"steps;\nsteps: median {found['median_steps']:.0f}, mean {found['mean_steps']:.0f}, largest "
        f"{found['max_steps']}. gd-atlas {found['seconds']:.1f} s (lane efficiency {found['lane_efficiency']:.1%}), a "
        f"plain vmapped\noptax loop {found['plain_seconds']:.1f} s: "
        f"**{found['plain_seconds'] / found['seconds']:.1f} times** as long."
    )


def _scaling(figures: dict[str, Any]) -> str:
    cores, members = figures["scaling"]["cores"], figures["scaling"]["members"]
    most, largest = max(cores, key=int), max(members, key=int)
    lines = [f"- {most} cores against one at k = {k}: {cores['1'][k] / cores[most][k]:.2f}×." for k in cores[most]]
    lines.append(
        f"- {int(largest):,} members (m = m* = d = 8, 100 steps, stored): {members[largest]['seconds']:.0f} s, peak "
        f"memory {members[largest]['peak_memory_mib']:.0f} MiB."
    )
    return "## Scaling\n\n" + "\n".join(
        [f"![Scaling over cores, members, inputs and width](images/{PLOT.name})\n", *lines]
    )


def _overheads(figures: dict[str, Any]) -> str:
    found = figures["overheads"]
    first, steps = found["first_call_s"], found["steps_us"]
    begin, record, store = (
        (found[more] - found[less]) / steps
        for more, less in (("plain_us", "steps_us"), ("recorded_us", "plain_us"), ("run_us", "recorded_us"))
    )
    return (
        "## Overheads\n\n"
        f"- 8,192 members of 4,000 steps at k = 20 ({steps:.3f} µs a member-step alone): starting, drawing and "
        f"harvesting cost {begin:.0%} of the\n  steps, 40 records {record:.0%}, writing to disk {store:.0%}; "
        f"{found['run_us']:.3f} µs in all.\n"
        f"- The first call, compilation or its cache included: SIMD {first['simd']:.2f} s, once for all shapes; "
        f"xla {first['xla']:.2f} s for every shape.\n"
        f"- A study of 8 members at k = 6, from the start of the process to the result: "
        f"{found['small_study_process_s']:.1f} s."
    )


def _storage(figures: dict[str, Any]) -> str:
    found = figures["storage"]
    shards, million, dask = found["shards"], found["million"], found["dask"]
    one, most = min(dask, key=int), max(dask, key=int)
    return (
        "## Storage and clusters\n\n"
        f"- A directory of {shards['shards']:,} shards (100 members each): computed in {shards['run_s']:.1f} s, found "
        f"complete and verified by a second run in {shards['resume_s']:.1f} s,\n  opened in {shards['open_s']:.2f} s.\n"
        f"- {million['members']:,} members: run and stored in {found['million_made']['seconds']:.0f} s (peak "
        f"{found['million_made']['peak_memory_mib']:.0f} MiB); another process opens them in "
        f"{million['open_s']:.2f} s, reduces one\n  probe in {million['reduce_s']:.1f} s and collects one compressed "
        f"file of {million['bytes'] / 2**20:.0f} MiB in {million['collect_s']:.0f} s (peak "
        f"{million['peak_memory_mib']:.0f} MiB)."
        f"\n- {most} single-core Dask workers against one: {dask[one]['seconds'] / dask[most]['seconds']:.2f}×."
    )


ONLINE = {
    "simd": "gd-atlas, SIMD kernel",
    "xla": "gd-atlas, XLA kernel",
    "vmap": "`jax.vmap` over members of a loop with `optax.sgd`",
    "torch": "PyTorch, one member after another, one process a core",
    "torch_many": "PyTorch, all members of a process in one tensor, one process a core",
}


def _online(figures: dict[str, Any]) -> str:
    found = figures["online"]
    rows = []
    for name, title in ONLINE.items():
        cells = [found[batch][name] for batch in found]
        said = [
            "not measured" if value is None else f"{value:.3g} ({value / found[batch]['simd']:.1f}×)"
            for value, batch in zip(cells, found, strict=True)
        ]
        rows.append(f"| {title} | {' | '.join(said)} |")
    head = f"| | {' | '.join(f'batch {batch}' for batch in found)} |\n|---|{'---|' * len(found)}"
    return (
        "## Online descent\n\n"
        "float64, relu, m = 16, m* = 4, d = 16, fresh Gaussian samples in every step, 512 members (8 of PyTorch's one\n"
        "after another), all cores; microseconds a member-step and, in brackets, how many times that of the SIMD\n"
        "kernel.\n\n"
    ) + "\n".join([head, *rows])


def draw(figures: dict[str, Any]) -> None:
    found = figures["scaling"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(9.0, 2.4), layout="constrained")
        cores = {int(n): v for n, v in found["cores"].items()}
        for k in ("8", "20"):
            axes[0].plot(list(cores), [cores[1][k] / v[k] for v in cores.values()], "o-", label=f"k = {k}")
        axes[0].plot(list(cores), list(cores), ":", color="grey", label="ideal")
        axes[0].set(xlabel="cores", ylabel="speed-up over one core", xticks=list(cores))
        axes[0].legend()
        members = {int(n): v for n, v in found["members"].items()}
        axes[1].loglog(list(members), [v["us"] for v in members.values()], "o-")
        axes[1].set(xlabel="members (m = m* = d = 8)", ylabel="µs a member-step, whole run")
        for ax, key, label in (
            (axes[2], "inputs", "inputs d (m = 16, m* = 4)"),
            (axes[3], "width", "width m (m* = 4, d = 16)"),
        ):
            ax.loglog([int(n) for n in found[key]], list(found[key].values()), "o-")
            ax.set(xlabel=label, ylabel="µs a member-step")
        PLOT.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(PLOT)
        plt.close(figure)
