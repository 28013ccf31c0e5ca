"""Licences as people write them -> SPDX licence expressions (SPDX 2.3, annex D; identifiers as `packaging` knows them).

Tried in this order: an SPDX expression in any case; a list in JSON (several licences of one document: all hold); an
address of a licence; names joined by "or", "and", "/", "|" or ","; one name. Old identifiers that do not say which
versions they mean are written out, as GPL-2.0 and GPL-2.0+ are GPL-2.0-only and GPL-2.0-or-later. The numbers of a
Creative Commons licence that was adapted to a country are kept where SPDX has that adaptation, else its general
version stands for it.
"""

import json
import re
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

UNKNOWN = "unknown"
MAX_CHARS = 500
"""Longer than any name: whole licence texts in metadata are no names."""
_OLD = {
    **{f"{name}-{version}": f"{name}-{version}-only" for name, version in (
        ("AGPL", "1.0"), ("AGPL", "3.0"), ("GFDL", "1.1"), ("GFDL", "1.2"), ("GFDL", "1.3"), ("GPL", "1.0"),
        ("GPL", "2.0"), ("GPL", "3.0"), ("LGPL", "2.0"), ("LGPL", "2.1"), ("LGPL", "3.0"),
    )},
    "GPL-2.0-with-autoconf-exception": "GPL-2.0-only WITH Autoconf-exception-2.0",
    "GPL-2.0-with-bison-exception": "GPL-2.0-or-later WITH Bison-exception-2.2",
    "GPL-2.0-with-classpath-exception": "GPL-2.0-only WITH Classpath-exception-2.0",
    "GPL-2.0-with-font-exception": "GPL-2.0-only WITH Font-exception-2.0",
    "GPL-2.0-with-GCC-exception": "GPL-2.0-only WITH GCC-exception-2.0",
    "GPL-3.0-with-autoconf-exception": "GPL-3.0-only WITH Autoconf-exception-3.0",
    "GPL-3.0-with-GCC-exception": "GPL-3.0-only WITH GCC-exception-3.1",
    "BSD-2-Clause-FreeBSD": "BSD-2-Clause",
    "BSD-2-Clause-NetBSD": "BSD-2-Clause",
    "bzip2-1.0.5": "bzip2-1.0.6",
    "StandardML-NJ": "SMLNJ",
}  # fmt: skip
_GNU = {"gpl": "GPL", "lgpl": "LGPL", "agpl": "AGPL", "gfdl": "GFDL", "fdl": "GFDL"}
_GNU_VERSIONS = {
    "GPL": {"1.0", "2.0", "3.0"},
    "LGPL": {"2.0", "2.1", "3.0"},
    "AGPL": {"1.0", "3.0"},
    "GFDL": {"1.1", "1.2", "1.3"},
}
_NO_LICENCE = {
    "",
    "unknown",
    "none",
    "null",
    "nan",
    "n/a",
    "na",
    "other",
    "noassertion",
    "see license",
    "unspecified",
    "?",
    "-",
}
_JOINED = re.compile(r"\s*(?:\b(or|and)\b|([/|,;&+]))\s*", re.IGNORECASE)


@lru_cache(maxsize=100_000)
def spdx_of(name: str) -> str:
    """Return the SPDX expression for what somebody wrote as a licence; `unknown` where it names none."""
    name = " ".join(name.split())
    while re.fullmatch(r"\([^()]*\)", name):
        name = name[1:-1].strip()
    if name.lower() in _NO_LICENCE or len(name) > MAX_CHARS:
        return UNKNOWN
    return _expression(name) or _listed(name) or _address(name) or _name(name) or _joined(name) or UNKNOWN


def _expression(name: str) -> str | None:
    try:
        canonical = str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return None
    words = re.split(r"([ ()])", canonical)
    return "".join(word if words[max(at - 2, 0)] == "WITH" else _modern(word) for at, word in enumerate(words))


def _modern(identifier: str) -> str:
    later = identifier.removesuffix("+")
    if later != identifier and f"{later}-only" == _OLD.get(later):
        return f"{later}-or-later"
    return _OLD.get(identifier, identifier)


def _listed(name: str) -> str | None:
    if not name.startswith("["):
        return None
    try:
        values = json.loads(name)
    except ValueError:
        return None
    found = [spdx_of(value) if isinstance(value, str) else UNKNOWN for value in values]
    return all_of(found) if found and UNKNOWN not in found else None


def all_of(expressions: list[str]) -> str:
    """Return the expression that says that all hold: each once, in their order."""
    different = list(dict.fromkeys(expressions))
    if len(different) == 1:
        return different[0]
    return " AND ".join(f"({part})" if " OR " in part else part for part in different)


