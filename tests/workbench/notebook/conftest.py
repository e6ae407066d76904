from __future__ import annotations

from importlib.util import find_spec

# Without the extra `notebooks` there is nothing to test.
collect_ignore_glob = [] if find_spec("ipywidgets") else ["test_*.py"]
