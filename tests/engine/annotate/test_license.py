"""license: SPDX expressions from rules, from what sources state, and from notices in the text."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression
from pydantic import ValidationError

from engine.annotate import license as stage
from engine.annotate.license import Config
from engine.annotate.license.families import ORDER, family_of
from engine.annotate.license.names import spdx_of
from engine.annotate.license.notices import licence_of, notices_in
from engine.base.stage import stage_reads

World = Callable[..., Any]
SPDX, FROM, FAMILY, IN_TEXT = (f"license__{name}" for name in ("spdx", "from", "family", "in_text"))
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND"""
BSD = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
1. Redistributions of source code must retain the above copyright notice, this list of conditions
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions
{more}THIS SOFTWARE IS PROVIDED "AS IS" ... EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE."""
GPL = """# This program is free software; you can redistribute it and/or modify
# it under the terms of the GNU {which}General Public License as published by
# the Free Software Foundation; either version {version} of the License, or
# (at your option) any later version."""


def test_rule_comes_before_what_is_stated_and_that_before_the_text(world: World) -> None:
    rules = (
        {"url": r"^https://en\.wikipedia\.org/", "license": "CC BY-SA 4.0"},
        {"sources": ["books"], "license": "public domain"},
        {"stated": "^see LICENSE", "license": "unknown"},
        {"url": "wiki", "license": "MIT"},
    )
    made = world(
        {
            "web": {
                "a": "SPDX-License-Identifier: MIT",
                "b": "SPDX-License-Identifier: GPL-2.0+",
                "c": "// SPDX-License-Identifier: GPL-2.0+",
                "d": "plain",
                "e": "plain",
                "f": None,
            },
            "books": {"g": "plain"},
        },
        license={"a": "apache 2.0", "b": "Apache 2.0", "e": "see LICENSE file", "f": "cc0", "g": "MIT"},
        url={"a": "https://en.wikipedia.org/wiki/A", "b": "https://example.org"},
    ).run(stage, Config(rules=rules))
    assert made.columns(SPDX, FROM, FAMILY, IN_TEXT) == {
        "doc_id": ["a", "b", "c", "d", "e", "f", "g"],
        SPDX: [
            "CC-BY-SA-4.0",
            "Apache-2.0",
            "GPL-2.0-or-later",
            "unknown",
            "unknown",
            "CC0-1.0",
            "LicenseRef-Public-Domain",
        ],
        FROM: ["rule", "stated", "text", "unknown", "rule", "stated", "rule"],
        FAMILY: ["copyleft", "permissive", "copyleft", "unknown", "unknown", "public_domain", "public_domain"],
        IN_TEXT: ["MIT", "GPL-2.0-or-later", "GPL-2.0-or-later", None, None, None, None],
    }