def _joined(name: str) -> str | None:
    parts = _JOINED.split(name)
    names, joints = parts[::3], [(word or sign).lower() for word, sign in zip(parts[1::3], parts[2::3], strict=True)]
    if not joints or not all(names):
        return None
    # Dual licences are written MIT/Apache-2.0; a comma or an ampersand leaves no choice.
    choices = [joint in ("or", "/", "|") for joint in joints]
    found = [_expression(part) or _address(part) or _name(part) for part in names]
    if len(set(choices)) > 1 or None in found:
        return None
    known = [part for part in found if part is not None]
    return " OR ".join(dict.fromkeys(known)) if choices[0] else all_of(known)


def _address(name: str) -> str | None:
    match = re.search(r"(?:^|//|\b)(?:www\.)?([a-z0-9.-]+\.(?:org|com|eu|net))(/\S*)?", name.lower())
    if match is None:
        return None
    host, path = match[1], (match[2] or "/").rstrip("/.,;)>")
    if host == "creativecommons.org":
        return _creative_commons_path(path)
    path = re.sub(r"\.(html?|txt|php|md|rdf)$", "", path)
    last = path.rpartition("/")[2]
    if host in ("opensource.org", "spdx.org", "choosealicense.com") and re.match(r"/licen[sc]es?/", path):
        return _expression(last) or _name(last)
    if host in ("gnu.org", "fsf.org") and "/licenses/" in path:
        return _name(last)
    if host == "apache.org" and last.startswith("license-"):
        return _name(f"apache {last.removeprefix('license-')}")
    if host == "mozilla.org" and "/mpl" in path:
        return _name(f"mpl {last}" if re.match(r"[0-9]", last) else last)
    if host == "opendatacommons.org" and path.startswith("/licenses/"):
        return {"odbl": "ODbL-1.0", "by": "ODC-By-1.0", "pddl": "PDDL-1.0"}.get(path.split("/")[2])
    return {"unlicense.org": "Unlicense", "wtfpl.net": "WTFPL"}.get(host)


def _creative_commons_path(path: str) -> str | None:
    match = re.match(r"/(licenses|publicdomain)/([a-z-]+)(?:/([0-9.]+))?(?:/([a-z]{2,3})\b)?", path)
    if match is None:
        return None
    kind, name, version, country = match.groups()
    if kind == "publicdomain":
        return {"zero": "CC0-1.0", "mark": "CC-PDM-1.0", "certification": "CC-PDDC"}.get(name)
    if name == "publicdomain":
        return "CC-PDDC"
    return creative_commons(name.split("-"), version, country)


def creative_commons(elements: list[str], version: str | None, country: str | None = None) -> str | None:
    """Return the identifier of a Creative Commons licence from its elements (by, nc, nd, sa) in any order."""
    if not set(elements) <= {"by", "nc", "nd", "sa"} or "by" not in elements or {"nd", "sa"} <= set(elements):
        return None
    name = "-".join(["CC", *(element.upper() for element in ("by", "nc", "nd", "sa") if element in elements)])
    if version is None:
        return f"LicenseRef-{name}"
    version = version if "." in version else f"{version}.0"
    adapted = _expression(f"{name}-{version}-{country}") if country is not None else None
    return adapted or _expression(f"{name}-{version}")


