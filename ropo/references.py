"""What a text in config.yaml refers to: `${NAME}` is an environment variable, `file:PATH` the content of a file.

Knows the two notations, and nothing of which settings are secret. What a reference led to is never in a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# Keys and passwords are short; more than this is the wrong file.
MAX_FILE_BYTES = 65_536

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# `$${` is how a text says `${` itself; a `${` that is neither is a slip of the pen.
_MENTION = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class ReferenceProblem(ValueError):
    """A reference leads nowhere; the text says which one and what to do."""


def is_reference(text: str) -> bool:
    """Whether all of `text` is one reference, as a secret has to be."""
    return text.startswith("file:") or _NAME.fullmatch(text) is not None


def has_reference(text: str) -> bool:
    return text.startswith("file:") or "${" in text


def resolve(text: str, *, folder: Path, environ: Mapping[str, str]) -> str:
    """`text` with its references followed. A relative `file:` path starts at `folder`. Raises ReferenceProblem."""
    if text.startswith("file:"):
        return _content(text.removeprefix("file:"), folder)

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise ReferenceProblem("a reference to the environment is written `${NAME}`; write `$${` for the text `${`")
        if name not in environ:
            raise ReferenceProblem(f"the environment variable {name} is not set; set it before ropo starts")
        return environ[name]

    return _MENTION.sub(value, text)


def _content(name: str, folder: Path) -> str:
    if not name.strip():
        raise ReferenceProblem("`file:` is followed by the path of a file")
    path = folder / Path(name.strip()).expanduser()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ReferenceProblem(f"the file {path} does not exist; make it, or correct the path") from None
    except OSError as error:
        raise ReferenceProblem(f"the file {path} cannot be read ({error.strerror}); correct its rights") from None
    if len(data) > MAX_FILE_BYTES:
        raise ReferenceProblem(f"the file {path} is larger than {MAX_FILE_BYTES} bytes; a secret is short")
    try:
        # Editors end a file with a newline; it is no part of the value.
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ReferenceProblem(f"the file {path} is not UTF-8 text") from None
    if not text:
        raise ReferenceProblem(f"the file {path} is empty; write the value into it")
    return text
