"""Word lists that ship as YAML files beside the code that uses them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

# libyaml's loader is ten times as fast; wheels of PyYAML have it, builds from source may not.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def load_word_lists(file: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the content of a YAML file. It is read once per process and must not be changed."""
    return yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
