"""The house keeps its plan: which room may know which, and that tests stand where their sources do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("proxy", "tracker", "storage", "export", "dashboard", "ropo")

# What each room may import of ours besides itself. A name stands for itself and all below it.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "proxy": (),
    "tracker": ("proxy.exchange", "proxy.observer"),
    "storage": ("tracker.model", "tracker.clock"),
    "export": ("tracker.model", "tracker.clock", "storage"),
    "dashboard": ("tracker.model", "tracker.clock", "storage"),
    "ropo": ROOMS,
}

# Only what stands in the worker knows the proxy; the collector's half of the tracker reads records.
KNOWS_PROXY = {"tracker/recorder.py"}

# Sources without a test file of their own, and where they are tested instead.
UNMIRRORED: dict[str, str] = {
    "proxy/downstream.py": "an interface; tests/proxy/test_http1.py and test_http2_stream.py show both who keep it",
    "proxy/observer.py": "an interface; tests/proxy/test_forwarding.py shows what its caller does",
    "proxy/connection.py": "backpressure of both sides: tests/proxy/test_forwarding.py, with slow visitors and uploads",
    "proxy/copies.py": "what the observer gets of a body: tests/proxy/test_forwarding.py",
    "proxy/upstream.py": "moves bytes for the forwarding: tests/proxy/test_forwarding.py, test_tunnel.py",
    "export/connector.py": "an interface; tests/export/exam.py is the exam its implementations sit",
    "ropo/worker.py": "joins rooms: tests/ropo/test_supervisor.py and tests/e2e run it whole",
}

# Tests that mirror no source file.
FREE_TESTS = (
    "tests/e2e/", "tests/support/", "tests/test_house.py", "tests/test_repository.py",
    # What holds for the proxy as a whole, against attackers on either side.
    "tests/proxy/test_smuggling.py", "tests/proxy/test_hostile_origin.py",
    # What holds for the storage as a whole, whatever the disk does and wherever it is killed.
    "tests/storage/test_faults.py", "tests/storage/test_exactly_once.py",
    # What six views share out between them.
    "tests/storage/test_attribution.py",
    # The questions of docs/analysts.md.
    "tests/test_analysts.py",
)  # fmt: skip


def modules() -> list[str]:
    """Every source file of the rooms, as a path below the repository."""
    files = [path for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")]
    return sorted(str(path.relative_to(REPOSITORY)) for path in files if "__pycache__" not in path.parts)


def imported(path: str, source: str) -> Iterator[str]:
    """The dotted names a source file imports, relative ones resolved; those for type checkers count as well."""
    package = Path(path).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from tracker import clock` names a module, `from tracker.clock import parse` something in it.
                name = f"{base}.{alias.name}"
                place = REPOSITORY / name.replace(".", "/")
                yield name if place.is_dir() or place.with_suffix(".py").exists() else base


def strangers(path: str, source: str) -> list[str]:
    """What a source file imports of ours and may not."""
    room = Path(path).parts[0]
    allowed = (room, *MAY_IMPORT[room])
    if room == "tracker" and path not in KNOWS_PROXY:
        allowed = (room,)
    return sorted(
        name
        for name in set(imported(path, source))
        if name.split(".")[0] in (*ROOMS, "tests")
        and not any(name == known or name.startswith(f"{known}.") for known in allowed)
    )


def test_each_room_imports_only_what_the_plan_lets_it_know():
    known = {path: strangers(path, (REPOSITORY / path).read_text(encoding="utf-8")) for path in modules()}
    assert {path: names for path, names in known.items() if names} == {}


@pytest.mark.parametrize(
    "path, source, found",
    [
        ("proxy/pool.py", "import tracker.model", ["tracker.model"]),
        ("proxy/pool.py", "from proxy.fields import get", []),
        ("tracker/recorder.py", "from proxy.exchange import Exchange", []),
        ("tracker/recorder.py", "from proxy import server", ["proxy"]),
        ("tracker/pipeline.py", "from proxy.exchange import Exchange", ["proxy.exchange"]),
        ("tracker/forms/fields.py", "from ..model import Submission", []),
        ("storage/store.py", "from tracker import clock, model", []),
        ("storage/store.py", "from tracker.pipeline import Pipeline", ["tracker.pipeline"]),
        ("export/outbox.py", "def f():\n    from dashboard import app", ["dashboard.app"]),
        ("dashboard/app.py", "from storage.questions import counts\nimport aiohttp", []),
        ("ropo/worker.py", "import proxy.server\nfrom tests.support import load", ["tests.support.load"]),
    ],
)
def test_the_reading_of_imports_itself(path: str, source: str, found: list[str]):
    if found == ["proxy"] and (REPOSITORY / "proxy/server.py").exists():
        found = ["proxy.server"]
    if found == ["dashboard.app"] and not (REPOSITORY / "dashboard/app.py").exists():
        found = ["dashboard"]
    assert strangers(path, source) == found


def test_every_source_file_has_its_test_file():
    missing = [
        path
        for path in modules()
        if Path(path).name not in ("__init__.py", "__main__.py")
        and path not in UNMIRRORED
        and not (REPOSITORY / "tests" / Path(path).parent / f"test_{Path(path).name}").exists()
    ]
    assert missing == []


def test_every_test_file_has_its_source_file():
    strays = []
    for file in (REPOSITORY / "tests").rglob("test_*.py"):
        path = str(file.relative_to(REPOSITORY))
        if path.startswith(FREE_TESTS):
            continue
        source = Path(path).relative_to("tests").parent / Path(path).name.removeprefix("test_")
        if not (REPOSITORY / source).exists():
            strays.append(path)
    assert sorted(strays) == []


def test_the_list_of_the_unmirrored_holds_no_strangers():
    assert [path for path in UNMIRRORED if not (REPOSITORY / path).exists()] == []
    assert [path for path, reason in UNMIRRORED.items() if not reason] == []


def test_every_folder_of_tests_is_a_package():
    # Without __init__.py `tests/proxy` would shadow the room `proxy`.
    folders = {file.parent for file in (REPOSITORY / "tests").rglob("test_*.py")} | {REPOSITORY / "tests"}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_module_says_what_it_knows():
    silent = [
        path
        for path in modules()
        if (source := (REPOSITORY / path).read_text(encoding="utf-8").strip())
        and not ast.get_docstring(ast.parse(source))
    ]
    assert silent == []


def test_the_wheel_lists_every_package_of_the_rooms():
    import tomllib

    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "packages"
    ]
    packages = {str(Path(path).parent).replace("/", ".") for path in modules()}
    assert sorted(listed) == sorted(packages)


def test_tracker_and_export_speak_of_the_same_lead_fields():
    # Neither room may import the other, and a field that only one of them knows would be lost on the way.
    from export.lead import LEAD_FIELDS as sent
    from tracker.settings import LEAD_FIELDS as kept

    assert tuple(sent) == tuple(kept)
