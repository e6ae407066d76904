"""Looks for files that a reader neither reads nor refuses, guided by the lines it comes to.

    python tests/support/fuzz.py --seconds 60 --out build/soak/fuzz.json [--targets status,yaml]

Each target of `fuzz_targets.py` is a process of atheris (libFuzzer), which begins with whole files
and what earlier searches kept (tests/fuzz/corpus). A finding is an error that is no refusal, a file
that takes more than ten seconds, or one for which the process grows beyond 3 GiB; its file is kept
beside the report. `--keep` adds to the corpus what comes to new lines, as few files as do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml
from strange import places

CORPUS: Final = Path(__file__).parents[1] / "fuzz" / "corpus"
# Larger files say no more of a reader, and fill the repository.
MAX_BYTES: Final = 4096
SECONDS_A_FILE: Final = 10
MEMORY_MIB: Final = 3072
# What a part of a document is exchanged for.
_ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 7, 2**31, 2**63, 10**25, 0.5, 1e300, math.inf, math.nan,
    "", "a", "a\0b", "../a", "\ud800", "1e-4", "car", "a" * 300,
    [], [[]], [0], ["a"], [None], {}, {"a": {}}, {"": []},
)  # fmt: skip
_DONE: Final = re.compile(r"^Done (\d+) (?:runs|in)|stat::number_of_executed_units:\s*(\d+)", re.M)
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+)")
_RAISED: Final = re.compile(r"=== Uncaught Python exception: ===\n(.*)", re.S)


@dataclass(frozen=True, slots=True)
class Search:
    """What one target's search came to.

    Args:
        target: its name.
        files: read.
        seconds: it took, its start included.
        covered: places in the code that were come to.
        faults: what was found, with the file that does it.
    """

    target: str
    files: int
    seconds: float
    covered: int
    faults: tuple[str, ...]


def search(target: str, *, seconds: int, seed: int, corpus: Path, kept: Path, keep: bool) -> Search:
    """Look for files that one reader does not bear.

    Args:
        target: a name of `fuzz_targets.TARGETS`.
        seconds: how long.
        seed: of the changes that are tried.
        corpus: folder of what is kept, an archive a target.
        kept: folder for files of findings.
        keep: whether the corpus takes what is new.
    """
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        mine, found, merged = (Path(folder) / name for name in ("mine", "found", "merged"))
        for each in (mine, found, merged):
            each.mkdir()
        for number, data in enumerate(kept_files(corpus, target)):
            (mine / str(number)).write_bytes(data)
        limits = [f"-max_len={MAX_BYTES}", f"-timeout={SECONDS_A_FILE}"]
        limits += [f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={folder}/finding-"]
        asked = [*limits, f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"]
        said = _run(target, [*asked, str(found), str(mine)])
        raised = _RAISED.search(said)
        why = raised[1].split("\n")[0] if raised else ""
        faults = []
        for path in sorted(Path(folder).glob("finding-*")):
            name = f"{target}-{path.name.removeprefix('finding-')}"
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept / name)
            faults.append(f"{why or path.name.split('-')[1]} ({name})")
        if why and not faults:  # by a whole or a kept file, which is not written again
            faults.append(f"{why} (of a whole or a kept file)")
        if keep and not faults:
            _run(target, [*limits, "-merge=1", str(merged), str(mine), str(found)])
            keep_files(corpus, target, [path.read_bytes() for path in merged.iterdir()])
    covered = [int(match[0]) for match in _COVERED.findall(said)]
    files = [int(a or b) for a, b in _DONE.findall(said)]
    if not covered or not (files or faults):
        faults.append(f"the search did not run: {said[-500:]}")
    took = round(time.monotonic() - begun, 1)
    return Search(target, max(files, default=0), took, max(covered, default=0), tuple(faults))


def kept_files(corpus: Path, target: str) -> list[bytes]:
    """Return what earlier searches kept of a target."""
    path = corpus / f"{target}.zip"
    if not path.exists():
        return []
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def keep_files(corpus: Path, target: str, files: Iterable[bytes]) -> None:
    """Keep files of a target, and no others; the archive is the same for the same files."""
    corpus.mkdir(parents=True, exist_ok=True)
    by_name = {hashlib.sha256(data).hexdigest()[:16]: data for data in files}
    with zipfile.ZipFile(corpus / f"{target}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(by_name.items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def _run(target: str, options: Sequence[str]) -> str:
    with TemporaryDirectory() as work:
        command = [sys.executable, __file__, "--inner", target, work, *options]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    return done.stderr + done.stdout


def changed(data: bytes, seed: int) -> bytes | None:
    """Return JSON, or YAML, with one of its parts exchanged, left out or twice; None of others."""
    with suppress(TypeError, ValueError, RecursionError, yaml.YAMLError):
        document: Any = yaml.safe_load(data) if data[:1] not in b"{[" else json.loads(data)
        ways = [way for way in places(document) if way]
        if ways:
            chance = random.Random(seed)
            *way, last = chance.choice(ways)
            part: Any = document
            for key in way:
                part = part[key]
            kind = chance.randrange(4)
            if kind == 0:
                del part[last]
            elif kind == 1 and isinstance(part, list):
                part.append(part[-1])
            else:
                part[last] = chance.choice(_ODD)
            return json.dumps(document, default=str).encode()
    return None


def inner(target: str, work: Path, options: Sequence[str]) -> None:
    """Be the process that searches; never returns."""
    atheris: Any = import_module("atheris")

    # What the readers call of others is not followed: it would be most of what is found.
    with atheris.instrument_imports(include=["uda4inst", "workbench.gate", "workbench.jobs"]):
        from fuzz_targets import TARGETS, seeds_of

    seeds, place = work / "seeds", work / "place"
    for folder in (seeds, place):
        folder.mkdir(exist_ok=True)
    for k, data in enumerate(seeds_of(target, work / "trees")):
        (seeds / str(k)).write_bytes(data[:MAX_BYTES])
    attempt = TARGETS[target].attempt

    def mutated(data: bytes, size: int, seed: int) -> bytes:
        other = changed(data, seed) if seed % 2 else None
        return atheris.Mutate(data, size) if other is None or len(other) > size else other

    # The first word is what libFuzzer starts once more, through a shell, to merge.
    again = f"{sys.executable} {__file__} --inner {target} {work}"
    atheris.Setup(
        [again, *options, str(seeds)],
        lambda data: attempt(place, data),
        custom_mutator=mutated,
    )
    atheris.Fuzz()


def main() -> None:
    if sys.argv[1:2] == ["--inner"]:
        inner(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
        return
    from fuzz_targets import TARGETS

    from uda4inst.atomic import write_json
    from uda4inst.run_folder.commit import current_commit

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS), help="names, with commas")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--keep", action="store_true", help="add what is new to the corpus")
    parser.add_argument("--out", type=Path, required=True, help="JSON of what was found")
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()

    def one(target: str) -> Search:
        done = search(
            target,
            seconds=asked.seconds,
            seed=asked.seed,
            corpus=asked.corpus,
            kept=asked.out.parent / "findings",
            keep=asked.keep,
        )
        print(f"{target}: {done.files:,} files, {', '.join(done.faults) or 'no fault'}", flush=True)
        return done

    with ThreadPoolExecutor(asked.at_once) as pool:
        searches = list(pool.map(one, asked.targets.split(",")))
    report = {
        "searches": [asdict(done) for done in searches],
        "seed": asked.seed,
        "seconds": round(time.monotonic() - begun),
        "commit": current_commit(),
    }
    write_json(asked.out, report)
    sys.exit(any(done.faults for done in searches))


if __name__ == "__main__":
    main()
