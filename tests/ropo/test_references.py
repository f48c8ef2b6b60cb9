from __future__ import annotations

from pathlib import Path

import pytest

from ropo.references import MAX_FILE_BYTES, ReferenceProblem, has_reference, is_reference, resolve

HERE = Path("/nowhere")


def test_a_variable_is_put_in_wherever_it_stands():
    environ = {"SITE": "www.example.com", "PORT": "9000"}
    assert resolve("http://${SITE}:${PORT}/", folder=HERE, environ=environ) == "http://www.example.com:9000/"


def test_what_a_variable_holds_is_not_read_again():
    assert resolve("${A}", folder=HERE, environ={"A": "${B}", "B": "secret"}) == "${B}"


def test_two_dollars_are_the_text_itself():
    assert resolve("$${A} costs $5", folder=HERE, environ={}) == "${A} costs $5"


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(ReferenceProblem, match="the environment variable NOPE is not set; set it"):
        resolve("${NOPE}", folder=HERE, environ={})


@pytest.mark.parametrize("text", ["${", "${}", "${A-B}", "${1A}", "x${A"])
def test_a_slip_of_the_pen_is_told(text: str):
    with pytest.raises(ReferenceProblem, match="is written `\\${NAME}`"):
        resolve(text, folder=HERE, environ={"A": "a"})


def test_a_file_is_read_without_the_line_break_at_its_end(tmp_path: Path):
    (tmp_path / "key").write_text(" s3cret \r\n")
    assert resolve("file:key", folder=tmp_path, environ={}) == " s3cret "
    assert resolve(f"file:{tmp_path}/key", folder=HERE, environ={}) == " s3cret "


def test_a_file_that_is_missing_is_named_with_its_whole_path(tmp_path: Path):
    with pytest.raises(ReferenceProblem, match=f"{tmp_path}/nope does not exist"):
        resolve("file:nope", folder=tmp_path, environ={})


FILES = {
    "empty": (b"\n", "is empty"),
    "not text": (b"\xff\xfe", "not UTF-8"),
    "too large": (b"x" * (MAX_FILE_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize("content, words", FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_a_secret_is_refused(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ReferenceProblem, match=words):
        resolve("file:key", folder=tmp_path, environ={})


def test_a_folder_and_no_name_at_all_are_refused(tmp_path: Path):
    with pytest.raises(ReferenceProblem, match="cannot be read"):
        resolve("file:.", folder=tmp_path, environ={})
    with pytest.raises(ReferenceProblem, match="followed by the path"):
        resolve("file: ", folder=tmp_path, environ={})


@pytest.mark.parametrize(
    "text, whole, some",
    [
        ("${A}", True, True),
        ("file:/run/secrets/a", True, True),
        ("whsec_${A}", False, True),
        ("hunter2", False, False),
        ("", False, False),
    ],
)
def test_a_reference_is_told_from_a_text_that_has_one(text: str, whole: bool, some: bool):
    assert is_reference(text) is whole
    assert has_reference(text) is some
