"""Notices of a licence at the beginning of a text: SPDX tags, and the sentences licences ask their users to write.

Looked for: `SPDX-License-Identifier:` lines; "this ... is licensed under <name>" and "Licensed under <name>", where the
name is one of engine.annotate.license.names with a version; the notices of the GNU licences, MPL and Boost; the
permissions of MIT, BSD, ISC, Zlib and Unlicense, which are their own text; dedications to the public domain; the title
of a licence above its terms. A tag decides alone; else all notices that are found hold together, and of several that
one may choose from nothing is said. A text that only talks about a licence has none of these sentences, as a rule; a
text that quotes one is taken for licensed under it.
"""

import re
from collections.abc import Callable, Iterator

import polars as pl

from engine.annotate.license.names import UNKNOWN, all_of, spdx_of

_WORTH_READING = r"(?i)licen[sc]e|public[\s*#/;%]+domain|hereby[\s*#/;%]+granted|redistribution|unencumbered"
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() \t-]+)")
_VERBS = r"(?:licensed|released|distributed|published|available|provided)"
_PAST_UNDER = 160
"""More characters than _UNDER reads from its last verb on."""
_UNDER = re.compile(
    rf"(?:^|[.;:)] |\bthis (?:[a-z]+ ){{1,5}}(?:is|are|has been) (?:[a-z]+ ){{0,3}}){_VERBS} under"
    r" (?:the )?(?:terms of |conditions of )?(?:the |an? )?([a-z0-9][a-z0-9 .,+()]{2,100})"
)
_ADDRESS = re.compile(rf"(?i){_VERBS} under[^.]{{0,80}}?https?://(creativecommons\.org/[^\s\"'<>)\]]+)")
_IN_ADDRESS = "vecommon"
"""Part of creativecommons without i and s: ignoring case, they match characters that `lower` keeps as they are."""
_GNU = re.compile(
    r"under the terms (?:and conditions )?of (?:version ([0-9.]+) of )?the gnu (lesser |library |affero )?general"
    r" public licen[sc]e(?:,? \(?[al]?gpl\)?)?,?(?: version ([0-9.]+))?"
    r"(?: as published by the free software foundation)?[;,:.]?(?: either)?"
    r" ?(?:version ([0-9.]+)(?: of the licen[sc]e)?)?[;,]?( or \(?at your option\)?,? any later version)?"
)
_GNU_NAMES = {"": "GPL", "lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL"}
_MIT = re.compile(
    r"permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated"
    r" documentation files \(the software ?\), to deal in the software without restriction, including without"
    r" limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and or sell copies of the"
    r" software, and to permit persons to whom the software is furnished to do so(?P<condition>, subject to the"
    r" following conditions:? the above copyright notices? and this permission notice"
    r" (?:\(including the next paragraph\) )?shall be included in all copies or substantial portions of the"
    r" software)?\. the software is provided"
)
_BSD_BEGINS = "redistribution and use in source and binary forms, with or without modification, are permitted provided"
_BSD_ADDS_MORE = re.compile(
    r"end user documentation|redistributions of any form|may not be called|except as contained in this notice|patent"
    r"|nuclear|cryptographic|eric young|openssl|altered source|in any other form|commercial|misrepresented"
    r"|without modification\. |immediately at the beginning|military|freely available"
)
_ZLIB = re.compile(
    r"1\. the origin of this software must not be misrepresented.{,300}2\. altered source versions must be plainly"
    r" marked.{,150}3\. this notice may not be removed or altered from any (?:source )?distribution\.(?! ?4\.)"
)
_ISC = re.compile(
    r"permission to use, copy, modify, and(?: or)? distribute this software for any purpose with or without fee is"
    r" hereby granted(?:(?P<condition>,? provided that the above copyright notice and this permission notice appear in"
    r" all copies)|)\."
)
_SAYS_LICENCE = re.compile(r"(?i)[0-9]|licen[sc]e|public domain|\b(?:mit|isc|zlib|unlicense)\b")
"""A name that is an everyday word or a company too (Intel, curl, Fair) has to be called a licence."""
_CHOICE = re.compile(r"\b(?:dual|dually|alternatively|either of|at your choice|your choice of|choose)\b")
_TITLE = re.compile(r"(?:the )?((?:[a-z0-9.,()]+ ){0,8}?licen[sc]e(?: v(?:ersion)?\.? ?[0-9]+(?:\.[0-9]+)*)?)\b")
_TERMS = re.compile(r"terms and conditions|hereby grant|redistribution and use|definitions|preamble")
_PUBLIC_DOMAIN = re.compile(
    r"\bthis (?:[a-z]+ ){1,3}(?:is|has been|was) (?:hereby )?(?:(?:placed|released|put|dedicated) )?"
    r"(?:in|into|to) the public domain"
)
_PHRASES = (
    (_ZLIB, "Zlib"),
    (re.compile("this is free and unencumbered software released into the public domain"), "Unlicense"),
    (re.compile(r"subject to the terms of the mozilla public license, v\. ?2\.0"), "MPL-2.0"),
    (re.compile(r"boost software license version 1\.0"), "BSL-1.0"),
    (re.compile("permitted to copy and distribute verbatim or modified copies of this license document"), "WTFPL"),
)

_MARKS = "*#/;%<>\"'`|!_=~\u2018\u2019\u201a\u201b\u201c\u201d-"
"""Signs of comments, of emphasis and quotation marks: no part of a sentence."""


