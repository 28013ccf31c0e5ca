"""`provender decontaminate` in the shell: its options, what it prints, how it ends, also on a full disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import main
from tests.engine.run.oneshot.full_disk import assert_one_error_and_nothing_left, many_texts

from .corpora import CLIPS, FILLER, GSM, ORCHARD, QUIZ, benchmark, found, survivors, write


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", "decontaminate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_json_is_one_object_equal_to_the_report_and_out(tmp_path: Path) -> None:
    path, out = write(tmp_path / "in.parquet", [CLIPS, *FILLER]), tmp_path / "out"
    result = shell(path, "--benchmarks", benchmark(tmp_path / "gsm.jsonl"), "--out", out, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report == {"out": str(out), **json.loads((out / "report.json").read_text())}
    assert (report["flagged"], report["kept"], report["benchmarks"][0]["flagged_documents"]) == (1, 3, 1)
    assert {"inputs", "index", "search", "decide", "coverage", "survivors", "total"} == set(report["seconds"])
    assert report["peak_memory_bytes"] > report["index_bytes"] > 0


def test_without_json_what_was_found_is_shown_per_benchmark(tmp_path: Path) -> None:
    path, out = write(tmp_path / "in.parquet", [CLIPS, *FILLER]), tmp_path / "out"
    quiz = benchmark(tmp_path / "quiz.jsonl", QUIZ)
    result = shell(path, "--benchmarks", f"gsm={benchmark(tmp_path / 'g.jsonl')}", quiz, "--out", out)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "4 documents, 1 flagged; 1 dropped, 3 kept"
    assert lines[2].split() == ["benchmark", "flagged", "items", "matchable", "planted", "recall", "control"]
    assert lines[3].split()[:5] == ["gsm", "1", "2", "2", "100.00%"]
    assert lines[4].split()[:4] == ["quiz", "0", "3", "2"]
    assert f"{out}/hits.parquet" in result.stdout
    assert "stage: contamination" in result.stdout


def test_every_option_has_the_name_of_the_manual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"key": "k1", "body": f"{FILLER[0]} {ORCHARD}"}, {"key": "k2", "body": FILLER[1]}]
    arguments = [
        str(benchmark(tmp_path / "in.jsonl", lines)), "--benchmarks", str(benchmark(tmp_path / "one.jsonl", GSM)),
        "--benchmarks", f"q={benchmark(tmp_path / 'two.jsonl', QUIZ)}", "--out", str(tmp_path / "out"),
        "--id-column", "key", "--text-column", "body", "--action", "cut", "--jobs", "1", "--memory", "2GB", "--json",
    ]  # fmt: skip
    assert main(["decontaminate", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 1
    assert found(tmp_path / "out") == [("k1", "one", "1", "question")]
    assert survivors(tmp_path / "out") == [{"key": "k1", "body": FILLER[0]}, {"key": "k2", "body": FILLER[1]}]


def test_spaces_and_letters_of_any_language_in_paths_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "my data \u00e9\u4e2d" / "a [1].parquet", [CLIPS, FILLER[0], FILLER[1]])
    gsm, out = benchmark(tmp_path / "b \u00fc" / "gsm.jsonl"), tmp_path / "out \u00fc"
    assert main(["decontaminate", str(path), "--benchmarks", str(gsm), "--out", str(out)]) == 0
    assert found(out) == [(f"{path}#0", "gsm", "0", "question")]


@pytest.mark.parametrize("limit", [0, 2_000, 200_000])
def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    path, gsm = write(tmp_path / "in.parquet", [*many_texts(), CLIPS]), benchmark(tmp_path / "gsm.jsonl")
    assert_one_error_and_nothing_left(tmp_path, ["decontaminate", path, "--benchmarks", gsm], limit)
