"""Files of markup with places for parts."""

import re
from collections.abc import Mapping
from importlib.resources import files

_HERE = files("analysis.report")


def text_of(name: str) -> str:
    """A file beside this one."""
    return (_HERE / name).read_text(encoding="utf-8")


def filled(name: str, parts: Mapping[str, str]) -> str:
    """A file with `/*{part}*/` replaced; in one pass, so that what a part says is never looked at again."""
    return re.sub(r"/\*\{(\w+)\}\*/", lambda found: parts[found[1]], text_of(name))
