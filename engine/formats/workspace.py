"""The folders of a workspace: one place that knows which path belongs to what."""

from dataclasses import dataclass
from pathlib import Path

from engine.base.errors import InputError, problem
from engine.base.hashing import short

DEFAULT_WORKSPACE = "provender-workspace"
FOLDERS = (
    "annotations", "audits", "benchmarks", "documents", "labels", "mixtures", "models", "recipes", "runs", "schedules",
    "selections", "splits", "tokenizers", "tokens",
)  # fmt: skip
"""What can stand in a workspace."""


@dataclass(frozen=True)
class Workspace:
    """Paths under `root`; nothing is created here."""

    root: Path

    @classmethod
    def open(cls, root: Path | str) -> "Workspace":
        """Return a workspace that exists; raises InputError where there is none."""
        path = Path(root)
        if not path.is_dir():
            raise InputError(
                problem(
                    path, "there is no such workspace folder", fix="run `provender run RECIPE --workspace FOLDER` first"
                )
            )
        return cls(path)

    def places(self) -> list[Path]:
        """Return where its files lie: `root`, and where those of FOLDERS lead that are links, as to another disk."""
        folders = (self.root / name for name in FOLDERS)
        return [self.root, *(folder.resolve() for folder in folders if folder.is_symlink() and folder.is_dir())]

    def documents(self, source: str, input_digest: str) -> Path:
        """documents/<source>/<input digest>/: ids, core columns and, where converted, texts."""
        return self.root / "documents" / source / short(input_digest)

    def annotation(self, prefix: str, digest: str) -> Path:
        """annotations/<stage or its `as`>/<config digest>/."""
        return self.root / "annotations" / prefix / short(digest)

    def selection(self, digest: str) -> Path:
        """selections/<digest>/: kept, dropped with reason, held out."""
        return self.root / "selections" / short(digest)

    def split(self, digest: str) -> Path:
        """splits/<digest>/: the held-out sets."""
        return self.root / "splits" / short(digest)

    def benchmark(self, name: str, digest: str) -> Path:
        """benchmarks/<name>/<digest>/: items.parquet, what a benchmark asks."""
        return self.root / "benchmarks" / name / short(digest)

    def model(self, digest: str) -> Path:
        """models/<digest>/: classifiers of stages and base models of the trainer."""
        return self.root / "models" / short(digest)

    def tokenizer(self, digest: str) -> Path:
        """tokenizers/<digest>/."""
        return self.root / "tokenizers" / short(digest)

    def audit(self, digest: str) -> Path:
        """audits/<digest>/: what was found when a token store was decoded and searched."""
        return self.root / "audits" / short(digest)

    def labels(self) -> Path:
        """labels/: what people said of documents (engine.formats.labels)."""
        return self.root / "labels"

    def mixture(self, name: str, version: int) -> Path:
        """mixtures/<name>/v<version>/."""
        return self.root / "mixtures" / name / f"v{version}"

    def tokens(self, digest: str) -> Path:
        """tokens/<digest>/: the token store."""
        return self.root / "tokens" / short(digest)

    def schedule(self, digest: str) -> Path:
        """schedules/<digest>/: where every span goes."""
        return self.root / "schedules" / short(digest)

    def run(self, name: str) -> Path:
        """runs/<name>/."""
        return self.root / "runs" / name

    def state(self, recipe: str) -> Path:
        """recipes/<name>.json: which artifacts the last run of this recipe ended with; the views read it."""
        return self.root / "recipes" / f"{recipe}.json"
