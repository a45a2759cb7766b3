"""What is said around the table: how it was made, and where a source means something else by the same name."""

from __future__ import annotations

from typing import Dict, Mapping, Tuple

from report import table
from verdicts import Table, Verdict

_PODMAN = "Podman 4.3 fills in none in Docker's form"
_PODMAN_MODES = "Podman 4.3 tells what the clock's ticks met, of which the sum is not all"
_LXD_SWAP = (
    "LXD and Incus take the difference of two counters that they read one after the other, so without any swap it is"
    " what the memory grew meanwhile"
)
# By scope, number and source: what the source means instead. Such rows are told and do not count.
MEANT: Dict[Tuple[str, str, str], str] = {
    ("container", "cpu.throttled_periods", "podman"): _PODMAN,
    ("container", "cpu.throttled_seconds", "podman"): _PODMAN,
    ("container", "cpu.user_seconds", "podman"): _PODMAN_MODES,
    ("container", "cpu.system_seconds", "podman"): _PODMAN_MODES,
    ("container", "memory.swap_bytes", "lxd"): _LXD_SWAP,
    ("container", "memory.swap_bytes", "incus"): _LXD_SWAP,
    ("machine", "memory.cached_bytes", "psutil"): "psutil adds what the kernel holds in slabs and can give back",
    ("machine", "memory.used_bytes", "psutil"): (
        "psutil takes what is neither free nor cache nor buffers, we what is not available"
    ),
    ("process", "user", "psutil"): "psutil tells the user here, we the one inside of a container that counts by itself",
}

TEXT = """Written by `benches/machine/truth.py`: {seconds:.0f} s of live use, a look each second, on {nodes},
each with five containers: a processor burner that its limit holds back, a memory hog, one whose child the kernel ends
for want of memory, a reader and writer of the disk past the page cache, a sender on the network. The script read the
kernel's files ten times a second beside it, asked psutil, and asked each engine for its own statistics.

**{count} numbers: {counts}.**

*Equal* is: between the independent reading just before and the one just after ours, every time, and for what is told in
words the same. *Within one interval*: more than 2 % beside these, and within what the number was in the second before
or after. *Off, by source* is the worst over all containers: of counters how far the growth over the whole time is off,
of rates and histories how far the mean is from the difference quotient of the counter over the same time, of amounts
how far a reading is outside of those around it. What comes in bursts is only known to lie between two readings, and
there it is how far it is outside. *Ours* and *independent* are those of the worst, of counters the growth. A history is
its least, mean and greatest in steps of ten seconds. File systems and limits are read anew every eighth and sixteenth
look only. A process's memory in its history is what `stat` tells, which newer kernels let be off by some hundred
kilobytes for each processor; what it is now is exact.

{tables}

(a) The source means something else by the name, and does not count:

{meant}

No independent source tells: {alone}."""


def body(found: Table, nodes: Mapping[str, str], seconds: float) -> Tuple[str, int]:
    """The section, and how many numbers are off."""
    tables, totals = table(found, MEANT)
    alone = ", ".join(f"`{number}` ({scope})" for scope, number in found.missing()) or "none"
    counts = ", ".join(f"{count} {verdict.value}" for verdict, count in totals.items())
    meant = "\n".join(
        f"* `{number}` by {source}: {why}." for (scope, number, source), why in MEANT.items()
        if (scope, number, source) in found.rows
    )
    return TEXT.format(
        seconds=seconds, nodes=", ".join(nodes), count=sum(totals.values()), counts=counts, tables=tables, meant=meant,
        alone=alone,
    ), totals[Verdict.OFF]
