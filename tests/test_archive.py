"""Archives, honest and hostile."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.test_layout import SERVE, write
from txinfer.archive import Refused, find_model, unpack

MOST = 1_000_000

FILES = {"m/saved_model.pb": b"graph", "m/variables/variables.index": b"index"}


def member(
    name: str, content: bytes = b"", **more: Any
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> str:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return str(path)


def zipped(path: Path, **files: bytes) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return str(path)


def unpacked(path: str, folder: Path, most: int = MOST) -> dict[str, bytes]:
    """The files in an archive, by their paths."""
    folder.mkdir()
    unpack(path, str(folder), most)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def why(path: str, folder: Path, most: int = MOST) -> str:
    folder.mkdir()
    with pytest.raises(Refused) as caught:
        unpack(path, str(folder), most)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_however_it_is_packed(tmp_path: Path, mode: str) -> None:
    path = tar(
        tmp_path / "any name",
        *(member(name, content) for name, content in FILES.items()),
        mode=mode,
    )
    assert unpacked(path, tmp_path / "out") == FILES


def test_a_zip_is_unpacked(tmp_path: Path) -> None:
    assert unpacked(zipped(tmp_path / "z", **FILES), tmp_path / "out") == FILES


def test_folders_of_their_own_are_made(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "t",
        member("./", type=tarfile.DIRTYPE),
        member("./m", type=tarfile.DIRTYPE),
        member("./m/assets", type=tarfile.DIRTYPE),
        member("./m/saved_model.pb", b"graph"),
    )
    assert unpacked(path, tmp_path / "out") == {"m/saved_model.pb": b"graph"}
    assert (tmp_path / "out" / "m" / "assets").is_dir()


def test_files_are_nobody_else_s_and_run_nothing(tmp_path: Path) -> None:
    path = tar(tmp_path / "t", member("f", b"x", mode=0o4777))
    unpacked(path, tmp_path / "out")
    mode = (tmp_path / "out" / "f").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_IXUSR | stat.S_IWOTH)


OUTSIDE = "it has a file outside of it: "
NO_FILE = "it has no mere file: "


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("../f", {}, OUTSIDE),
        ("m/../../f", {}, OUTSIDE),
        ("/etc/f", {}, OUTSIDE),
        ("..\\f", {}, OUTSIDE),
        ("m/..", {"type": tarfile.DIRTYPE}, OUTSIDE),
        ("l", {"type": tarfile.SYMTYPE, "linkname": "/etc"}, NO_FILE),
        ("l", {"type": tarfile.SYMTYPE, "linkname": "m"}, NO_FILE),
        ("l", {"type": tarfile.LNKTYPE, "linkname": "m"}, NO_FILE),
        ("p", {"type": tarfile.FIFOTYPE}, NO_FILE),
        ("d", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, NO_FILE),
    ],
)
def test_a_tar_gets_nothing_out_of_its_folder(
    tmp_path: Path, name: str, more: dict[str, Any], said: str
) -> None:
    path = tar(tmp_path / "t", member(name, **more))
    assert why(path, tmp_path / "out").startswith(said)
    assert sorted(os.listdir(tmp_path)) == ["out", "t"]


@pytest.mark.parametrize("name", ["../f", "m/../../f", "/etc/f"])
def test_a_zip_gets_nothing_out_of_its_folder(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "z", **{name: b"x"})
    assert why(path, tmp_path / "out").startswith(OUTSIDE)
    assert sorted(os.listdir(tmp_path)) == ["out", "z"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("l")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z", "w") as file:
        file.writestr(info, "/etc")
    assert why(str(tmp_path / "z"), tmp_path / "out").startswith(NO_FILE)


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    path = tar(tmp_path / "t", member("f", b"1"), member("./f", b"2"))
    assert why(path, tmp_path / "out").startswith("it has two files")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, kind: str) -> None:
    zeros = bytes(20 * MOST)
    path = (
        tar(tmp_path / "t", member("f", zeros))
        if kind == "tar"
        else zipped(tmp_path / "z", f=zeros)
    )
    assert os.path.getsize(path) < MOST / 10
    assert why(path, tmp_path / "out") == f"it has more than {MOST} bytes"
    assert (tmp_path / "out" / "f").stat().st_size <= MOST


def test_the_limit_itself_is_no_bomb(tmp_path: Path) -> None:
    path = tar(tmp_path / "t", member("f", bytes(MOST)))
    assert unpacked(path, tmp_path / "out") == {"f": bytes(MOST)}


def test_the_bytes_of_all_files_count(tmp_path: Path) -> None:
    path = tar(tmp_path / "t", *(member(f"f{n}", bytes(60)) for n in range(2)))
    assert why(path, tmp_path / "out", most=119) == "it has more than 119 bytes"


def test_a_crowd_of_files_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "t", *(member(f"f{n}") for n in range(6)))
    with pytest.raises(Refused, match="it has more than 5 files"):
        unpack(path, str(tmp_path / "out"), MOST, max_files=5)
    unpack(path, str(tmp_path / "all"), MOST, max_files=6)
    assert len(os.listdir(tmp_path / "all")) == 6


def huge_header(path: Path) -> str:
    """A tar whose first header says that a name follows, of 50 MB."""
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 50_000_000
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf() + bytes(50_000_000))
    return str(path)


def far_member(path: Path) -> str:
    """A tar of one file that is said to have a petabyte."""
    info = tarfile.TarInfo("x")
    info.size = 1 << 50
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    return str(path)


@pytest.mark.parametrize(
    ("write_it", "said"),
    [
        (huge_header, "it has a header that is too large"),
        (far_member, "not an archive that can be read: unexpected end"),
    ],
)
def test_what_headers_say_of_sizes_is_not_believed(
    tmp_path: Path, write_it: Callable[[Path], str], said: str
) -> None:
    assert why(write_it(tmp_path / "t"), tmp_path / "out").startswith(said)


@pytest.mark.parametrize("cut", [0, 3, 20, 200])
def test_what_is_no_archive_is_told(tmp_path: Path, cut: int) -> None:
    whole = Path(tar(tmp_path / "t", member("f", os.urandom(5000)))).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:cut])
    said = why(str(tmp_path / "cut"), tmp_path / "out")
    assert said.startswith("not an archive that can be read")


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    path = Path(zipped(tmp_path / "z", f=b"x"))
    content = bytearray(path.read_bytes())
    # The flag, in the file's header and in the directory.
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in why(str(path), tmp_path / "out")


class TestFind:
    def test_a_model_may_be_the_only_thing_in_folders(self, tmp_path: Path) -> None:
        place = write(tmp_path / "models" / "digits", SERVE)
        (tmp_path / "__MACOSX").mkdir()
        (tmp_path / ".DS_Store").touch()
        assert find_model(str(tmp_path)) == place
        assert find_model(place) == place

    def test_versions_are_found_too(self, tmp_path: Path) -> None:
        write(tmp_path / "digits" / "3", SERVE)
        write(tmp_path / "digits" / "4", SERVE)
        assert find_model(str(tmp_path)) == str(tmp_path / "digits")

    @pytest.mark.parametrize("names", [(), ("a", "b"), ("a/" * 20,)])
    def test_what_holds_no_model_is_told(
        self, tmp_path: Path, names: tuple[str, ...]
    ) -> None:
        for name in names:
            (tmp_path / name).mkdir(parents=True)
        with pytest.raises(Refused, match="neither a SavedModel nor"):
            find_model(str(tmp_path))