_CC_WORDS = (
    ("attribution", "by"),
    ("non commercial", "nc"),
    ("noncommercial", "nc"),
    ("no derivatives", "nd"),
    ("no derivs", "nd"),
    ("noderivatives", "nd"),
    ("noderivs", "nd"),
    ("share alike", "sa"),
    ("sharealike", "sa"),
)
_FILLERS = re.compile(
    r"\b(?:the|a|an|licen[sc]e[ds]?|licen[sc]ing|under|version|ver|software|osi approved|public licence|v)\b"
)
_NAMES: tuple[tuple[str, ...], ...] = (
    # Identifier, and patterns of whole names: in lower case, without fillers, one space between words.
    ("MIT", "mit(?: x11| mit)?", "mit expat", "expat", "x11 mit", "mit style"),
    ("MIT-0", "mit 0", "mit no attribution"),
    ("X11", "x11"),
    ("Apache-2.0", r"(?:apache|asl|al)(?: foundation)? 2(?:\.0)?(?: 0)?", "apache 2 0", r"apache2(?:\.0)?"),
    ("Apache-1.1", r"(?:apache|asl)(?: foundation)? 1\.1"),
    ("LicenseRef-Apache", "apache(?: foundation)?", "asl"),
    (
        "BSD-3-Clause",
        "(?:bsd )?(?:3|three) clause(?: bsd)?",
        "(?:new|modified|revised) bsd",
        "bsd (?:new|modified|revised)",
        "bsd ?3(?: clause)?",
        "bsd 3 clause (?:new|revised|new or revised)",
    ),
    (
        "BSD-2-Clause",
        "(?:bsd )?(?:2|two) clause(?: bsd)?",
        "(?:simplified|freebsd) bsd",
        "bsd (?:simplified|2)",
        "freebsd",
        "bsd 2 clause simplified",
    ),
    ("BSD-4-Clause", "(?:original|old|4 clause) bsd", "bsd (?:original|4)", "bsd 4 clause(?: original or old)?"),
    ("0BSD", "(?:zero|0) clause bsd", "bsd (?:zero|0) clause"),
    ("LicenseRef-BSD", "bsd(?: style)?", "bsd like"),
    ("ISC", "isc(?: iscl)?"),
    ("Zlib", "zlib(?: libpng)?"),
    ("BSL-1.0", r"boost(?: 1\.0)?", r"bsl 1\.0"),
    ("Unlicense", "(?:the )?unlicense(?: unlicense)?"),
    ("WTFPL", r"wtfpl(?: 2(?:\.0)?)?"),
    ("PSF-2.0", r"psf(?: 2(?:\.0)?)?", "python foundation", "psfl"),
    ("Python-2.0", r"python 2\.0"),
    (r"MPL-\1", r"(?:mpl|mozilla public) ?(1\.0|1\.1|2\.0)(?: mpl \1)?"),
    ("MPL-2.0", "(?:mpl|mozilla public) ?2"),
    (r"EPL-\1", r"(?:epl|eclipse public) ?(1\.0|2\.0)(?: epl \1)?"),
    (r"CDDL-\1", r"(?:cddl|common development and distribution) ?(1\.[01])"),
    (r"EUPL-\1", r"(?:eupl|european union public) ?(1\.[012])(?: eupl \1)?"),
    ("Artistic-2.0", r"artistic 2(?:\.0)?"),
    ("Artistic-1.0", r"artistic 1(?:\.0)?"),
    ("Artistic-1.0-Perl OR GPL-1.0-or-later", "perl", "(?:same terms|same) as perl(?: itself)?", "perl 5"),
    ("PostgreSQL", "postgresql", "postgres"),
    ("OFL-1.1", r"ofl(?: 1\.1)?", r"sil(?: open font)?(?: ofl)?(?: 1\.1)?", r"(?:sil )?open font(?: 1\.1)?"),
    ("ODbL-1.0", r"odbl(?: 1(?:\.0)?)?", r"open (?:data commons )?(?:open )?database(?: 1\.0)?"),
    ("ODC-By-1.0", r"odc by(?: 1\.0)?", r"open data commons attribution(?: 1\.0)?"),
    ("PDDL-1.0", r"pddl(?: 1\.0)?", "open data commons public domain dedication and"),
    (
        "CC0-1.0",
        r"cc ?0(?: 1\.0)?(?: universal)?",
        r"(?:creative commons|cc) zero(?: 1\.0)?(?: universal)?",
        r"cc0 1\.0 universal(?: cc0 1\.0)?(?: public domain dedication)?",
    ),
    ("CC-PDM-1.0", r"public domain mark(?: 1\.0)?", r"cc pdm(?: 1\.0)?", r"pdm(?: 1\.0)?"),
    (
        "LicenseRef-Public-Domain",
        "public ?domain(?: dedication)?",
        "pd",
        "in public domain",
        "us government work",
        "us pd",
        "no known copyright(?: restrictions)?",
    ),
    (
        "LicenseRef-Proprietary",
        "proprietary",
        "all rights reserved",
        "commercial",
        "copyrighted",
        "closed",
        "other proprietary",
    ),
    (
        "LicenseRef-OpenRAIL",
        "(?:bigscience )?(?:bloom )?(?:open)?rail(?: m)?(?: .*)?",
        r"openrail(?:\+\+)?",
        "creativeml openrail m",
    ),
    (r"AFL-\1", "academic free ([0-9.]+)"),
    ("BlueOak-1.0.0", r"blue oak model 1(?:\.0)*"),
    ("BSD-2-Clause-Patent", "bsd 2 clause (?:plus )?patent"),
    ("CECILL-2.1", r"cecill(?: free agreement)? 2\.1", "cecill(?: free agreement)?"),
    ("ECL-2.0", r"educational community 2(?:\.0)?"),
    ("LPPL-1.3c", r"latex project public 1\.3c"),
    ("MS-PL", "microsoft public", "ms pl"),
    ("MS-RL", "microsoft reciprocal", "ms rl"),
    ("MulanPSL-2.0", "mulan permissive 2"),
    ("NCSA", "university of illinois ncsa open source", "ncsa"),
    ("OSL-3.0", r"open 3(?:\.0)?", r"osl 3(?:\.0)?"),
    ("UPL-1.0", r"universal permissive 1\.0"),
    ("LicenseRef-Llama", "llama ?([0-9.]+)?(?: community)?"),
    (r"OGL-UK-\1.0", r"(?:open government|ogl)(?: uk)? ([123])\.0"),
)
_COMPILED = [(re.compile(pattern), spdx) for spdx, *patterns in _NAMES for pattern in patterns]