def test_text_is_read_only_where_it_is_searched_and_only_its_beginning(world: World) -> None:
    assert "text" in stage_reads(stage, Config())
    assert "text" not in stage_reads(stage, Config(text_chars=0))
    made = world({"web": {"a": "x" * 50 + "\nSPDX-License-Identifier: MIT"}})
    assert made.run(stage, Config(text_chars=79)).by_name(SPDX) == {"a": "MIT"}
    assert made.run(stage, Config(text_chars=50)).by_name(SPDX) == {"a": "unknown"}
    assert made.run(stage, Config(text_chars=0)).by_name(IN_TEXT) == {"a": None}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"license": "MIT"}, "a rule without a condition. Needed: url, domain, stated or sources"),
        ({"license": "MIT", "sources": []}, "a rule without a condition"),
        (
            {"stated": "(", "license": "MIT"},
            r"'\(' is no regular expression \(unclosed group\)\. Needed: Rust's syntax",
        ),
        ({"url": "x", "license": "Happy Licence"}, "'Happy Licence' is no licence that is known"),
    ],
)
def test_bad_rule_is_named(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(rules=(rule,))


NAMES = {
    "MIT": "MIT, mit, MIT License, The MIT License (MIT), Expat, MIT/X11, https://opensource.org/licenses/MIT,"
    "License :: OSI Approved :: MIT License, https://spdx.org/licenses/MIT.html",
    "Apache-2.0": "apache-2.0, Apache 2.0, Apache License 2.0, Apache Software License 2.0, ASL 2.0,"
    "http://www.apache.org/licenses/LICENSE-2.0, Apache2, APACHE_2.0",
    "BSD-3-Clause": "BSD-3-Clause, BSD 3-Clause License, New BSD License, 3-Clause BSD License, Modified BSD",
    "BSD-2-Clause": "Simplified BSD, BSD 2-Clause License, FreeBSD, BSD-2-Clause-FreeBSD",
    "GPL-2.0-only": "GPL-2.0, GPL-2, GPLv2, GNU GPL v2, GPL 2.0 only, gnu general public license version 2",
    "GPL-2.0-or-later": "GPL-2.0+, GPL-2+, GPLv2+, GPL (>= 2), GPL-2.0-or-later,"
    "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)",
    "GPL-3.0-only": "http://www.gnu.org/licenses/gpl-3.0.html, gpl3",
    "GPL-1.0-or-later": "GPL, GNU General Public License (GPL)",
    "LGPL-2.1-or-later": "LGPL-2.1+, LGPLv2.1+, GNU Lesser General Public License v2.1 or later",
    "AGPL-3.0-only": "AGPL-3.0, AGPLv3, GNU Affero General Public License v3.0",
    "CC-BY-SA-3.0": "CC BY-SA 3.0, cc-by-sa-3.0, Creative Commons Attribution-ShareAlike 3.0 Unported,"
    "https://creativecommons.org/licenses/by-sa/3.0/, http://creativecommons.org/licenses/by-sa/3.0/us/deed.en",
    "CC-BY-SA-3.0-DE": "https://creativecommons.org/licenses/by-sa/3.0/de/",
    "CC-BY-4.0": "CC BY 4.0, Creative Commons Attribution 4.0 International (CC BY 4.0),"
    "Creative Commons Attribution 4.0 International, CC-BY 4.0 International, cc-by-4.0",
    "CC-BY-NC-ND-4.0": "CC BY-NC-ND 4.0, Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International",
    "CC0-1.0": "CC0, cc0-1.0, CC0 1.0 Universal, creativecommons.org/publicdomain/zero/1.0/",
    "LicenseRef-CC-BY-SA": "CC BY-SA, cc-by-sa, Creative Commons Attribution-ShareAlike",
    "LicenseRef-BSD": "BSD, BSD License, BSD style",
    "LicenseRef-Public-Domain": "public domain, Public Domain, publicdomain, In the public domain",
    "LicenseRef-Proprietary": "proprietary, All rights reserved",
    "ODbL-1.0": "ODbL, https://opendatacommons.org/licenses/odbl/1-0/, odbl-1.0",
    "ODC-By-1.0": "odc-by, ODC-BY 1.0",
    "MPL-2.0": "MPL-2.0, Mozilla Public License 2.0 (MPL 2.0), https://www.mozilla.org/en-US/MPL/2.0/",
    "OGL-UK-2.0": "Open Government Licence v2.0, OGL-UK-2.0",
    "MIT OR Apache-2.0": "MIT OR Apache-2.0, MIT/Apache-2.0, MIT or Apache License 2.0",
    "MIT AND Apache-2.0": '["MIT", "Apache-2.0"], mit and apache 2.0, ["mit", "apache-2.0", "MIT"]',
    "GPL-2.0-only OR GPL-3.0-only": "GPL-2 | GPL-3",
    "GPL-2.0-only WITH Classpath-exception-2.0": "GPL-2.0-with-classpath-exception,"
    "gpl-2.0-only with classpath-exception-2.0",
    "unknown": "unknown, other, None, see LICENSE, to be done, (, ((, MIT OR, [1], [\"MIT\"; GPL 7,"
    " gnu gpl v2 or so, CC BY 4.0 but for its pictures, CC BY-SA 9.0",
}  # fmt: skip


@pytest.mark.parametrize("spdx", NAMES)
def test_names_become_identifiers(spdx: str) -> None:
    written = [name.strip().replace(";", ",") for name in re.split(r",(?![^\[]*\])", NAMES[spdx])]
    assert {name: spdx_of(name) for name in written} == dict.fromkeys(written, spdx)


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*" ()/+,", "MIT", "gpl", "cc", "by", "2", "or", "with", "[", '"'])).map("".join)
)
def test_any_name_gives_an_expression_that_stays_as_it_is(name: str) -> None:
    spdx = spdx_of(name)
    if spdx != "unknown":
        assert spdx_of(spdx) == spdx
        assert str(canonicalize_license_expression(spdx)) == spdx
    assert family_of(spdx) in (*ORDER, "unknown")