def notices_in(texts: pl.Series, num_chars: int) -> pl.Series:
    """Return the SPDX expression of the notices in the first `num_chars` characters of each text, null without any."""
    heads = pl.DataFrame({"head": texts.str.slice(0, num_chars)}).with_row_index("row")
    worth = heads.filter(pl.col("head").str.contains(_WORTH_READING))
    found = worth.select("row", spdx=pl.Series([licence_of(head) for head in worth["head"]], dtype=pl.String))
    return heads.select("row").join(found, on="row", how="left", maintain_order="left")["spdx"]


def licence_of(head: str) -> str | None:
    """Return the SPDX expression of the notices in a text, None without any."""
    tags = [known for tag in _TAG.findall(head) if (known := _tagged(tag)) is not None]
    if tags:
        return all_of(tags)
    lower = head.lower()
    plain = _plain(lower)
    found = [spdx for rule in _RULES for spdx in rule(plain)]
    if _IN_ADDRESS in lower:
        found += [spdx for address in _ADDRESS.findall(head) if (spdx := spdx_of(address)) != UNKNOWN]
    different = list(dict.fromkeys(found))
    if not different or (len(different) > 1 and _CHOICE.search(plain)):
        return None  # of several that one may choose from
    return all_of(different)


def _plain(lower: str) -> str:
    """Return the words without marks, one space between them."""
    # One at a time is several times as fast as a regular expression for all.
    for mark in _MARKS:
        lower = lower.replace(mark, " ")
    return " ".join(lower.split())


def _tagged(words: str) -> str | None:
    """Return the expression at the beginning of what follows a tag."""
    parts = words.split()[:12]
    known = (spdx_of(" ".join(parts[:end])) for end in range(len(parts), 0, -1))
    return next((spdx for spdx in known if spdx != UNKNOWN), None)


def _longest_name(words: str) -> str | None:
    """Return the licence named by the longest beginning that names one, None where it says no version."""
    parts = words.split()
    for end in range(min(len(parts), 12), 0, -1):
        name = " ".join(parts[:end]).rstrip(".,;")
        spdx = spdx_of(name)
        if spdx != UNKNOWN and _SAYS_LICENCE.search(name):
            # GPL, BSD, CC BY: which one stands somewhere else, if anywhere.
            is_vague = spdx.startswith("LicenseRef-") or (spdx.endswith("-or-later") and not re.search("[0-9]", name))
            return None if is_vague else spdx
    return None


def _under(plain: str) -> Iterator[str]:
    last = max(plain.rfind("d under "), plain.rfind("e under "))  # the ends of _VERBS
    for name in _UNDER.findall(plain, 0, last + _PAST_UNDER) if last >= 0 else ():
        if (spdx := _longest_name(name)) is not None:
            yield spdx


def _gnu(plain: str) -> Iterator[str]:
    if "special exception" in plain or "additional permission" in plain:
        return
    for before, which, after, behind, later in _GNU.findall(plain):
        version = (before or after or behind).rstrip(".")
        spdx = spdx_of(f"{_GNU_NAMES[which]} {version}{'+' if later else ''}") if version else UNKNOWN
        if spdx != UNKNOWN:
            yield spdx


def _mit(plain: str) -> Iterator[str]:
    # To the word: many licences are MIT's text with one more condition.
    match = _MIT.search(plain)
    if match is not None and "except as contained in this notice" not in plain[match.end() :]:
        yield "MIT-0" if match["condition"] is None else "MIT"


def _bsd(plain: str) -> Iterator[str]:
    start = plain.find(_BSD_BEGINS)
    end = plain.find("possibility of such damage", start)
    # Without its end nobody knows how many clauses there are.
    if start < 0 or end < 0:
        return
    terms, behind = plain[start:end], plain[end : end + 600]
    is_plain = "redistributions of source code must retain the above" in terms and (
        "redistributions in binary form must reproduce the above" in terms
    )
    if not is_plain or _BSD_ADDS_MORE.search(plain[start : end + 600]):
        return
    if "all advertising materials mentioning features or use of this software must display" in terms:
        yield "BSD-4-Clause-UC" if "university of california" in terms else "BSD-4-Clause"
    elif re.search(r"endorse or promote|endorse products", terms):
        yield "BSD-3-Clause"
    elif "the views and conclusions contained in the software" in behind:
        yield "BSD-2-Clause-Views"
    else:
        yield "BSD-2-Clause"


def _isc(plain: str) -> Iterator[str]:
    match = _ISC.search(plain)
    if match is not None:
        yield "0BSD" if match["condition"] is None else "ISC"


def _phrases(plain: str) -> Iterator[str]:
    yield from (spdx for phrase, spdx in _PHRASES if phrase.search(plain))


def _public_domain(plain: str) -> Iterator[str]:
    if "the public domain" in plain and _PUBLIC_DOMAIN.search(plain):
        yield "LicenseRef-Public-Domain"


def _title(plain: str) -> Iterator[str]:
    match = _TITLE.match(plain)
    if match is not None and _TERMS.search(plain) and (spdx := _longest_name(match[1])) is not None:
        yield spdx


_RULES: tuple[Callable[[str], Iterator[str]], ...] = (_under, _gnu, _mit, _bsd, _isc, _phrases, _public_domain, _title)
