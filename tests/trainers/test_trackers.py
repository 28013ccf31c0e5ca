import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trainers.loop
from engine.base.errors import ResourceError
from engine.formats.run import metrics_lines
from engine.formats.workspace import Workspace
from trainers.recipe import TrackConfig
from trainers.trackers import require_trackers, step_figures
from trainers.train import train


def test_figures_of_a_step_are_its_own_and_those_of_its_sources() -> None:
    line = {
        "step": 3,
        "loss": 2.0,
        "supervised_tokens": 90,
        "tokens": 100,
        "learning_rate": 0.1,
        "grad_norm": None,
        "seconds": 0.5,
        "sources": {"docs": {"loss": None, "supervised_tokens": 0, "tokens": 40, "is_replay": False}},
    }
    assert step_figures(line) == {
        "train/loss": 2.0,
        "train/learning_rate": 0.1,
        "train/tokens_per_second": 200.0,
        "supervised_tokens/docs": 0,
        "tokens/docs": 40,
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            TrackConfig(tensorboard=True),
            "track.tensorboard: the package tensorboard is not installed. Fix: pip",
        ),
        (TrackConfig(wandb="p"), "track.wandb: the package wandb is not installed. Fix: pip install wandb"),
    ],
)
def test_package_that_is_missing_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, config: TrackConfig, message: str
) -> None:
    require_trackers(TrackConfig())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError) as raised:
        require_trackers(config)
    assert message in str(raised.value)


def train_killed_at(step: int, path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, end at a step (from 1), train again to the end."""
    original = trainers.loop.train_step

    def dying(training: object, number: int) -> object:
        if number == step - 1:
            raise KeyboardInterrupt
        return original(training, number)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(trainers.loop, "train_step", dying)
        with pytest.raises(KeyboardInterrupt):
            train(path, workspace.root)
    train(path, workspace.root)


def test_tensorboard_has_every_step_once_after_a_kill(
    workspace: Workspace, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = recipe(track={"tensorboard": True}, max_steps=8, checkpoints={"every_steps": 3})
    train_killed_at(6, path, workspace, monkeypatch)
    folder = workspace.run("tiny")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("train/loss")]
    lines = [figures for _, figures in metrics_lines(folder)]
    assert points == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert [event.step for event in events.Scalars("bits_per_byte/general")] == [0, 3, 6, 8]
    assert {"loss/code", "loss/docs (replay)", "tokens/code", "relative_rise/code"} <= set(events.Tags()["scalars"])


def records(path: Path) -> Iterator[bytes]:
    """The records of a log of LevelDB, which is what a .wandb file is behind its header of 7 bytes."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb_is_offline_and_has_every_step_once_after_a_kill(
    workspace: Workspace, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    path = recipe(track={"wandb": "project"}, probes=None, max_steps=8, checkpoints={"every_steps": 3})
    train_killed_at(6, path, workspace, monkeypatch)
    folder = workspace.run("tiny")
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)
    assert len({file.name for file in files}) == 1, "sessions are one run"
    points = []
    for file in files:
        for data in records(file):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("history"):
                items = record.history.item
                figures = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
                points.append((figures["_step"], figures["train/loss"]))
    assert points == [(figures["step"], figures["loss"]) for _, figures in metrics_lines(folder)]


def test_wandb_that_cannot_begin_is_told_and_not_a_bug(
    workspace: Workspace, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")

    def refused(**_: object) -> None:
        raise wandb.errors.UsageError("api_key not configured")

    monkeypatch.setattr(wandb, "init", refused)
    with pytest.raises(ResourceError, match=r"track.wandb: wandb cannot begin the run \(api_key not configured\)"):
        train(recipe(track={"wandb": "project"}, probes=None, max_steps=1), workspace.root)
