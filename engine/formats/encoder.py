"""Opens any tokenizer that texts can be counted with: a folder of ours, or a file as other projects publish it.

Counting needs no end-of-document id, so a plain tokenizer.model (SentencePiece) or tokenizer.json (Hugging Face), or a
folder that holds one of them, will do. Text that looks like a special token is encoded as plain text, and nothing is
added, cut short or padded, whatever the file asks for.
"""

from functools import lru_cache
from pathlib import Path

from engine.base.errors import InputError, problem
from engine.base.hashing import digest_file
from engine.formats.segments import by_segments, segment_encoder
from engine.formats.tokenizer import FILES, META, Encoder, file_encoder, load_tokenizer

_KINDS = {"huggingface": "a Hugging Face tokenizer", "sentencepiece": "a SentencePiece model"}
_NEEDED = "a tokenizer folder of provender, a tokenizer.json (Hugging Face) or a tokenizer.model (SentencePiece)"


def open_encoder(path: Path) -> Encoder:
    """Return the encoder of a tokenizer folder of ours, a tokenizer file, or a folder with a tokenizer file.

    Of a folder with both files tokenizer.json is taken, which is what transformers prefers. The kind of a file is read
    off its content. Raises InputError where there is no tokenizer, or one of another kind.
    """
    if (path / META).is_file():
        return segment_encoder(load_tokenizer(path))
    file = _file_of(path)
    return _opened(_kind_of(file), file, digest_file(file))


def _file_of(path: Path) -> Path:
    if not path.exists():
        raise InputError(problem(path, "no such file or folder", _NEEDED))
    if not path.is_dir():
        return path
    for kind in _KINDS:
        if (path / FILES[kind]).is_file():
            return path / FILES[kind]
    fix = "load it with transformers and save it with save_pretrained, which writes a tokenizer.json"
    raise InputError(problem(path, "a folder without a tokenizer that can be read here", _NEEDED, fix))


def _kind_of(file: Path) -> str:
    with file.open("rb") as content:
        return "huggingface" if content.read(64).lstrip()[:1] == b"{" else "sentencepiece"


@lru_cache(maxsize=4)
def _opened(kind: str, file: Path, digest: str) -> Encoder:  # noqa: ARG001 - a file that changed is opened again
    try:
        return by_segments(file_encoder(kind, file), kind, file)
    except Exception as error:  # tokenizers raises nothing narrower
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(problem(file, f"not {_KINDS[kind]} ({reason})", _NEEDED)) from error