@pytest.mark.parametrize(
    ("expression", "family"),
    [
        ("CC0-1.0", "public_domain"),
        ("MIT", "permissive"),
        ("LGPL-2.1-or-later", "weak_copyleft"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "weak_copyleft"),
        ("Apache-2.0 WITH LLVM-exception", "permissive"),
        ("CC-BY-SA-4.0", "copyleft"),
        ("CC-BY-ND-4.0", "no_derivatives"),
        ("CC-BY-NC-SA-4.0", "noncommercial"),
        ("LicenseRef-CC-BY", "permissive"),
        ("LicenseRef-Proprietary", "proprietary"),
        ("LicenseRef-House", "other"),
        ("MIT OR GPL-3.0-only", "permissive"),
        ("MIT AND GPL-3.0-only", "copyleft"),
        ("MIT AND (LGPL-2.1-only OR CC-BY-NC-4.0)", "weak_copyleft"),
        ("LicenseRef-House OR MIT", "permissive"),
        ("LicenseRef-House AND MIT", "other"),
        ("unknown", "unknown"),
    ],
)  # fmt: skip
def test_family_of_an_expression_is_what_it_asks_for_at_least(expression: str, family: str) -> None:
    assert family_of(expression) == family


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        ("# SPDX-License-Identifier: (mit or apache-2.0) \n", "MIT OR Apache-2.0"),
        ("/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */", "GPL-2.0-only WITH Linux-syscall-note"),
        ("SPDX-License-Identifier: MIT\nSPDX-License-Identifier: ISC", "MIT AND ISC"),
        ("SPDX-License-Identifier: nonsense", None),
        ('# Licensed under the Apache License, Version 2.0 (the "License");\n# you may not use', "Apache-2.0"),
        (" * This file is\n * licensed under the MIT License. See LICENSE.", "MIT"),
        ("This work is licensed under a Creative Commons Attribution-ShareAlike 4.0 License.", "CC-BY-SA-4.0"),
        ("It is licensed under http://creativecommons.org/licenses/by/3.0/ by us", "CC-BY-3.0"),
        (GPL.format(which="", version="2"), "GPL-2.0-or-later"),
        (GPL.format(which="Lesser ", version="2.1"), "LGPL-2.1-or-later"),
        (GPL.format(which="", version="3").replace(", or\n# (at your option) any later version", ""), "GPL-3.0-only"),
        (GPL.format(which="", version="2") + " As a special exception, you may link", None),
        (f"// Copyright (c) 2020\n{MIT}", "MIT"),
        (MIT.replace("furnished", "sold and furnished"), None),
        (MIT + "\nExcept as contained in this notice, the name", None),
        (BSD.format(more=""), "BSD-2-Clause"),
        (BSD.format(more="3. Neither the name of X may be used to endorse or promote products\n"), "BSD-3-Clause"),
        (BSD.format(more="3. The end-user documentation must\n"), None),
        (BSD.format(more="").replace("POSSIBILITY", ""), None),
        ("This document has been placed in the public domain.", "LicenseRef-Public-Domain"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        (f"{MIT}\n\n{BSD.format(more='')}", "MIT AND BSD-2-Clause"),
        (f"Choose either of:\n{MIT}\n\n{BSD.format(more='')}", None),
        ("Wikipedia has used the Apache License, Version 2.0 since", None),
        ("He said the MIT license is short. Many works are in the public domain.", None),
        ("This library is released under Intel guidance, and under a license.", None),
    ],
)  # fmt: skip
def test_notice_in_a_text_is_read(text: str, spdx: str | None) -> None:
    assert licence_of(text) == spdx
    assert notices_in(pl.Series([None, text, "x"], dtype=pl.String), 4096).to_list() == [None, spdx, None]


def test_titles_and_texts_of_known_licences_get_their_identifier(shared_data: Path) -> None:
    by_title, by_text = Counter[bool](), Counter[str]()
    for path in sorted((shared_data / "groundtruth/choosealicense/_licenses").glob("*.txt")):
        _, head, body = path.read_text(encoding="utf-8").split("---", 2)
        identifier, title = re.search(r"spdx-id: (\S+)", head), re.search(r'title: "?([^"\n]+)', head)
        assert identifier is not None
        assert title is not None
        expected = spdx_of(identifier[1])
        assert family_of(expected) != "other", expected
        by_title[spdx_of(title[1]) == expected] += 1
        found = licence_of(body.strip()[:4096])
        by_text["none" if found is None else "right" if found == expected else "wrong"] += 1
    assert by_title[False] <= 4
    assert by_text["wrong"] == 0
    assert by_text["right"] >= 25


COMMON = {
    "mit": "MIT",
    "bsd-new": "BSD-3-Clause",
    "bsd-simplified": "BSD-2-Clause",
    "isc": "ISC",
    "zlib": "Zlib",
    "apache-2.0": "Apache-2.0",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-2.0-plus": "GPL-2.0-or-later",
    "gpl-3.0-plus": "GPL-3.0-or-later",
    "lgpl-2.1-plus": "LGPL-2.1-or-later",
}


def test_notices_of_common_licences_are_rarely_taken_for_others(shared_data: Path) -> None:
    """Labelled texts of ScanCode: what is named has to be right; not every text is recognised."""
    counts = Counter[str]()
    for path in sorted((shared_data / "groundtruth/scancode-rules").glob("*.RULE")):
        _, head, body = path.read_text(encoding="utf-8", errors="replace").split("---", 2)
        label = re.search(r"license_expression: (.+)", head)
        assert label is not None
        if label[1].strip() in COMMON:
            found = licence_of(body.strip()[:4096])
            counts["none" if found is None else "right" if found == COMMON[label[1].strip()] else "wrong"] += 1
    assert counts["right"] / (counts["right"] + counts["wrong"]) >= 0.98
    assert counts["right"] / counts.total() >= 0.8
