"""YAML as people write configurations: how it is read, and the writing that reads back."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import yaml
from yaml.composer import ComposerError

MAX_YAML: Final = 2**20  # characters; a suite's description of 1,200 runs has a fifth
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 50_000  # with all that aliases repeat: seconds of PyYAML's time
_TAG: Final = "tag:yaml.org,2002:"
_WITH_EXPONENT: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$", re.ASCII)
_SIGNED: Final = list("-+0123456789.")
_NUMBERS: Final = {  # YAML 1.1's, without those that people do not mean
    "int": re.compile(r"[-+]?(0|[1-9][\d_]*|0x[\da-fA-F_]+|0b[01_]+)$", re.ASCII),
    "float": re.compile(
        r"[-+]?((\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]\d+)?|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$",
        re.ASCII,
    ),
}
_REPLACED: Final = (*_NUMBERS, "timestamp")
# What goes wrong while a value is made of text that does not fit its tag.
_UNFIT: Final = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


class YamlReader(yaml.SafeLoader):
    """YAML in which nothing is taken for something else.

    1e-4 is a float, which YAML 1.1 takes for text. 1:30, 010 and 2026-11-26, which it takes for 90,
    8 and a date, are text. A key that is said twice is an error, and so are values too deep in
    others, or that aliases make too many of.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._measured: dict[int, tuple[int, int]] = {}  # node -> values in it, how deep

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it is in itself, too deep or too much."""
        event: Any = self.peek_event()
        is_alias = isinstance(event, yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refused(f"found values more than {MAX_DEPTH} deep in others", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if id(node) not in self._measured:
            if is_alias:
                raise _refused("found a value that is in itself", event)
            self._measured[id(node)] = self._measure(node)
        size, depth = self._measured[id(node)]
        if max(size, len(self._measured)) > MAX_VALUES or self._depth + depth > MAX_DEPTH:
            raise _refused(f"found more than {MAX_VALUES:,} values, or {MAX_DEPTH} deep", event)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping, each of whose keys is said once."""
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for (_, name), count in Counter((key.tag, key.value) for key in keys).items():
            if count > 1:
                last = [key for key in keys if key.value == name][-1]
                raise _refused(f"found the key {name[:80]!r} twice", last)
        return node

    def _measure(self, node: Any) -> tuple[int, int]:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [n for part in parts for n in (part if isinstance(part, tuple) else (part,))]
        found = [self._measured[id(part)] for part in parts]
        return 1 + sum(size for size, _ in found), 1 + max((d for _, d in found), default=0)


class YamlWriter(yaml.SafeDumper):
    """Its counterpart: text that would be read as a number is quoted."""


def parse_yaml(text: str) -> Any:
    """Return the value that YAML says; None for an empty text.

    Args:
        text: one document.

    Raises:
        ValueError: it is none, whatever its parser chokes on; one line says where.

    Example:
        >>> parse_yaml("{lr: 1e-4, seed: 1:30}")
        {'lr': 0.0001, 'seed': '1:30'}
    """
    if len(text) > MAX_YAML:
        raise ValueError(f"{len(text):,} characters, more than {MAX_YAML:,}")
    try:
        return yaml.load(text, Loader=YamlReader)
    except yaml.YAMLError as error:
        # PyYAML's messages span lines; the place is what matters.
        raise ValueError(" ".join(str(error).split())[:500]) from error
    except RecursionError as error:
        raise ValueError(f"values more than {MAX_DEPTH} deep in others") from error
    except _UNFIT as error:
        raise ValueError(f"a value that does not fit its tag: {error}"[:500]) from error


def _refused(problem: str, at: Any) -> ComposerError:
    return ComposerError(None, None, problem, at.start_mark)


# Reading alone: what is text here stays quoted where it is written, for others that read it.
YamlReader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag.removeprefix(_TAG) not in _REPLACED]
    for first, known in YamlReader.yaml_implicit_resolvers.items()
}
for _name, _pattern in _NUMBERS.items():
    YamlReader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, _SIGNED)
for _kind in (YamlReader, YamlWriter):
    _kind.add_implicit_resolver(f"{_TAG}float", _WITH_EXPONENT, _SIGNED)
