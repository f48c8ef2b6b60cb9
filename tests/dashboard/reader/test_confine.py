"""Each right that is given up, tried in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import landlock
from tests.support.ropo_process import environment

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")

BEGIN = """
import json, os, resource, socket, sys
from pathlib import Path
from dashboard.reader import confine
from storage import landlock

def tried(what):
    try:
        return repr(what())
    except BaseException as error:
        return type(error).__name__
"""


def said(code: str, *arguments: object, expected: int = 0) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, *map(str, arguments)], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout) if done.stdout else {}


def test_not_an_octet_is_written_to_any_file_and_what_was_in_them_stays(tmp_path: Path):
    (tmp_path / "there").write_text("stays")
    found = said(
        """
folder = Path(sys.argv[1])
confine.write_nothing()
confine.write_nothing()  # again is no error
made = tried(lambda: (folder / "new").write_text("x"))
added = tried(lambda: (folder / "there").open("a").write("x") and None)
ours, theirs = socket.socketpair()
print(json.dumps({"made": made, "sent": ours.send(b"x"), "core": resource.getrlimit(resource.RLIMIT_CORE)}))
""",
        tmp_path,
    )
    assert found == {"made": "OSError", "sent": 1, "core": [0, 0]}
    assert (tmp_path / "there").read_text() == "stays"
    assert not (tmp_path / "new").exists() or (tmp_path / "new").read_bytes() == b""


@needs_landlock
def test_of_all_files_only_those_named_can_be_read_and_none_be_made_or_removed(tmp_path: Path):
    (tmp_path / "open" / "deep").mkdir(parents=True)
    (tmp_path / "open" / "deep" / "file").write_text("yes")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "secret").write_text("no")
    (tmp_path / "one").write_text("yes")
    (tmp_path / "open" / "way out").symlink_to(tmp_path / "closed" / "secret")
    found = said(
        """
root = Path(sys.argv[1])
done = landlock.read_only([root / "open", root / "one", root / "missing"])
found = {
    "done": done,
    "below": tried(lambda: (root / "open/deep/file").read_text()),
    "named": tried(lambda: (root / "one").read_text()),
    "beside": tried(lambda: (root / "closed/secret").read_text()),
    "through a link": tried(lambda: (root / "open/way out").read_text()),
    "listed": tried(lambda: os.listdir(root)),
    "passwd": tried(lambda: open("/etc/passwd").read()),
    "environ": tried(lambda: open("/proc/self/environ").read()),
    "made": tried(lambda: (root / "open/new").write_text("x")),
    "changed": tried(lambda: (root / "one").open("r+")),
    "cut": tried(lambda: os.truncate(root / "one", 0)),
    "removed": tried(lambda: (root / "open/deep/file").unlink()),
    "renamed": tried(lambda: (root / "one").rename(root / "open/two")),
    "folder": tried(lambda: (root / "open/more").mkdir()),
    "run": tried(lambda: os.execv("/bin/true", ["true"])),
}
print(json.dumps(found))
""",
        tmp_path,
    )
    allowed = {"done": True, "below": "'yes'", "named": "'yes'"}
    assert {name: value for name, value in found.items() if name in allowed} == allowed
    # Truncating by name is a right of its own since Landlock 3 (Linux 6.2); a cross-folder rename is EXDEV.
    refused = {"PermissionError", "OSError"} | ({"None"} if landlock.version() < 3 else set())
    assert {value for name, value in found.items() if name not in allowed} <= refused, found


@needs_landlock
def test_a_file_that_is_put_in_the_place_of_a_named_one_cannot_be_read(tmp_path: Path):
    (tmp_path / "named").write_text("first")
    found = said(
        """
named = Path(sys.argv[1]) / "named"
pid = os.fork()
if not pid:
    landlock.read_only([named])
    os.kill(os.getpid(), 19)
    print(json.dumps({"read": tried(named.read_text)}), flush=True)
    os._exit(0)
os.waitpid(pid, os.WUNTRACED)
named.with_name("other").write_text("second")
os.replace(named.with_name("other"), named)
os.kill(pid, 18)
os.waitpid(pid, 0)
""",
        tmp_path,
    )
    assert found == {"read": "PermissionError"}


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel cannot close the network for one process")
def test_no_connection_goes_out():
    found = said(
        """
with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
    landlock.read_only([])
    print(json.dumps({"out": tried(lambda: socket.create_connection(("127.0.0.1", port)))}))
"""
    )
    assert found == {"out": "PermissionError"}


def test_more_memory_than_allowed_is_refused_and_more_processor_time_ends_it():
    code = """
confine.use_at_most(memory_bytes=512 << 20, cpu_secs=1)
print(json.dumps({"much": tried(lambda: len(bytearray(600 << 20))), "less": tried(lambda: len(bytearray(1 << 20)))}))
sys.stdout.flush()
while len(sys.argv) > 1: pass
"""
    assert said(code) == {"much": "MemoryError", "less": "1048576"}
    said(code, "for ever", expected=-9)


def test_a_user_without_privileges_starts_nothing_more():
    if os.getuid():
        pytest.skip("only root can become somebody else")
    found = said(
        """
os.setgid(65534); os.setuid(65534)
confine.start_nothing()
print(json.dumps({"fork": tried(os.fork)}))
"""
    )
    assert found == {"fork": "BlockingIOError"}


def test_it_steps_back_for_good_and_goes_first_when_memory_is_short():
    found = said(
        """
confine.step_back()
print(json.dumps({"nice": os.nice(0), "batch": os.sched_getscheduler(0) == os.SCHED_BATCH,
                  "oom": int(Path("/proc/self/oom_score_adj").read_text())}))
"""
    )
    assert found == {"nice": 15, "batch": True, "oom": 1000}


def test_it_ends_with_the_one_that_made_it():
    found = said(
        """
read, write = os.pipe()
middle = os.fork()
if not middle:
    parent = os.getpid()
    if not os.fork():
        confine.end_with(parent)
        os.write(write, b"r")
        import time; time.sleep(600)
    os.read(read, 1)
    os._exit(0)
os.waitpid(middle, 0)
os.close(write)
print(json.dumps({"left": os.read(read, 10).decode()}))  # the end of the pipe: nobody holds it any more
"""
    )
    assert found == {"left": ""}
    said("confine.end_with(1)", expected=1)
