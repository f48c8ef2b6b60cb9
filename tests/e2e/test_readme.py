"""What the README tells a newcomer to type after the two commands works as it stands there."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.documents import commands
from tests.support.load import Load
from tests.support.origins import Site
from tests.support.ropo_process import REPOSITORY, RopoProcess
from tests.support.waiting import until


def test_every_question_of_the_readme_is_answered(tmp_path: Path, site: Site):
    asked = [shlex.split(line) for line in commands(REPOSITORY / "README.md") if is_question(line)]
    assert any(words[1] == "sql" for words in asked), "the README shows no first query"
    with RopoProcess(tmp_path, upstream=site.url) as ropo:
        with Load(ropo.port, form_every=5) as load:
            load.more(50)
        until(lambda: ropo.sql("select count(*) from leads") >= [(len(load.leads),)], "the leads are in the log")
        [(lead_id,)] = ropo.sql("select lead_id from leads where state = 'accepted' limit 1")
        for words in asked:
            words = [lead_id if word == "ID" else word for word in words[1:]]
            done = ropo.cli(*words)
            assert (done.returncode, done.stderr) == (0, ""), f"{words}: {done.stderr}"
            assert done.stdout.strip(), f"{words} says nothing"


def is_question(line: str) -> bool:
    return line.startswith(("ropo sql ", "ropo leads list", "ropo leads show")) and "|" not in line.replace("||", "")
