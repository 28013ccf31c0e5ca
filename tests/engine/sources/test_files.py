"""Files are found by pattern, decompressed, and cut into lines; damage is noticed."""

import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from engine.base.errors import InputError
from engine.sources import _files as files_module
from engine.sources._files import find_files, located, read_chunks, read_lines, relative_name
from engine.sources.jsonl import Config


def config(path: str | list[str]) -> Config:
    return Config(name="web", path=path)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")


def test_patterns_are_relative_to_the_folder_of_the_recipe_and_sorted(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", "a.jsonl", "deep/er/c.jsonl", ".hidden.jsonl", "other.txt")
    found = find_files(config("**/*.jsonl"), tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.jsonl", "b.jsonl", "deep/er/c.jsonl"]


def test_a_file_under_two_patterns_or_two_names_stands_once(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    (tmp_path / "z.jsonl").symlink_to(tmp_path / "a.jsonl")
    assert find_files(config(["a.jsonl", "*.jsonl"]), tmp_path) == [tmp_path / "a.jsonl"]


def test_absolute_paths_and_names_with_brackets_are_found(tmp_path: Path) -> None:
    write(tmp_path, "a[1].jsonl")
    assert find_files(config(str(tmp_path / "a[1].jsonl")), Path("elsewhere")) == [tmp_path / "a[1].jsonl"]


def test_where_nothing_is_beside_the_recipe_the_current_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "here/data/a.jsonl", "recipes/x.yaml")
    monkeypatch.chdir(tmp_path / "here")
    assert find_files(config("data/*.jsonl"), tmp_path / "recipes") == [tmp_path / "here/data/a.jsonl"]


def test_no_match_names_the_folder_and_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, "data/web.jsonl", "data/readme.md")
    with pytest.raises(InputError) as caught:
        find_files(config("data/wbe.jsonl"), tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "data") in message
    assert "web.jsonl" in message


def test_every_pattern_of_a_list_must_match(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    with pytest.raises(InputError, match=r"b\*\.jsonl"):
        find_files(config(["a.jsonl", "b*.jsonl"]), tmp_path)


def test_a_folder_that_does_not_exist_names_the_nearest_that_does(tmp_path: Path) -> None:
    write(tmp_path, "data/a.jsonl")
    with pytest.raises(InputError) as caught:
        find_files(config("dtaa/sub/*.jsonl"), tmp_path)
    assert f"in {tmp_path} there is: data" in str(caught.value)


def test_a_folder_as_path_says_how_to_name_its_files(tmp_path: Path) -> None:
    write(tmp_path, "data/a.jsonl")
    with pytest.raises(InputError, match=r"this is a folder.*data/\*\."):
        find_files(config("data"), tmp_path)


def test_names_are_relative_to_what_all_patterns_share(tmp_path: Path) -> None:
    write(tmp_path, "data/a/x.jsonl", "data/b/x.jsonl")
    whole = located(config(["data/a/*.jsonl", "data/b/*.jsonl"]), tmp_path)
    assert [relative_name(path, whole) for path in find_files(whole, tmp_path)] == ["a/x.jsonl", "b/x.jsonl"]
    alone = located(config("data/a/x.jsonl"), tmp_path)
    assert relative_name(tmp_path / "data/a/x.jsonl", alone) == "x.jsonl"


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, suffix: str) -> None:
    data = "Grüße\n".encode() * 300_000
    path = tmp_path / f"a.txt{suffix}"
    compress = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    path.write_bytes(compress(data))
    assert b"".join(read_chunks(path)) == data
    assert list(read_lines(path)) == data.splitlines()


def test_zstandard_files_of_several_frames_are_read_to_the_end(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor()
    (tmp_path / "a.zst").write_bytes(compressor.compress(b"one\n") + compressor.compress(b"two\n"))
    assert list(read_lines(tmp_path / "a.zst")) == [b"one", b"two"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damaged_compressed_files_are_one_input_error(tmp_path: Path, suffix: str, damage: str) -> None:
    data = bytes(range(256)) * 50_000
    whole = gzip.compress(data) if suffix == ".gz" else zstandard.ZstdCompressor().compress(data)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole[:-6] if damage == "cut" else b"no such format" * 10)
    with pytest.raises(InputError, match="cannot be read") as caught:
        list(read_chunks(path))
    assert str(path) in str(caught.value)


@given(lines=st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b), max_size=20), chunk=st.integers(1, 9))
def test_lines_do_not_depend_on_how_the_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "CHUNK_BYTES", chunk)
        found = list(read_lines(path))
    if lines and lines[0].startswith(b"\xef\xbb\xbf"):
        return
    assert found == lines


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo")
    assert list(read_lines(tmp_path / "a.txt")) == [b"one", b"two"]
