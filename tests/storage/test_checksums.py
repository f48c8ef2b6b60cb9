from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from storage import checksums

# FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_was_kept_is_what_the_standard_says(tmp_path: Path) -> None:
    part = tmp_path / "1-2.parquet"
    part.write_bytes(b"abc")
    assert checksums.of(part) == ABC
    assert checksums.kept(part) is None
    checksums.keep(part, ABC)
    assert checksums.kept(part) == ABC
    assert sorted(path.name for path in tmp_path.iterdir()) == [".1-2.parquet.sha256", "1-2.parquet"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum(1) is not installed")
def test_the_usual_tool_can_check_it(tmp_path: Path) -> None:
    part = tmp_path / "1-2.parquet"
    part.write_bytes(b"abc")
    checksums.keep(part, checksums.of(part))
    command = ["sha256sum", "--check", "--strict", checksums.beside(part).name]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    part.write_bytes(b"abd")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


@pytest.mark.parametrize("text", ["", "0" * 64, f"{ABC}  another.parquet\n", f"{ABC[:-1]}  1-2.parquet\n"])
def test_a_file_that_is_no_checksum_of_this_part_is_told(tmp_path: Path, text: str) -> None:
    part = tmp_path / "1-2.parquet"
    checksums.beside(part).write_text(text)
    with pytest.raises(ValueError, match="not the checksum"):
        checksums.kept(part)
