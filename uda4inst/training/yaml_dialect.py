"""YAML as people write configurations: how it is read, and the writing that reads back."""

from __future__ import annotations

import re

import yaml


class YamlReader(yaml.SafeLoader):
    """YAML as people write numbers: 1e-4 is a float, which YAML 1.1 takes for text."""


class YamlWriter(yaml.SafeDumper):
    """Its counterpart: text that would be read as such a number is quoted."""


for _kind in (YamlReader, YamlWriter):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )
