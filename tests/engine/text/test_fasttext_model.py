"""fastText models: every damaged file is an InputError, and the answers are those of fastText line by line."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.base.errors import InputError
from engine.text.fasttext_model import check, load

LINES = {
    "eng": ["the cat sat on the mat", "a dog and a cat", "this is the house that was built"],
    "deu": ["die Katze sitzt auf der Matte", "ein Hund und eine Katze", "das ist das Haus das gebaut wurde"],
    "fra": ["le chat est sur le tapis", "un chien et un chat", "voici la maison qui fut construite"],
}
OPTIONS = {"dim": 8, "epoch": 30, "lr": 0.5, "minn": 1, "maxn": 3, "bucket": 500, "seed": 1, "thread": 1, "verbose": 0}


def trained(folder: Path, **options: Any) -> Any:
    import fasttext

    file = folder / "lines.txt"
    # The sides mixed, and some of them twice: fastText learns in the order of the file.
    lines = [
        f"__label__{name} {line}\n"
        for _ in range(4)
        for row in zip(*([[n, x] for x in t] for n, t in LINES.items()), strict=True)
        for name, line in row
    ]
    file.write_text("".join(lines))
    return fasttext.train_supervised(input=str(file), **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained(folder).save_model(str(folder / "model.bin"))
    return folder / "model.bin"


def test_probabilities_are_those_of_fasttext_line_by_line(model_path: Path) -> None:
    import fasttext

    reference, model = fasttext.load_model(str(model_path)), load(model_path)
    lines = ["the cat", "eine Katze und ein Hund", "la maison", "chat", "zzz qqq"] * 1000
    found = model.probabilities(lines)
    assert found.shape == (5000, 3)
    assert found.dtype == np.float32
    assert set(model.labels) == set(LINES)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-3)
    for number in (0, 1, 2, 3, 4, 4095, 4096, 4999):
        names, chances = reference.predict(lines[number], k=3)
        expected = {
            name.removeprefix("__label__"): min(float(chance), 1.0) for name, chance in zip(names, chances, strict=True)
        }
        assert {name: float(chance) for name, chance in zip(model.labels, found[number], strict=True)} == expected
    assert found.max() <= 1


def test_top_is_sorted_and_filled_up(model_path: Path) -> None:
    numbers, chances = load(model_path).top(["the cat sat on the mat", ""], 5)
    assert numbers.shape == chances.shape == (2, 5)
    assert load(model_path).labels[numbers[0, 0]] == "eng"
    assert (np.diff(chances[0]) <= 0).all()
    assert numbers[0, 3:].tolist() == [-1, -1]


def test_no_lines_have_no_rows(model_path: Path) -> None:
    assert load(model_path).probabilities([]).shape == (0, 3)


@pytest.mark.parametrize("separator", ["\n", "\r\n", " </s> "])
def test_a_line_is_read_to_its_end(model_path: Path, separator: str) -> None:
    model = load(model_path)
    english = "the cat sat on the mat and this is the house"
    assert (model.probabilities([f"Katze{separator}{english}"]) == model.probabilities([f"Katze {english}"])).all()


def test_a_file_changed_under_its_name_is_read_anew(tmp_path: Path) -> None:
    trained(tmp_path).save_model(str(tmp_path / "model.bin"))
    before = load(tmp_path / "model.bin")
    trained(tmp_path, dim=4).save_model(str(tmp_path / "model.bin"))
    assert load(tmp_path / "model.bin") is not before
    assert load(tmp_path / "model.bin") is load(tmp_path / "model.bin")


@pytest.mark.parametrize("options", [{}, {"loss": "hs"}, {"loss": "ova"}, {"bucket": 0, "minn": 0, "maxn": 0}])
def test_models_of_every_loss_are_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    trained(tmp_path, **options).save_model(str(tmp_path / "model.bin"))
    assert load(tmp_path / "model.bin").probabilities(["the cat"]).shape == (1, 3)


@pytest.mark.parametrize("options", [{}, {"qnorm": True}, {"cutoff": 300}])
def test_quantised_models_are_whole_and_damage_to_them_is_found(tmp_path: Path, options: dict[str, Any]) -> None:
    model = trained(tmp_path, dim=16, bucket=2000)
    model.quantize(input=str(tmp_path / "lines.txt"), thread=1, **options)
    path = tmp_path / "model.ftz"
    model.save_model(str(path))
    assert load(path).probabilities(["the cat"]).shape == (1, 3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="ends within the model"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (b"PK\3\4", "has 4 bytes"),
        (bytes(range(256)) * 4, "is no fastText model"),
        (struct.pack("<2i", 793712314, 99), "version 99"),
        (struct.pack("<2i", 793712314, 12), "ends within the model, after 8 bytes"),
        (struct.pack("<2i12id3i2q", 793712314, 12, *[3] * 12, 0.1, 2**30, 2**30, 0, 1, -1), "ends within the model"),
        (struct.pack("<2i12id3i2q", 793712314, 12, *[3] * 12, 0.1, -5, -5, 0, 1, -1), "ends within the model"),
    ],
)
def test_a_file_that_is_no_model_is_an_input_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "Needed: a supervised fastText model" in str(caught.value)


def test_every_cut_of_a_model_is_an_input_error(model_path: Path, tmp_path: Path) -> None:
    whole = model_path.read_bytes()
    path = tmp_path / "cut.bin"
    for size in [*range(8, 400, 7), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            check(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="1 bytes behind the model"):
        check(path)


def test_word_vectors_are_no_classifier(tmp_path: Path) -> None:
    import fasttext

    (tmp_path / "lines.txt").write_text("the cat sat on the mat\n" * 20)
    vectors = fasttext.train_unsupervised(
        str(tmp_path / "lines.txt"), dim=4, minCount=1, bucket=10, thread=1, verbose=0
    )
    vectors.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(InputError, match="word vectors, without labels"):
        load(tmp_path / "vectors.bin")


def test_folders_and_missing_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "none.bin")
