"""FiftyOne is typed loosely and may be absent: to the type checker all of it is anything."""

from typing import Any

def __getattr__(name: str) -> Any: ...