def _name(name: str) -> str | None:
    plain = re.sub(r"^license ::(?: osi approved ::)?", "", name.lower().replace("_", " "))
    gnu = _gnu(plain)
    if gnu is not None:
        return gnu
    without = re.sub(r"(?<![a-z0-9])v(?=[0-9])", " ", plain)
    without = re.sub(r"[^a-z0-9.+]+", " ", without)
    without = re.sub(r"\.(?![0-9])", " ", without)
    without = " ".join(_FILLERS.sub(" ", without).split())
    common = _creative_commons_name(without)
    if common is not None:
        return common
    for pattern, spdx in _COMPILED:
        if (match := pattern.fullmatch(without)) is not None:
            return match.expand(spdx)
    return _expression("-".join(without.split())) if without else None


def _creative_commons_name(plain: str) -> str | None:
    named = re.match(r"(?:cc\b|creative commons\b|attribution\b)(?! ?0)(?! zero)", plain)
    if named is None:
        return None
    for words, element in _CC_WORDS:
        plain = re.sub(rf"\b{words}\b", element, plain)
    match = re.fullmatch(
        r"(?:creative commons )?(?:cc )?((?:(?:by|nc|nd|sa) ?)+)([0-9](?:\.[0-9])?)?"
        r"(?: ?(?:international|generic|unported|igo|[a-z]{2}))?(?: (?:cc )?(?:(?:by|nc|nd|sa) ?)+[0-9.]*)?",
        plain,
    )
    return creative_commons(match[1].split(), match[2]) if match is not None else None


def _gnu(plain: str) -> str | None:
    """Return the identifier of a GNU licence: which, its version, and whether later ones may be chosen."""
    plain = re.sub(r">=\s*([0-9.]+)", r"\1+", re.sub(r"[-_,()\"]+", " ", plain))
    for words, short in (
        (r"(?:gnu )?affero (?:gnu )?general public", "agpl"),
        (r"(?:gnu )?(?:lesser|library)(?: or library)?(?: or lesser)? general public", "lgpl"),
        (r"gnu general public|general public", "gpl"),
        (r"(?:gnu )?free documentation", "gfdl"),
    ):
        plain = re.sub(words, short, plain)
    plain = re.sub(
        r"\b(?:the|gnu|licen[sc]e|version|ver|only|clause)\b", lambda m: "only" if m[0] == "only" else " ", plain
    )
    match = re.match(r"\s*(gpl|lgpl|agpl|gfdl|fdl)\s*v?\.?\s*([0-9](?:\.[0-9])?)?(?:\.0)?\s*(.*)$", plain)
    if match is None:
        return None
    which, rest = _GNU[match[1]], " ".join(match[3].split())
    # What follows may say "or later" and repeat the short name, and nothing else.
    said = re.sub(r"\b(?:gpl|lgpl|agpl|gfdl|fdl)\s*v?[0-9.]*\s*\+?", lambda m: " + " if "+" in m[0] else " ", rest)
    is_later = bool(re.search(r"\+|\bor (?:any )?(?:later|newer|above|greater)|\blater\b", said))
    said = re.sub(r"\+|\b(?:or|any|at|your|option|later|newer|above|greater|versions?|only|of)\b", " ", said)
    if said.strip(" ."):
        return None
    if match[2] is None:
        return {"GPL": "GPL-1.0-or-later", "LGPL": "LGPL-2.0-or-later"}.get(which, f"LicenseRef-{which}")
    version = match[2] if "." in match[2] else f"{match[2]}.0"
    if version not in _GNU_VERSIONS[which]:
        return None
    return f"{which}-{version}-{'or-later' if is_later else 'only'}"
