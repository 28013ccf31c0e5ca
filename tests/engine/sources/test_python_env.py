"""Text of the Python environment: what is read, whose it is, and that neither place nor order decides anything."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine.base.errors import InputError
from engine.sources.python_env import Config, file_name, files, read

METADATA = """Metadata-Version: 2.4
Name: Sample_Pack
Version: 1.0
License-Expression: MIT
Project-URL: Documentation, https://docs.example
Project-URL: Homepage, https://example.org
Description-Content-Type: text/markdown

# Sample

A package with an umlaut: \u00fc.
"""
FILES = {
    "sample/__init__.py": '"""The sample package."""\n',
    "sample/tool.py": (
        '"""Tools."""\n\n\ndef second() -> None:\n    """Do the second.\n\n    Indented.\n    """\n\n\n'
        'class First:\n    """A class."""\n\n    async def run(self):\n        """Run."""\n'
    ),
    "sample/bare.py": "x = 1\n",
    "sample/broken.py": "def f(:\n",
    "sample/latin.py": "# -*- coding: latin-1 -*-\n'''caf\u00e9'''\n",
    "sample/binary.py": b"\xff\xfe\x00",
    "sample/data.json": "{}",
    "sample_pack-1.0.dist-info/METADATA": METADATA,
    "sample_pack-1.0.dist-info/licenses/LICENSE.txt": "Permission is granted.\n",
}


@pytest.fixture(params=["here", "some/where/else"])
def environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution on the search path, at two places."""
    folder = tmp_path / request.param
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("latin-1" if "latin" in name else "utf-8")
        )
    names = [*FILES, "sample_pack-1.0.dist-info/RECORD", "sample/__pycache__/tool.cpython-311.pyc", "../../bin/sample"]
    (folder / "sample_pack-1.0.dist-info/RECORD").write_text("".join(f"{name},,\n" for name in names))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def config(kind: str, packages: Any = ("sample-pack",), **options: Any) -> Config:
    packages = list(packages) if isinstance(packages, tuple) else packages
    return Config(name="env", kind=kind, packages=packages, **options)


def rows(config: Config) -> list[dict[str, Any]]:
    return [row for path in files(config, Path()) for table in read(path, config) for row in table.to_pylist()]


def test_docstrings_are_one_document_per_module_in_the_order_of_the_source(environment: Path) -> None:
    found = {row["id"]: row for row in rows(config("docstrings"))}
    assert list(found) == [
        f"sample-pack/sample/{name}.py" for name in ("__init__", "binary", "broken", "latin", "tool")
    ]
    assert found["sample-pack/sample/tool.py"] == {
        "id": "sample-pack/sample/tool.py",
        "text": "Tools.\n\nDo the second.\n\nIndented.\n\nA class.\n\nRun.",
        "license": "MIT",
        "url": "https://example.org",
        "distribution": "sample-pack",
        "file": "sample/tool.py",
        "read_problem": None,
    }
    assert found["sample-pack/sample/latin.py"]["text"] == "caf\u00e9"
    problems = {name.rpartition("/")[2]: row["read_problem"] for name, row in found.items() if row["text"] is None}
    assert problems == {"binary.py": "invalid_utf8", "broken.py": "broken_source"}


def test_source_is_the_file_as_it_is(environment: Path) -> None:
    found = {row["file"]: row for row in rows(config("source"))}
    assert found["sample/tool.py"]["text"] == FILES["sample/tool.py"]
    assert found["sample/binary.py"]["read_problem"] == "invalid_utf8"
    assert found["sample/broken.py"]["read_problem"] is None


def test_descriptions_are_the_text_below_the_head_of_metadata(environment: Path) -> None:
    (row,) = rows(config("descriptions"))
    assert row["text"] == "# Sample\n\nA package with an umlaut: \u00fc.\n"
    assert row["license"] == "MIT"


def test_licenses_are_texts_and_not_modules(environment: Path) -> None:
    assert [row["file"] for row in rows(config("licenses"))] == ["sample_pack-1.0.dist-info/licenses/LICENSE.txt"]


def test_metadata_is_watched_for_licence_and_home_page(environment: Path) -> None:
    watched = {path.relative_to(environment).as_posix() for path in files(config("source"), Path())}
    assert "sample_pack-1.0.dist-info/METADATA" in watched
    assert {file_name(path, config("source")) for path in files(config("source"), Path())} == {
        f"sample-pack/{name}" for name in watched
    }


def test_a_budget_takes_the_same_files_wherever_the_environment_is(environment: Path) -> None:
    sizes = {name: len(content) for name, content in FILES.items() if name.endswith(".py")}
    chosen = {row["file"] for row in rows(config("source", max_bytes=210))}
    assert chosen == {"sample/__init__.py", "sample/bare.py", "sample/binary.py", "sample/tool.py"}
    assert sum(sizes[name] for name in chosen) <= 210


def test_docstrings_are_found_in_every_kind_of_block(tmp_path: Path) -> None:
    from engine.sources.python_env import _docstrings

    branches = "".join(f"elif a == {n}:\n    pass\n" for n in range(1500))
    source = (
        'try:\n    def one():\n        """1"""\nexcept E:\n    class Two:\n        """2"""\n'
        'else:\n    def three():\n        """3"""\nfinally:\n    async def four():\n        """4"""\n'
        'match x:\n    case 1:\n        def five():\n            """5"""\n'
        f'if a:\n    pass\n{branches}else:\n    def six():\n        """6"""\n'
    )
    assert _docstrings(source) == ("1\n\n2\n\n3\n\n4\n\n5\n\n6", None)


@pytest.fixture
def alone(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment, with nothing but it and a distribution called provender installed."""
    for name, text in (
        ("METADATA", METADATA.replace("Sample_Pack", "provender")),
        ("RECORD", "provender-1.0.dist-info/METADATA,,\n"),
    ):
        path = environment / "provender-1.0.dist-info" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sys, "path", [str(environment), *(p for p in sys.path if "site-packages" not in p)])
    return environment


def test_our_own_package_is_left_out_unless_the_list_is_changed(alone: Path) -> None:
    def names(**options: Any) -> list[str]:
        return [row["distribution"] for row in rows(config("descriptions", "installed", **options))]

    assert names() == ["sample-pack"]
    assert names(exclude=[]) == ["provender", "sample-pack"]
    assert names(exclude=["Sample.Pack"]) == ["provender"]


def test_an_unknown_package_suggests_the_right_one(environment: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'sample-pack'"):
        files(config("source", ("sample-pakc",)), Path())


def test_nothing_to_read_is_an_error(environment: Path) -> None:
    with pytest.raises(InputError, match=r"no file of kind 'source' within 1 bytes"):
        files(config("source", max_bytes=1), Path())


def test_the_standard_library_has_no_descriptions() -> None:
    with pytest.raises(ValidationError, match="no descriptions"):
        config("descriptions", "stdlib")


def test_the_standard_library_is_read_without_its_tests_and_without_importing_it() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom engine.sources.python_env import Config, files, read\n"
        "c = Config(name='e', kind='docstrings', packages='stdlib', max_bytes=300_000)\n"
        "rows = [r for p in files(c, Path()) for t in read(p, c) for r in t.to_pylist()]\n"
        "assert rows and all(r['license'] == 'PSF-2.0' for r in rows)\n"
        "assert not any(r['file'].startswith('test/') or 'site-packages' in r['file'] for r in rows)\n"
        "assert 'turtle' not in sys.modules and 'antigravity' not in sys.modules\n"
        "print(sum(r['text'] is not None for r in rows))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 10
