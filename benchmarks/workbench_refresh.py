"""What one refresh of the Train page costs the server at 10,000 logged steps.

    python benchmarks/workbench_refresh.py RUN [--steps 10000] [--ticks 20]

RUN is any finished uda4inst run: its own metrics.jsonl lines are repeated, renumbered, up to the
number of steps, in a temporary copy. Then the page's work is timed: reading what is new, thinning
it to plot points and drawing the curves; first with everything unread, then with one new line a
tick, as while training.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from workbench.pages.train.monitor import curves
from workbench.stores.metrics import SeriesReader


def refresh(reader: SeriesReader) -> tuple[float, float]:
    """Return wall and processor milliseconds of one refresh."""
    wall, processor = time.perf_counter(), time.process_time()
    curves(reader.series())
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


def main() -> None:
    """Time the first refresh and the following ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--ticks", type=int, default=20)
    arguments = parser.parse_args()
    lines = [json.loads(x) for x in (arguments.run / "metrics.jsonl").read_text().splitlines()]
    stage2 = [line for line in lines if line["stage"] == 2] or lines
    wanted = itertools.islice(itertools.cycle(stage2), arguments.steps + arguments.ticks)
    texts = [json.dumps(line | {"step": step}) + "\n" for step, line in enumerate(wanted)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        path.write_text("".join(texts[: arguments.steps]))
        reader = SeriesReader(path)
        wall, processor = refresh(reader)
        print(f"first refresh: {wall:.0f} ms (processor {processor:.0f} ms)")
        times = []
        for text in texts[arguments.steps :]:
            with path.open("a") as file:
                file.write(text)
            times.append(refresh(reader))
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"later refreshes, one new line each: {wall:.0f} ms (processor {processor:.0f} ms)")


if __name__ == "__main__":
    main()
