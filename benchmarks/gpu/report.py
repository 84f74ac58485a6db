"""The table of compiled programs in docs/performance.md."""

from pathlib import Path
from typing import Any

from .compiling import bound

PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- compiled: written by `make gpu-compile` -->", "<!-- end of compiled -->"
COLUMNS = (
    ("card", lambda f: f["card"]),
    ("program", lambda f: f"`{f['kernel']}` {f['update']} {f['precision']}"),
    ("m, d", lambda f: f"{f['neurons']}, {f['inputs']}"),
    ("lanes a call", lambda f: f"{f['lanes_a_call']}"),
    ("kernels a step", lambda f: "in one" if f["kernel"] == "fused" else f"{f['kernels_a_step']:.2f}"),
    ("threads", lambda f: f"{f['threads']}"),
    ("registers", lambda f: f"{f['registers']}"),
    ("spilled bytes", lambda f: f"{f['spilled_bytes']}"),
    ("occupancy", lambda f: f"{f['occupancy']:.0%}"),
    ("KB a member-step", lambda f: f"{f['bytes'] / 1e3:.1f}"),
    ("instructions a member-step", lambda f: f"{f['instructions']:.0f}"),
    ("ns by memory", lambda f: f"{f['ns_by_memory']:.2f}"),
    ("ns by arithmetic", lambda f: f"{f['ns_by_arithmetic']:.2f}"),
    ("ns by what is issued", lambda f: f"{f['ns_by_issue']:.2f}" if f.get("ns_by_issue") else "—"),
    ("bound, ns", lambda f: f"**{bound(f):.2f}**"),
)


def table(found: list[dict[str, Any]]) -> str:
    head = [" | ".join(title for title, _ in COLUMNS), " | ".join("---" for _ in COLUMNS)]
    rows = [" | ".join(cell(f) for _, cell in COLUMNS) for f in found]
    return "\n".join(f"| {row} |" for row in (*head, *rows))


def write_table(found: list[dict[str, Any]]) -> None:
    """Puts the table between its marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{after}")
