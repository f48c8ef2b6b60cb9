"""Lists the benchmarks, or runs one: `python -m benchmarks NAME [ARGS …]`."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def names() -> dict[str, str]:
    """Each benchmark with the first line of its docstring."""
    scripts = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("__"))
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0] for path in scripts}


def main() -> int:
    known = names()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("python -m benchmarks NAME [ARGS …]; each has --help\n")
        for name, about in known.items():
            print(f"  {name:15} {about}")
        return 0
    name = sys.argv[1]
    if name not in known:
        print(f"there is no benchmark {name}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    sys.argv = sys.argv[1:]
    runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
