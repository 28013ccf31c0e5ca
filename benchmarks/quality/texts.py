"""Good text: passages of the shared technical and book corpora. Bad text: damaged copies of them, and nltk's webtext.

Each passage is damaged in one way, drawn from its name. The copy shares the key of its original, so either both are
trained on or both are held out. Boilerplate comes from two lists, one for each side of that split, so that held-out
text has none of the phrases that were trained on.
"""

import random
import re
from functools import partial

import polars as pl

from benchmarks.contamination.world import seeded, shared_corpora
from engine.annotate._classifier.examples import is_held_out
from engine.base.hashing import digest_bytes

GOOD = ("peps", "rust-rfcs", "eips", "gutenberg", "enwiki")
LEAST_CHARS = 200
OCR_SHARE = 0.03
"""Of the characters; about one word in six is hit."""
WORDS_BETWEEN = 40
CONFUSED = {"l": "1", "1": "l", "o": "0", "0": "o", "e": "c", "c": "e", "h": "b", "b": "h", "m": "rn", "u": "ii"}
CONFUSED |= {
    "i": "l",
    "S": "5",
    "B": "8",
    "g": "q",
    "n": "ri",
    "w": "vv",
    "a": "o",
    "t": "f",
    "d": "cl",
    ".": ",",
    " ": "",
}
TRAINED_BOILERPLATE = (
    "Home | About | Contact | Sitemap", "Share this article on Facebook Twitter LinkedIn", "Click here to read more",
    "We use cookies to improve your experience. Accept all", "Sign up for our newsletter and never miss a deal",
    "Copyright 2019. All rights reserved.", "Log in or create an account to leave a comment", "Previous post Next post",
    "Add to cart Add to wishlist", "You may also like these products", "Page 1 of 12 Next »", "Advertisement",
    "Leave a reply Your email address will not be published", "Tags: news, updates, featured", "Back to top",
)  # fmt: skip
HELD_OUT_BOILERPLATE = (
    "Skip to main content", "Menu Search Login Register", "Follow us: Instagram YouTube Pinterest RSS",
    "This website stores data such as cookies. Manage preferences", "Subscribe now and get 20% off your first order",
    "Terms of Service Privacy Policy Imprint", "Be the first to review this item", "Related articles: see all 48",
    "Posted by admin on Monday at 10:42 am, 3 comments", "Free shipping on orders over $50. Shop now!",
    "Print this page Email to a friend", "Loading... please enable JavaScript to view the comments",
    "Categories: Uncategorized | Permalink", "Read more...", "Was this page helpful? Yes No",
)  # fmt: skip


def all_texts() -> pl.DataFrame:
    """Return label (1 good), source (corpus or kind of damage), name, text and key of all passages, good and bad."""
    corpora = shared_corpora()
    good = [(source, name, text) for source in GOOD for name, text in corpora[source] if len(text) >= LEAST_CHARS]
    keys = [digest_bytes(name.encode()) for _, name, _ in good]
    is_tested = is_held_out(pl.Series(keys, dtype=pl.Binary))
    rows = [(1, source, name, text, key) for (source, name, text), key in zip(good, keys, strict=True)]
    for (_, name, text), key, held_out in zip(good, keys, is_tested, strict=True):
        draw = random.Random(seeded("damage", name))
        kind = draw.choice(("shuffled words", "boilerplate", "OCR-like noise"))
        phrases = HELD_OUT_BOILERPLATE if held_out else TRAINED_BOILERPLATE
        damaged = {"shuffled words": shuffle, "OCR-like noise": misread}.get(kind, partial(pad, phrases))(text, draw)
        rows.append((0, kind, f"{name} ({kind})", damaged, key))
    for name, text in corpora["nltk"]:
        if name.startswith("nltk/webtext/") and len(text) >= LEAST_CHARS:
            rows.append((0, "webtext", name, text, digest_bytes(name.encode())))
    schema = {"label": pl.Int32, "source": pl.String, "name": pl.String, "text": pl.String, "key": pl.Binary}
    return pl.DataFrame(rows, schema=schema, orient="row")


def shuffle(text: str, draw: random.Random) -> str:
    """Return the words in a drawn order, the white space between them where it was."""
    parts = re.split(r"(\s+)", text)
    words = parts[::2]
    draw.shuffle(words)
    parts[::2] = words
    return "".join(parts)


def pad(phrases: tuple[str, ...], text: str, draw: random.Random) -> str:
    """Return the text with a line of boilerplate about every 40 words."""
    parts = re.split(r"(\s+)", text)
    for place in range(draw.randrange(2 * WORDS_BETWEEN) // 2 * 2, len(parts), 2 * WORDS_BETWEEN):
        parts[place] += f"\n{draw.choice(phrases)}\n"
    return "".join(parts)


def misread(text: str, draw: random.Random) -> str:
    """Return the text with 3 % of its characters taken for one that looks like it, or for a stray mark."""
    return "".join(
        (CONFUSED.get(character) or draw.choice(("~", "^", "", "|", "'"))) if draw.random() < OCR_SHARE else character
        for character in text
    )
