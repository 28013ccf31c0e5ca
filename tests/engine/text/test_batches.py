"""Batches of texts: every document once under its number, for any runs and threads; errors end all of it."""

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import batches
from engine.text.batches import TextRun, each_batch, text_bounds

Arrays = list[list[str | None]]
JOBS = [1, 2, 4]
string_types = st.sampled_from([pa.string(), pa.large_string()])
arrays_of_texts = st.lists(st.lists(st.none() | st.text(max_size=12), max_size=6), max_size=5)


def run_of(first: int, arrays: Sequence[pa.Array]) -> TextRun:
    """A run that yields `arrays`."""
    return TextRun(first, sum(map(len, arrays)), lambda: iter(arrays))


def batches_of(runs: Sequence[TextRun], jobs: int) -> list[tuple[int, list[str | None]]]:
    """All batches by their first document."""
    found = []
    each_batch(runs, lambda first, batch: found.append((first, batch.to_pylist())), jobs)
    return sorted(found, key=lambda batch: batch[0])


def numbered(batches: Sequence[tuple[int, list[str | None]]]) -> list[tuple[int, str | None]]:
    return [(first + place, text) for first, batch in batches for place, text in enumerate(batch)]


def array_of(values: list[str | None], kind: pa.DataType, is_slice: bool) -> pa.Array:
    """An Arrow array; a slice of a longer one begins in the middle of its buffers."""
    return pa.array(["before", *values, "behind"], kind).slice(1, len(values)) if is_slice else pa.array(values, kind)


def single_texts(count: int) -> list[pa.Array]:
    return [pa.array([f"text {number}"]) for number in range(count)]


@given(
    st.lists(arrays_of_texts, max_size=7),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
    string_types,
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([1, 5, 30, 1 << 20]),
)
@settings(deadline=None)
def test_every_document_comes_once_with_its_number_and_text(
    runs_of_arrays: list[Arrays], gaps: list[int], kind: pa.DataType, is_slice: bool, jobs: int, batch_bytes: int
) -> None:
    runs, expected, document = [], [], 0
    for arrays, gap in zip(runs_of_arrays, gaps, strict=False):
        document += gap
        run = run_of(document, [array_of(values, kind, is_slice) for values in arrays])
        runs.append(run)
        expected += list(enumerate((text for values in arrays for text in values), document))
        document += run.num_documents
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "BATCH_BYTES", batch_bytes)
        found = batches_of(runs, jobs)
    assert numbered(found) == expected
    sizes = [sum(len((text or "").encode()) for text in batch) for _, batch in found]
    assert all(size <= batch_bytes or len(batch) == 1 for size, (_, batch) in zip(sizes, found, strict=True))
    assert all(batch for _, batch in found)


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("is_slice", [False, True], ids=["whole", "slice"])
def test_document_larger_than_a_batch_comes_alone_between_its_neighbours(
    monkeypatch: pytest.MonkeyPatch, jobs: int, is_slice: bool
) -> None:
    monkeypatch.setattr(batches, "BATCH_BYTES", 10)
    array = array_of(["aaaa", "bbbb", "c" * 50, "", "dd", "e" * 11, "f"], pa.string(), is_slice)
    found = batches_of([run_of(5, [array])], jobs)
    assert found == [(5, ["aaaa", "bbbb"]), (7, ["c" * 50]), (8, ["", "dd"]), (10, ["e" * 11]), (11, ["f"])]


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("num_runs", [0, 1, 300])
def test_no_run_one_and_many_are_read_to_the_end(jobs: int, num_runs: int) -> None:
    runs = [run_of(3 * number, [pa.array([f"{number}", "b"]), pa.array(["c"])]) for number in range(num_runs)]
    assert [number for number, _ in numbered(batches_of(runs, jobs))] == list(range(3 * num_runs))


@pytest.mark.parametrize("num_threads", [2, 4])
def test_all_threads_share_the_only_run(num_threads: int) -> None:
    names, lock = set(), threading.Lock()

    def work(first: int, batch: pa.Array) -> None:
        with lock:
            names.add(threading.current_thread().name)
        time.sleep(0.005)

    each_batch([run_of(0, single_texts(60))], work, num_threads)
    assert len(names) == num_threads


