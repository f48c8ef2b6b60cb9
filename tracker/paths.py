"""What a request target asks for, and whether its path is one of some globs.

Knows RFC 9112 section 3.2 (the forms of a target) and the globs of the settings. Changes no letter of a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def split(target: str) -> tuple[str, str | None]:
    """The path of a raw target and its query without the `?`; None if it has none.

    An absolute-form target loses its scheme and authority, `*` and an authority stay as they are. A fragment, which
    no browser sends but some clients do, is cut off.
    """
    if target[:1] != "/" and "://" in target[:16]:
        rest = target.partition("://")[2]
        start = re.search(r"[/?#]", rest)
        target = rest[start.start() :] if start else ""
        if target[:1] != "/":
            target = "/" + target
    if "#" in target:
        target = target.partition("#")[0]
    path, mark, query = target.partition("?")
    return path, query if mark else None


def matcher(globs: Sequence[str]) -> Callable[[str], bool] | None:
    """Whether a text is one of `globs`; None if there are none.

    Letter for letter; `*` is any characters, slashes too, and `?` is one.
    """
    if not globs:
        return None
    fits = re.compile("|".join(map(_pattern, globs)), re.DOTALL).fullmatch
    return lambda text: fits(text) is not None


def _pattern(glob: str) -> str:
    # Brackets are brackets: a form's field may be called a[b], an IPv6 host [::1].
    return "".join(
        ".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", glob)
    )
