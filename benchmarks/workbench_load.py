"""What many browsers ask of the app while a training runs, and what they cost it.

    python benchmarks/workbench_load.py [RUNS --watch RUN] [--clients 20] [--seconds 60]

RUNS is a folder of runs; without, stage 2 of toystreets_demo is trained meanwhile. The app is
started on it as users start it, and every client asks it for the Train page of RUN every two
seconds, by the requests that a browser sends. Printed are the time of a refresh (median, 95th
percentile, longest), the app's processor time and memory, and how fast RUN trains before, with and
after the clients, where it is at work. With --sessions so many browsers come first and go, three
times, and the app's memory is taken before, and after each time; that it forgets them after a
second instead of an hour is asked for by GRADIO_IS_E2E_TEST=1, a switch of Gradio's.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from uda4inst.atomic import write_whole
from uda4inst.run_folder.commit import current_commit
from uda4inst.run_folder.layout import RunDir
from uda4inst.run_folder.status import load_status, read_status

ROOT = Path(__file__).parents[1]
EVERY = 2.0
_PATIENCE = 300.0
_FORGETTING = 5.0
_WAVES = 3
_PRESET = "toystreets_demo"
# Stage 2 alone, whose steps cost alike, and longer than anybody measures.
_LENGTH = ("training.stage1_steps=5", "training.stage2_steps=10000")
_FIRST_STEPS = 10


class Client:
    """One browser: a session of its own, which asks as the page does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = uuid.uuid4().hex[:12]
        self._cookie = ""
        page = self._ask("GET", "/")
        found = re.search(r"window\.gradio_config = (\{.*?\});\s*</script>", page, re.DOTALL)
        config = json.loads(found[1]) if found else json.loads(self._ask("GET", "/config"))
        self._events = {one["api_name"]: one for one in config["dependencies"]}

    def call(self, name: str, *values: object) -> tuple[float, int]:
        """Have an event happen; return seconds until its answer, and the answer's bytes."""
        event = self._events[name]
        data = [*values, *[None] * (len(event["inputs"]) - len(values))]
        begun = time.perf_counter()
        body = {"data": data, "fn_index": event["id"], "session_hash": self._session}
        self._ask("POST", "/gradio_api/queue/join", json.dumps(body))
        answer = self._ask("GET", f"/gradio_api/queue/data?session_hash={self._session}")
        if '"process_completed"' not in answer or '"success":true' not in answer.replace(" ", ""):
            raise RuntimeError(f"{name} was not answered: {answer[-300:]}")
        return time.perf_counter() - begun, len(answer)

    def stay(self) -> None:
        """Keep the line open that a page keeps open while it is there."""
        self._line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        path = f"/gradio_api/heartbeat/{self._session}"
        self._line.request("GET", path, headers={"Cookie": self._cookie})
        self._answer = self._line.getresponse()
        if self._answer.status != 200:
            raise RuntimeError(f"GET {path}: {self._answer.status}")

    def leave(self) -> None:
        """Close the page."""
        self._answer.close()
        self._line.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> str:
        with closing(
            http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        ) as line:
            headers = {"Content-Type": "application/json", "Cookie": self._cookie}
            headers["Origin"] = f"http://127.0.0.1:{self._port}"
            line.request(method, path, body, headers)
            answer = line.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]}")
            cookie = answer.getheader("set-cookie")
            self._cookie = cookie.partition(";")[0] if cookie else self._cookie
            return text


