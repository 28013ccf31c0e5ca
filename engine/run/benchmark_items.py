"""The benchmarks of a recipe: files as their authors publish them become items once, for the search and for probes."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.base.atomic import atomic_folder
from engine.base.errors import RecipeError, problem
from engine.base.hashing import digest_json
from engine.base.paths import written_path
from engine.formats.items import benchmark_digest, item_digests, write_items
from engine.formats.receipt import Receipt, write_receipt
from engine.run.steps import PlanEndsError, RunContext, Stopwatch

if TYPE_CHECKING:
    from engine.sources._benchmarks import Benchmark


@dataclass(frozen=True)
class BenchmarkItems:
    """A benchmark of the workspace: its items.parquet, the digest of its items, and how many there are."""

    path: Path
    digest: str
    """Of what its items say, whatever they are called."""
    stored: str
    """Of its items with their names, in their order."""
    num_items: int


def benchmark_items(context: RunContext) -> dict[str, BenchmarkItems]:
    """Return the recipe's benchmarks by name, made where they are missing.

    Raises InputError for unusable files, RecipeError for a name that a held-out set has too.
    """
    recipe = context.recipe
    if not recipe.benchmarks:
        return {}
    # Most recipes name none, and every worker imports this module.
    from engine.sources._benchmarks import find_benchmarks

    found = find_benchmarks([_placed(given, recipe.base) for given in recipe.benchmarks], recipe.benchmark_fields)
    by_name = {one.name: one for one in found.benchmarks}
    # Said before any work is done; hits and coverage go by this name.
    if shared := sorted(set(by_name) & set(recipe.split.heldout if recipe.split is not None else ())):
        finding = f"'{shared[0]}' is a benchmark and a held-out set"
        fix = f"write OTHER_NAME={by_name[shared[0]].path.name}, with the path you gave"
        raise RecipeError(problem(f"{recipe.path.name}: benchmarks", finding, "one name each", fix))
    return {name: _kept(context, one) for name, one in sorted(by_name.items())}


def _placed(given: str, base: Path) -> str:
    """Return [NAME=]PATH with the path as sources have it: from the recipe's folder, else from the current one."""
    name, sign, path = given.partition("=")
    whole = _existing(given, base)
    if whole is not None or not sign:
        return str(whole or base / given)
    return f"{name}={_existing(path, base) or base / path}"


def _existing(path: str, base: Path) -> Path | None:
    places = (folder / written_path(path) for folder in (base.absolute(), Path.cwd()))
    return next((place for place in places if place.exists()), None)


def _kept(context: RunContext, benchmark: "Benchmark") -> BenchmarkItems:
    # Results name items and draw by these names, so what is stored goes by them too.
    stored = digest_json([benchmark.items["item"].to_list(), item_digests(benchmark.items)])
    folder = context.workspace.benchmark(benchmark.name, stored)

    def make() -> None:
        watch = Stopwatch()
        with atomic_folder(folder) as temporary:
            write_items(temporary / "items.parquet", benchmark.items)
            write_receipt(
                temporary,
                Receipt(
                    made_by="benchmark/1",
                    digest=stored,
                    inputs={},
                    config={"path": benchmark.path.name, "shape": benchmark.shape},
                    rows=benchmark.items.height,
                    seconds=watch.seconds,
                    details={"notes": list(benchmark.notes)},
                ),
            )

    # In a dry run the plan goes on: only stages that search for it depend on it, and they go by the digest.
    with suppress(PlanEndsError):
        context.ensure(f"benchmark {benchmark.name}", folder, stored, make, (folder / "items.parquet").is_file())
    digest = benchmark_digest(benchmark.items)
    return BenchmarkItems(folder / "items.parquet", digest, stored, benchmark.items.height)
