"""Writes what the soak found as Markdown, or into a page between two marks.

python tests/support/soak_report.py build/soak [--into docs/reliability.md]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from uda4inst.atomic import write_whole

BEGIN, END = "<!-- soak -->", "<!-- end of soak -->"
_SUITE: Final = "suite"  # whose trainers may outlive it
_SLOW_MS: Final = 300
_WAVE_SHARE: Final = 0.5  # of what the first pages took; later ones use it again


def report(folder: Path) -> str:
    """Return the report of a folder in which the soak left its files; what did not run is said."""
    parts = [
        part(json.loads(path.read_text(encoding="utf-8")))
        if (path := folder / name).exists()
        else f"{name} is not there: that part was not run.\n"
        for name, part in (
            ("kills.json", kills),
            ("long_run.json", long_run),
            ("fuzz.json", searches),
            ("app.json", app),
        )
    ]
    return "\n".join(parts)


def kills(found: Mapping[str, Any]) -> str:
    trials = found["trials_in_full"]
    every = [(trial["scenario"], kill) for trial in trials for kill in trial["kills"]]
    gone = [
        kill["gone_after"]
        for scenario, kill in every
        if scenario != _SUITE or kill["way"] == "tree"
    ]
    seeds = sorted(trial["seed"] for trial in trials)
    first, tree = (found["by_way"].get(way, 0) for way in ("first", "tree"))
    lines = [
        f"**{found['kills']} kills** in {found['trials']} trainings, {first} of the first process "
        f"alone and {tree} of the whole tree; "
        f"seeds {seeds[0]} to {seeds[-1]}; {found['seconds'] / 60:.0f} minutes; commit "
        f"`{found['commit']}`. **Faults: {found['faults']}.** No process was left after at most "
        f"{max(gone, default=0):.1f} s (trainers that outlive a suite not counted).",
        "",
        "| training | trainings | kills | at |",
        "|---|---|---|---|",
    ]
    for scenario in found["by_scenario"]:
        seen = Counter(kill["seen"] for name, kill in every if name == scenario)
        number = sum(trial["scenario"] == scenario for trial in trials)
        where = ", ".join(f"{what} {count}" for what, count in seen.most_common())
        lines.append(f"| {scenario} | {number} | {found['by_scenario'][scenario]} | {where} |")
    lines += [f"- {fault}" for fault in _faults(trials)]
    return "\n".join(lines) + "\n"


def _faults(trials: list[dict[str, Any]]) -> Iterator[str]:
    for trial in trials:
        found = [*trial["faults"], *(fault for kill in trial["kills"] for fault in kill["faults"])]
        for fault in found:
            yield f"{trial['scenario']}, seed {trial['seed']}: {fault}"


def long_run(found: Mapping[str, Any]) -> str:
    lines = [
        f"**{found['steps']:,} simulated steps** ({found['hours_at_0.3_s_a_step']} hours at 0.3 s "
        f"a step) in {found['seconds'] / 60:.0f} minutes; commit `{found['commit']}`. "
        f"**Faults: {len(found['faults'])}.**",
        "",
        "| step | memory, MiB | descriptors | threads | files | metrics, MiB | log, KiB | "
        "everything else, MiB | all metrics read in, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found["looks"]:
        lines.append(
            f"| {one['step']:,} | {one['memory_mib']:.0f} | {one['descriptors']} | "
            f"{one['threads']} | {one['files']} | {one['metrics_bytes'] / 2**20:.1f} | "
            f"{one['log_bytes'] / 2**10:.0f} | {one['other_bytes'] / 2**20:.1f} | "
            f"{one['read_seconds']:.2f} |"
        )
    lines += [f"- {fault}" for fault in found["faults"]]
    return "\n".join(lines) + "\n"


def searches(found: Mapping[str, Any]) -> str:
    every = sorted(found["searches"], key=lambda one: one["target"])
    faults = [f"{one['target']}: {fault}" for one in every for fault in one["faults"]]
    files = sum(one["files"] for one in every)
    least = min(every, key=lambda one: one["files"])
    lines = [
        f"**{files:,} files** read by {len(every)} readers, {least['files']:,} "
        f"({least['target']}) or more by each; seed {found['seed']}; "
        f"{found['seconds'] / 60:.0f} minutes; commit `{found['commit']}`. "
        f"**Faults: {len(faults)}.**",
        "",
        *(f"- {fault}" for fault in faults),
    ]
    return "\n".join(lines).rstrip() + "\n"


def app(found: Mapping[str, Any]) -> str:
    times, speeds, memory = (
        found[key] for key in ("ms", "steps_per_second", "MiB_by_wave_of_sessions")
    )
    faults = list(found["failures"])
    if times["p95"] >= _SLOW_MS:
        faults.append(f"95 of 100 refreshes took up to {times['p95']} ms")
    if memory and memory[-1] - memory[1] > _WAVE_SHARE * (memory[1] - memory[0]):
        faults.append("closed pages are not given back")
    lines = [
        f"**{found['clients']} browsers** that refresh the Train page every 2 s beside a training: "
        f"{found['refreshes']} refreshes, median {times['median']} ms, 95 of 100 below "
        f"{times['p95']} ms, longest {times['longest']} ms; steps a second before, with "
        f"and after them {', '.join(str(speed or 'unknown') for speed in speeds.values())}. Memory "
        f"before, and after each time that {found['sessions']} pages came and went: "
        f"{', '.join(map(str, memory))} MiB. Commit `{found['commit']}`. "
        f"**Faults: {len(faults)}.**",
        "",
        *(f"- {fault}" for fault in faults),
    ]
    return "\n".join(lines).rstrip() + "\n"


def into(page: str, text: str) -> str:
    """Return a page with the text between its marks.

    Raises:
        ValueError: it has none.
    """
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"page must have the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="in which the parts of the soak left their files")
    parser.add_argument("--into", type=Path, help="page to write the report into")
    asked = parser.parse_args()
    text = report(asked.folder)
    write_whole(asked.folder / "report.md", text)
    if asked.into is not None:
        write_whole(asked.into, into(asked.into.read_text(encoding="utf-8"), text))
    print(text)


if __name__ == "__main__":
    main()
