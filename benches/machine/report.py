"""Tables of Markdown, and the sections of the file of results, each of which one program writes."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Mapping, Tuple

from verdicts import ORDER, Row, Table, Verdict

TITLE = "# Results\n"
Key = Tuple[str, str, str]


def write_section(file: Path, title: str, body: str) -> None:
    """Replaces the section of this title, which goes until the next one, or adds it at the end; the others stay."""
    old = file.read_text() if file.exists() else TITLE
    head, *sections = ("\n" + old).split("\n## ")
    section = f"{title}\n\n{body.strip()}\n"
    at = next((at for at, known in enumerate(sections) if known.split("\n", 1)[0] == title), None)
    if at is None:
        sections.append(section)
    else:
        sections[at] = section
    file.write_text("\n\n## ".join(part.strip("\n") for part in (head, *sections)) + "\n")


def number(value: float) -> str:
    """A number for people."""
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    for bound, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= bound:
            return f"{value / bound:.4g} {sign}"
    return f"{value:.4g}"


def table(found: Table, meant: Mapping[Key, str]) -> Tuple[str, Dict[Verdict, int]]:
    """A table for each scope with a line for each number, and how many numbers have which verdict.

    Rows that are `meant` otherwise by their source are told and do not count.
    """
    by_number: Dict[Tuple[str, str], List[Row]] = {}
    for scope, name, source in sorted(found.rows):
        # The spreads of one history are one number.
        by_number.setdefault((scope, name.partition(" (")[0]), []).append(found.rows[scope, name, source])
    totals = {verdict: 0 for verdict in Verdict}
    parts: List[str] = []
    for (scope, name), rows in by_number.items():
        if not parts or not parts[-1].startswith(f"### {scope}\n"):
            parts.append(
                f"### {scope}\n\n| number | worst at | ours | independent | off, by source | readings | verdict |\n"
                "|---|---|---|---|---|---|---|"
            )
        counted = [row for row in rows if (row.scope, row.number, row.source) not in meant]
        if not counted:
            continue
        verdict = max((row.verdict for row in counted), key=ORDER.index)
        totals[verdict] += 1
        parts[-1] += "\n" + _line(name, rows, counted, verdict, meant)
    return "\n\n".join(parts), totals


def _line(name: str, rows: List[Row], counted: List[Row], verdict: Verdict, meant: Mapping[Key, str]) -> str:
    worst = max(counted, key=lambda row: (ORDER.index(row.verdict), row.off_percent, abs(row.ours)))
    offs: Dict[str, float] = {}
    for row in counted:
        offs[row.source] = max(offs.get(row.source, 0.0), row.off_percent)
    told = [f"{source} {off:.2f} %" for source, off in offs.items()]
    told += [f"{row.source} (a)" for row in rows if (row.scope, row.number, row.source) in meant]
    cells = [
        f"`{name}`", worst.where.replace("|", "/"), number(worst.ours), number(worst.theirs), ", ".join(told),
        str(sum(row.readings for row in rows)), verdict.value,
    ]
    if worst.is_words:
        cells[1:4] = ["", "as told", "the same"] if verdict is Verdict.EQUAL else [cells[1], "", ""]
    return f"| {' | '.join(cells)} |"
