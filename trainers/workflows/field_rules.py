"""Rules of the field that a training plan may break, each with where its numbers come from.

A source is quoted for the numbers that stand beside it; a number that is ours is called so, in the source too, and one
marked as a rule of thumb is common practice without a study behind it. The papers were read as abstracts and summaries;
Hoffmann, Dettmers and Brown are quoted from memory. All rules are about models that were trained before, but for
`tokens_from_scratch`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trainers.recipe.tuning import LOW_RANK

FAR = 1.25
"""A domain is called far where the base needs so many times the bits per byte of general text for it; ours."""


@dataclass(frozen=True)
class Numbers:
    """What a plan says of itself; shares and ratios are 0 to 1 and more."""

    objective: str
    """dapt or sft."""
    method: str
    is_from_scratch: bool
    parameters: int
    trained_parameters: int
    examples: int
    """Distinct documents, or chats, of the domain."""
    unique_tokens: int
    """Tokens of the distinct documents of the domain."""
    unique_labels: int
    """Supervised ones of them."""
    tokens: int
    """Tokens of the whole run, repeats and replay included."""
    epochs: float
    """How often the domain's tokens are seen."""
    replay_share: float
    """Of the supervised tokens."""
    learning_rate: float
    pretraining_rate: float
    """With which models of this size are pre-trained."""
    warmup_fraction: float
    cut_share: float
    """Documents of the domain that are longer than a row."""
    tokens_per_byte_ratio: float | None = None
    """Of the domain, to general text."""
    bits_per_byte_ratio: float | None = None
    """Of the domain, to general text, under the base."""


@dataclass(frozen=True)
class Rule:
    """A rule: `check` returns (what the plan has, what the rule wants), None where it is kept or does not apply."""

    name: str
    source: str
    check: Callable[[Numbers], tuple[str, str] | None]
    is_rule_of_thumb: bool = False


def broken_rules(numbers: Numbers) -> list[dict[str, object]]:
    """Return rule, found, needed, source and is_rule_of_thumb of every rule that the plan breaks."""
    found = [(rule, rule.check(numbers)) for rule in RULES]
    return [
        {
            "rule": rule.name,
            "found": said[0],
            "needed": said[1],
            "source": rule.source,
            "is_rule_of_thumb": rule.is_rule_of_thumb,
        }
        for rule, said in found
        if said is not None
    ]


def replay_range(numbers: Numbers) -> tuple[float, float]:
    """Return the least and the most replay that the field advises, by how far the domain is; the 10 % are ours."""
    ratio = numbers.bits_per_byte_ratio
    if ratio is None:
        return 0.05, 0.25
    return (0.10, 0.25) if ratio >= FAR else (0.05, 0.10)


def rate_range(numbers: Numbers) -> tuple[float, float] | None:
    """Return the usual learning rates of the plan's mode; None for modes without a rule.

    The rates of the sources (RULES) lie inside; how far around them is ours.
    """
    if numbers.method in LOW_RANK:
        return 5e-5, 5e-4
    if numbers.method != "full" or numbers.is_from_scratch:
        return None
    return (5e-6, 5e-5) if numbers.objective == "sft" else (0.03 * numbers.pretraining_rate, numbers.pretraining_rate)


def _examples(least: int, methods: tuple[str, ...]) -> Callable[[Numbers], tuple[str, str] | None]:
    def check(n: Numbers) -> tuple[str, str] | None:
        if n.objective != "sft" or n.method not in methods or n.is_from_scratch or n.examples >= least:
            return None
        return f"{n.examples:,} examples", f"{least:,} or more for {n.method}"

    return check


def _replay(n: Numbers) -> tuple[str, str] | None:
    least, most = replay_range(n)
    # Shares are met by whole documents, so a share asked for may be exceeded by a little.
    if n.objective != "dapt" or n.is_from_scratch or least <= n.replay_share <= most + 0.01:
        return None
    return f"{100 * n.replay_share:.1f} % replay", f"{100 * least:.0f} % to {100 * most:.0f} %{_how_far(n)}"


def _how_far(n: Numbers) -> str:
    ratio = n.bits_per_byte_ratio
    if ratio is None:
        return ""
    return f" for a {'far' if ratio >= FAR else 'related'} domain ({ratio:.2f} of general text's bits per byte)"


