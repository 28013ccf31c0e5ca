"""What a licence asks for, in one word, by SPDX identifier.

public_domain    nothing is asked                     CC0, PDDL, Unlicense, WTFPL, 0BSD, MIT-0, public domain marks
permissive       credit and the notice                MIT, BSD, Apache, ISC, Zlib, CC-BY, ODC-By, PSF, OGL-UK, ...
weak_copyleft    changed files stay under it          LGPL, MPL, EPL, CDDL, OFL, EUPL, MS-RL, GPL with an exception, ...
copyleft         what is made of it stays under it    GPL, AGPL, GFDL, CC-BY-SA, ODbL, OSL, CECILL, ...
no_derivatives   no changed copies                    CC-BY-ND
noncommercial    no commercial use                    CC-BY-NC and its kin, PolyForm-Noncommercial, ...
proprietary      more than that                       LicenseRef-Proprietary, OpenRAIL, Llama, BUSL, SSPL, Elastic
other            a licence this table does not have
unknown          no licence is known

In this order they ask for more and more. Of licences that all hold (AND) the one that asks for most decides, of a
choice (OR) the one that asks for least; beside a licence of family `other` a choice is that of the known one, and what
holds together is other. An exception (WITH) makes a GNU licence weak.
"""

import re
from fnmatch import fnmatchcase

UNKNOWN, OTHER = "unknown", "other"
ORDER = (
    "public_domain",
    "permissive",
    "weak_copyleft",
    "copyleft",
    "no_derivatives",
    "noncommercial",
    "proprietary",
    OTHER,
)
_IDENTIFIERS = {
    "noncommercial": """
        CC-BY-NC* LicenseRef-CC-BY-NC* CC-NC-1.0 PolyForm-Noncommercial-* PolyForm-Small-Business-* Aladdin NCGL-UK-*
        BSD-*-No-*-License* C-UDA-1.0""",
    "no_derivatives": "CC-BY-ND-* LicenseRef-CC-BY-ND",
    "public_domain": """
        CC0-* CC-PDDC CC-PDM-* PDDL-* Unlicense Unlicense-* WTFPL 0BSD MIT-0 NIST-PD* SAX-PD* blessing libselinux-1.0
        LicenseRef-Public-Domain""",
    "weak_copyleft": """
        LGPL-* LGPLLR LicenseRef-LGPL MPL-* EPL-* CDDL-* OFL-* EUPL-1.1 EUPL-1.2 MS-RL CPL-* IPL-* APSL-* CERN-OHL-W-*
        CECILL-C NPL-* LPL-* SPL-* Nokia wxWindows eCos-* APL-* MulanPubL-* RSCPL Watcom-*""",
    "copyleft": """
        GPL-* AGPL-* GFDL-* LicenseRef-GPL LicenseRef-AGPL LicenseRef-GFDL CC-BY-SA-* LicenseRef-CC-BY-SA ODbL-* OSL-*
        CECILL-1.0 CECILL-1.1 CECILL-2.* EUPL-1.0 RPL-* QPL-* Sleepycat CERN-OHL-S-* CAL-* copyleft-next-*
        CDLA-Sharing-* LAL-*""",
    "permissive": """
        MIT MIT-* BSD-* Apache-* LicenseRef-Apache LicenseRef-BSD ISC ISC-* Zlib zlib-* X11 X11-* BSL-1.0 CC-BY-[1-4].*
        LicenseRef-CC-BY ODC-By-* PSF-* Python-* PostgreSQL NCSA UPL-* AFL-* Artistic-* ClArtistic ECL-* MS-PL HPND*
        JSON OpenSSL* OGL-UK-* curl libpng* Libpng FTL IJG* ICU Unicode-* W3C* Vim NTP* TCL LPPL-* BlueOak-* MulanPSL-*
        CDLA-Permissive-* Ruby PHP-* Zend-* ZPL-* bzip2-* CERN-OHL-P-* CECILL-B EFL-* Fair Info-ZIP Intel Naumen NLPL
        SSH-* TCP-wrappers SMLNJ Xnet Xfig XFree86-* OLDAP-* OML DSDP Beerware FSFAP* FSFUL* etalab-* DL-DE-BY-*
        Spencer-* CNRI-* Entessa""",
    "proprietary": """
        LicenseRef-Proprietary LicenseRef-OpenRAIL LicenseRef-Llama BUSL-* SSPL-* Elastic-* PolyForm-*""",
}
"""Family -> its identifiers; * stands for anything. The first family that has an identifier is its own."""


def family_of(expression: str) -> str:
    """Return the family of an SPDX expression in canonical spelling, `unknown` of `unknown`."""
    if expression == UNKNOWN:
        return UNKNOWN
    words = re.findall(r"[()]|[^\s()]+", expression)
    rank, end = _any_of(words, 0)
    if end != len(words):
        raise ValueError(f"{expression}: no SPDX expression")
    return ORDER[rank]


def _any_of(words: list[str], at: int) -> tuple[int, int]:
    rank, at = _all_of(words, at)
    while at < len(words) and words[at] == "OR":
        other, at = _all_of(words, at + 1)
        rank = min(rank, other)
    return rank, at


def _all_of(words: list[str], at: int) -> tuple[int, int]:
    rank, at = _one(words, at)
    while at < len(words) and words[at] == "AND":
        other, at = _one(words, at + 1)
        rank = max(rank, other)
    return rank, at


def _one(words: list[str], at: int) -> tuple[int, int]:
    if words[at] == "(":
        rank, end = _any_of(words, at + 1)
        return rank, end + 1
    rank = ORDER.index(_of_identifier(words[at].removesuffix("+")))
    if at + 1 < len(words) and words[at + 1] == "WITH":
        is_gnu = re.match(r"A?GPL-", words[at]) is not None
        return (ORDER.index("weak_copyleft") if is_gnu else rank), at + 3
    return rank, at + 1


def _of_identifier(identifier: str) -> str:
    for family, patterns in _IDENTIFIERS.items():
        if any(fnmatchcase(identifier, pattern) for pattern in patterns.split()):
            return family
    return OTHER
