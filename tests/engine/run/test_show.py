"""What a run looks like in a terminal."""

from typing import Any

from engine.run.show import show_run
from engine.run.steps import TOKEN_STORE

SAMPLE = {"pairs": 40, "found": 39, "share": 0.975, "interval_95": [0.8712, 0.9956]}
NO_SAMPLE = {"pairs": 0, "found": 0, "share": None, "interval_95": None}
PLANTED = {"planted": 1000, "found": 991, "share": 0.991, "interval_95": [0.9831, 0.9952]}


def shown(state: str, details: dict[str, Any]) -> str:
    step = {"name": "near_dup", "state": state, "why": "", "rows": 10, "seconds": 1.0, "details": details}
    return show_run({"dry_run": False, "steps": [step], "annotating": [], "ledger": [], "n_eff": {}, "mixtures": []})


def test_measured_recall_of_a_stage_is_shown_with_its_intervals() -> None:
    details = {"floor": 0.5, "measured_recall": {**PLANTED, "brute_force_sample": SAMPLE}}
    for state in ("made", "fresh"):
        assert (
            "near_dup: recall at 0.5: 991 of 1,000 = 99.1% (95 % interval 98.3% to 99.5%) "
            "of planted near-duplicates found\n"
            "near_dup: recall at 0.5 and above: 39 of 40 = 97.5% (95 % interval 87.1% to 99.6%) "
            "of a brute-force sample's pairs found\n"
        ) in shown(state, details)


def test_recall_that_could_not_be_measured_is_not_shown() -> None:
    nothing = {"planted": 0, "found": 0, "share": None, "interval_95": None, "brute_force_sample": NO_SAMPLE}
    assert "recall" not in shown("made", {"floor": 0.5, "measured_recall": nothing})
    assert "recall" not in shown("made", {})


def test_relatives_of_held_out_documents_are_counted_beside_them() -> None:
    size = {"set": "general", "documents": 16, "bytes": 8352, "tokens": None}
    text = shown("made", {"sets": [size | {"group_documents": 21}]})
    assert "8,352 bytes; 5 relatives of them are neither measured nor trained on\n" in text
    assert "relatives" not in shown("made", {"sets": [size | {"group_documents": 16}]})


def test_control_tokens_in_front_of_nothing_are_named() -> None:
    step = {"name": TOKEN_STORE, "state": "made", "why": "", "rows": 10, "seconds": 1.0}
    step |= {"details": {"control_tokens": {"<|lang:en|>": 7, "<|lang:english|>": 0}}}
    text = show_run({"dry_run": False, "steps": [step], "annotating": [], "ledger": [], "n_eff": {}, "mixtures": []})
    assert "documents behind each: <|lang:en|> 7\n" in text
    assert "in front of no document: <|lang:english|>; look at the values of its column" in text


def test_each_stage_has_its_share_of_the_time() -> None:
    wave = {"num_bytes": 3_000_000, "num_shards": 2, "wall_seconds": 0.5}
    seconds = {"heuristics": 0.2, "(reading)": 0.0, "language": 0.6}
    wave |= {"work_seconds": seconds, "stage_bytes": {"heuristics": 600_000, "language": 3_000_000}}
    result = {"dry_run": False, "steps": [], "annotating": [wave]}
    text = show_run(result | {"ledger": [], "n_eff": {}, "mixtures": []})
    assert "annotating: 3.0 MB of text in 0.5 s, 6.0 MB/s\n" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["language", "0.6", "75%", "5.0", "MB/s"] in lines
    assert ["heuristics", "0.2", "25%", "3.0", "MB/s"] in lines
    assert ["(reading)", "0.0", "0%"] in lines


def outcome(source: str, name: str, reason: str | None, documents: int) -> dict[str, Any]:
    return {"source": source, "outcome": name, "reason": reason, "documents": documents, "bytes": 0, "tokens": None}


def finished(ledger: list[dict[str, Any]], mixtures: list[dict[str, Any]]) -> str:
    n_eff = {"documents": {"before": 3.5218, "after": 2.0}, "tokens": {"before": 3.1, "after": 1.987}}
    return show_run({
        "dry_run": False, "steps": [], "annotating": [], "ledger": ledger, "n_eff": n_eff, "mixtures": mixtures,
    })  # fmt: skip


def test_what_balance_left_over_has_its_column_and_its_reason() -> None:
    ledger = [outcome("web", "in", None, 9), outcome("web", "kept", None, 4), outcome("web", "dropped", "too_short", 2)]
    assert "over budget" not in finished(ledger, [])
    lines = finished([*ledger, outcome("web", "over_budget", "languages", 3)], []).splitlines()
    assert ["source", "in", "kept", "held", "out", "dropped", "over", "budget", "why"] in [s.split() for s in lines]
    assert ["web", "9", "4", "0", "2", "3", "languages", "3,", "too_short", "2"] in [s.split() for s in lines]


def test_effective_numbers_are_said_before_and_after() -> None:
    assert "N_eff of the sources, read -> kept: documents 3.52 -> 2.00, tokens 3.10 -> 1.99" in finished([], [])


def test_repeated_tokens_of_a_mixture_are_said() -> None:
    mixture = {"reference": "m@v1", "documents": 3, "tokens": 1_000, "unique_tokens": 1_000, "num_steps": 2}
    mixture |= {"n_eff_before": 1.0, "n_eff_after": 1.0}
    assert "m@v1: 3 documents, 1,000 tokens, 2 steps, N_eff 1.00 -> 1.00" in finished([], [mixture])
    assert "1,000 tokens (37.5% of them repeated), 2 steps" in finished([], [mixture | {"unique_tokens": 625}])


def test_what_changed_comes_before_what_is_fresh() -> None:
    made = {"name": "mixture all", "state": "made", "why": "", "rows": 1, "seconds": 1.0, "details": {}}
    fresh = {"name": "near_dup", "state": "fresh", "why": "", "rows": 10, "seconds": 0.0, "details": {}}
    rest = {"dry_run": False, "annotating": [], "ledger": [], "n_eff": {}, "mixtures": []}
    both = show_run({"steps": [fresh, made], **rest}).splitlines()
    assert both[1].split() == ["mixture", "all", "made", "1", "span,", "1.0", "s"]
    assert both[2] == "fresh: near_dup"
    assert show_run({"steps": [fresh], **rest}).startswith("nothing changed: 1 step is fresh\n")
