"""Shows names in docstrings, which Sphinx would link, as code."""

import re
from typing import Any

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):(<code>[^<]*</code>)")


def on_page_content(html: str, **_: Any) -> str:
    """The page without Sphinx's roles."""
    return ROLE.sub(r"\1", html)