def main() -> None:
    """Start the app, send the clients, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?")
    parser.add_argument("--watch", default=_PRESET, help="name of the run that is looked at")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sessions", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the numbers as JSON")
    asked = parser.parse_args()
    with ExitStack() as stack:
        runs: Path = asked.runs or stack.enter_context(_training())
        measured = {
            "commit": current_commit(),
            **_measured(runs, asked.watch, asked.clients, asked.seconds, asked.sessions),
        }
    text = json.dumps(measured, indent=1)
    if asked.out is not None:
        write_whole(asked.out, text)
    print(text)


def _measured(
    runs: Path, watch: str, clients: int, seconds: float, sessions: int
) -> dict[str, Any]:
    """Serve the app on a folder of runs and return what clients and sessions cost it."""
    port = _free_port()
    words = ("app.py", "--port", str(port), "--runs", str(runs.absolute()))
    app = subprocess.Popen((sys.executable, *words), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _wait(port)
        process = psutil.Process(app.pid)
        memory = _sessions(port, process, sessions) if sessions else []
        speeds = {"before": _speed(runs / watch, seconds)}
        before = sum(process.cpu_times()[:2])
        result: dict[str, Any] = {}
        asking = threading.Thread(
            target=lambda: result.update(_clients(port, clients, watch, seconds))
        )
        asking.start()
        speeds["with"] = _speed(runs / watch, seconds)
        asking.join()
        used = sum(process.cpu_times()[:2]) - before
        speeds["after"] = _speed(runs / watch, seconds)
        return {
            "clients": clients,
            **result,
            "app_processor_share": round(used / seconds, 3),
            "app_MiB": round(process.memory_info().rss / 2**20),
            "steps_per_second": speeds,
            "sessions": sessions,
            "MiB_by_wave_of_sessions": memory,
        }
    finally:
        app.terminate()
        app.wait()


@contextmanager
def _training() -> Iterator[Path]:
    """Train the preset on one thread while the block runs, and give the folder of its run."""
    with tempfile.TemporaryDirectory() as scratch:
        uda4inst = (sys.executable, "-m", "uda4inst.cli")
        here: dict[str, Any] = {
            "cwd": scratch,
            "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        subprocess.run((*uda4inst, "data", "toystreets", "data/toystreets"), check=True, **here)
        trainer = subprocess.Popen((*uda4inst, "train", _PRESET, *_LENGTH), **here)
        try:
            runs = Path(scratch) / "runs"
            _wait_for_steps(runs / _PRESET, trainer)
            yield runs
        finally:
            trainer.kill()
            trainer.wait()


def _wait_for_steps(run: Path, trainer: subprocess.Popen[Any]) -> None:
    """Wait until a training is under way."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and trainer.poll() is None:
        status = read_status(RunDir(run))
        if status is not None and status.step >= _FIRST_STEPS:
            return
        time.sleep(0.5)
    raise RuntimeError(f"the training did not begin ({run})")


def _clients(port: int, count: int, run: str, seconds: float) -> dict[str, Any]:
    """Let clients ask for a while; return how long their refreshes took."""
    taken: list[float] = []
    sizes: list[int] = []
    failures: list[str] = []
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        try:
            client = Client(port)
            client.call("app_load")
            client.call("app_choose_run", None, run)
            time.sleep(EVERY * number / count)
            while time.monotonic() < until:
                begun = time.monotonic()
                took, size = client.call("train_tick")
                taken.append(took)
                sizes.append(size)
                time.sleep(max(0.0, EVERY - (time.monotonic() - begun)))
        except (RuntimeError, OSError) as error:
            failures.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    milliseconds = sorted(1000 * one for one in taken)
    return {
        "refreshes": len(taken),
        "failures": failures[:3],
        "ms": {
            "median": round(statistics.median(milliseconds)),
            "p95": round(milliseconds[int(0.95 * (len(milliseconds) - 1))]),
            "longest": round(milliseconds[-1]),
        },
        "KiB": round(statistics.median(sizes) / 1024),
    }


def _sessions(port: int, process: psutil.Process, count: int) -> list[int]:
    """Let browsers come and go in waves; return the app's memory before, and after each."""

    def memory() -> int:
        return round(process.memory_info().rss / 2**20)

    Client(port).call("app_load")
    found = [memory()]
    for _ in range(_WAVES):
        clients = [Client(port) for _ in range(count)]
        for client in clients:
            client.stay()
            client.call("app_load")
            client.call("train_tick")
        for client in clients:
            client.leave()
        time.sleep(_FORGETTING)
        found.append(memory())
    return found


def _speed(run: Path, seconds: float) -> float | None:
    """Return the steps a second of a run at work; None for one that is not."""
    path = RunDir(run).status
    first = load_status(path)
    time.sleep(seconds)
    last = load_status(path)
    if last.state != "running" or last.heartbeat <= first.heartbeat:
        return None
    return round((last.step - first.step) / (last.heartbeat - first.heartbeat), 3)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(port: int) -> None:
    """Wait until the app answers."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            Client(port)
        except (OSError, http.client.HTTPException):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError("the app does not answer")


if __name__ == "__main__":
    main()
