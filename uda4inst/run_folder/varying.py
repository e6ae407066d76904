"""What a run says of its moment and machine: the one list of it.

Everything else is the same to the byte in a run that is repeated, or killed and resumed, on a CPU.
"""

from __future__ import annotations

from typing import Final

# Of a line of metrics.jsonl.
VARYING_FIELDS: Final = ("time", "images_per_second", "memory_mib")
# Of a run folder and the modules in it; a folder is meant with all that is in it.
VARYING_FILES: Final = (
    "status.json",
    "command.json",
    "parent.json",
    "log.txt",
    "console.txt",
    "bench.jsonl",
    "choice.json",
    "lock",
    "tensorboard",
    "replaced",
)