def _rate(methods: tuple[str, ...], objectives: tuple[str, ...]) -> Callable[[Numbers], tuple[str, str] | None]:
    def check(n: Numbers) -> tuple[str, str] | None:
        allowed = rate_range(n)
        if n.method not in methods or n.objective not in objectives or allowed is None:
            return None
        low, high = allowed
        if low * 0.999 <= n.learning_rate <= high * 1.001:
            return None
        return f"learning rate {n.learning_rate:g}", f"{low:.2g} to {high:.2g}"

    return check


def _rank(n: Numbers) -> tuple[str, str] | None:
    if n.method not in LOW_RANK or n.trained_parameters >= n.unique_labels:
        return None
    return (
        f"{n.trained_parameters:,} trained parameters for {n.unique_labels:,} distinct labels",
        "no fewer parameters than labels: a larger r, or all weights",
    )


def _epochs(n: Numbers) -> tuple[str, str] | None:
    if n.epochs <= 4:
        return None
    return f"{n.epochs:.1f} times over the domain", "at most 4; repeats beyond are worth ever less"


def _warmup(n: Numbers) -> tuple[str, str] | None:
    if 0.01 <= n.warmup_fraction <= 0.1:
        return None
    return f"{100 * n.warmup_fraction:.1f} % of the steps warm up", "1 % to 10 %"


def _context(n: Numbers) -> tuple[str, str] | None:
    if n.cut_share <= 0.05:
        return None
    return (
        f"{100 * n.cut_share:.0f} % of the documents are longer than a row and are cut",
        "5 % or fewer: a larger row_tokens",
    )


def _vocabulary(n: Numbers) -> tuple[str, str] | None:
    ratio = n.tokens_per_byte_ratio
    if ratio is None or ratio <= 1.2:
        return None
    return (
        f"{ratio:.2f} times as many tokens per byte as general text",
        "at most 1.2: extend the vocabulary for the domain",
    )


def _from_scratch(n: Numbers) -> tuple[str, str] | None:
    if not n.is_from_scratch or n.tokens >= 20 * n.parameters:
        return None
    return (
        f"{n.tokens / n.parameters:.2g} tokens per parameter from scratch",
        "about 20 for the best use of the compute",
    )


_OURS = "our border; there is no study behind it"
RULES = (
    Rule(
        "examples_for_adapters",
        "guides on the web say 100 to 1,000, OpenAI's sees gains from 50 to 100 on",
        _examples(500, LOW_RANK),
        is_rule_of_thumb=True,
    ),
    Rule(
        "examples_for_full",
        "guides on the web; Touvron et al. 2023, arXiv:2307.09288, tuned Llama 2 on 27,540",
        _examples(10_000, ("full",)),
        is_rule_of_thumb=True,
    ),
    Rule(
        "replay",
        "Ibrahim et al. 2024, arXiv:2403.08763: 5 % from English to English, 25 % from English to German; the 10 % "
        "between related and far is ours",
        _replay,
    ),
    Rule(
        "rate_of_adapters",
        "Dettmers et al. 2023, arXiv:2305.14314 (1e-4 to 2e-4); Biderman et al. 2024, arXiv:2405.09673 (up to 5e-4); "
        "5e-5 is ours",
        _rate(LOW_RANK, ("dapt", "sft")),
    ),
    Rule(
        "rate_of_full_sft",
        "Touvron et al. 2023, arXiv:2307.09288: 2e-5; the range around it is ours",
        _rate(("full",), ("sft",)),
    ),
    Rule(
        "rate_of_full_dapt",
        "Ibrahim et al. 2024, arXiv:2403.08763 (warmed up again to pre-training's); rates by size: Brown et al. 2020, "
        "arXiv:2005.14165, table 2.1; the least is ours",
        _rate(("full",), ("dapt",)),
    ),
    Rule(
        "rank_for_the_data",
        "Schulman et al. 2025, LoRA Without Regret, and Tinker's LoRA primer: parameters no fewer than trained tokens",
        _rank,
    ),
    Rule("epochs", "Muennighoff et al. 2023, arXiv:2305.16264: up to 4 epochs as good as new text", _epochs),
    Rule("warm_up", "what trainers have as defaults", _warmup, is_rule_of_thumb=True),
    Rule("context_length", f"what is cut refers to what is gone; {_OURS}", _context, is_rule_of_thumb=True),
    Rule("tokenizer_fit", f"a fifth more time and context; {_OURS}", _vocabulary, is_rule_of_thumb=True),
    Rule("tokens_from_scratch", "Hoffmann et al. 2022, arXiv:2203.15556: about 20 a parameter", _from_scratch),
)