def test_a_run_is_never_read_by_two_threads_at_once() -> None:
    inside, most = 0, 0

    def read() -> Iterator[pa.Array]:
        nonlocal inside, most
        for _ in range(40):
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)
            inside -= 1
            yield pa.array(["a"])

    each_batch([TextRun(0, 40, read)], lambda first, batch: None, 4)
    assert most == 1


def test_runs_are_read_side_by_side_while_there_are_enough() -> None:
    both = threading.Barrier(2, timeout=20)

    def read() -> Iterator[pa.Array]:
        both.wait()
        yield pa.array(["a"])

    each_batch([TextRun(0, 1, read), TextRun(1, 1, read)], lambda first, batch: None, 2)
    assert both.n_waiting == 0


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("num_runs", [1, 1000])
def test_error_in_the_work_is_raised_and_stops_the_others(jobs: int, num_runs: int) -> None:
    error, num_done = RuntimeError("at document 7"), 0
    arrays = single_texts(1000)
    length = 1000 // num_runs
    runs = [run_of(start, arrays[start : start + length]) for start in range(0, 1000, length)]

    def work(first: int, batch: pa.Array) -> None:
        nonlocal num_done
        if first == 7:
            raise error
        num_done += 1
        time.sleep(0.002)

    with pytest.raises(RuntimeError) as caught:
        each_batch(runs, work, jobs)
    assert caught.value is error
    assert num_done < 100


def test_of_the_errors_of_all_threads_one_is_raised() -> None:
    all_in = threading.Barrier(3, timeout=20)
    errors = []

    def work(first: int, batch: pa.Array) -> None:
        all_in.wait()
        errors.append(RuntimeError(f"at document {first}"))
        raise errors[-1]

    with pytest.raises(RuntimeError, match="at document") as caught:
        each_batch([run_of(0, single_texts(50))], work, 3)
    assert len(errors) == 3
    assert caught.value in errors


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize("num_before", [0, 2])
def test_error_in_a_reader_is_raised_and_stops_the_others(jobs: int, num_before: int) -> None:
    num_done = 0

    def read() -> Iterator[pa.Array]:
        yield from single_texts(num_before)
        raise OSError("the disk is gone")

    def work(first: int, batch: pa.Array) -> None:
        nonlocal num_done
        num_done += 1
        time.sleep(0.002)

    others = [run_of(1000 + start, single_texts(10)) for start in range(0, 1000, 10)]
    with pytest.raises(OSError, match="the disk is gone"):
        each_batch([TextRun(0, 1000, read), *others], work, jobs)
    assert num_done < 100


@pytest.mark.parametrize("jobs", JOBS)
@pytest.mark.parametrize(
    ("num_documents", "arrays", "message"),
    [
        (3, [["a"], ["b"]], "2 texts were read where 3 documents are"),
        (1, [["a", "b"]], "2 texts were read where 1 documents are"),
        (1, [], "0 texts were read where 1 documents are"),
    ],
    ids=["fewer", "more", "none"],
)
def test_run_of_another_number_of_texts_than_it_said_is_an_error(
    jobs: int, num_documents: int, arrays: Arrays, message: str
) -> None:
    run = TextRun(10, num_documents, lambda: iter([pa.array(values) for values in arrays]))
    with pytest.raises(ValueError, match=message):
        each_batch([run], lambda first, batch: None, jobs)


@pytest.mark.parametrize("jobs", JOBS)
def test_threads_are_gone_when_it_returns(jobs: int) -> None:
    def raises(first: int, batch: pa.Array) -> Any:
        raise RuntimeError("one")

    before = threading.active_count()
    batches_of([run_of(0, single_texts(9))], jobs)
    with pytest.raises(RuntimeError):
        each_batch([run_of(0, single_texts(9))], raises, jobs)
    assert threading.active_count() == before


@given(st.lists(st.none() | st.text(max_size=9)), string_types, st.integers(0, 5), st.integers(0, 5))
def test_bounds_are_the_bytes_of_each_text_in_the_buffer(
    values: list[str | None], kind: pa.DataType, begin: int, cut: int
) -> None:
    array: Any = pa.array(values, kind)[begin : max(begin, len(values) - cut)]
    if not len(array):
        return
    bounds = text_bounds(array)
    data = (array.buffers()[2] or pa.py_buffer(b"")).to_pybytes()
    found = [data[one:other].decode() for one, other in pairwise(bounds)]
    assert found == [text or "" for text in array.to_pylist()]
    assert str(bounds.dtype) == "int64"
