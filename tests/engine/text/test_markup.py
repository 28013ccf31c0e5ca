"""Markup: what each rule blanks and what it leaves, a slow reference, the edges of Arrow arrays."""

import html.entities
import re
import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.text.markup as module
from engine.base.hashing import digest_json
from engine.text.blanking import ARGUMENT_REACH, MOST_AMPERSANDS, REACH
from engine.text.markup import KNOWN_COMMANDS, SPACING_COMMANDS, STYLE_COMMANDS, TAG_NAMES, entity_names, without_markup

PIECES = [
    *(
        "<",
        ">",
        "</",
        "/>",
        "<b>",
        "</B>",
        "<bR>",
        "<a href=",
        "<i and ",
        "<td ",
        "<br/>",
        "<p",
        "<h1>",
        "<code>",
        "<\\/p>",
    ),
    *("<!--", "<!-", "-->", "\\/>", "=", '"', "'"),
    *("&", "&amp;", "&lt;", "amp;", "nbsp;", "&nbsp", "#39;", "&#8217;", "&#x27;", "&#x41;", "&#233;", "&eacute;", ";"),
    *("\\", "\\\\", "\\n", "\\r", "\\t", "\\nu", "\\nabla", "\\text", "\\textbf", "\\quad", "\\frac", "\\,", "u", "n"),
    *("\\hspace", "*", "{", "}", "{1em}", "\\u2019", "\\u00e9", "\\ud83d", "\\u20", "ot", "eq"),
    *("](", "](http://a.b/c)", "](#x)", "[", "]", "(", ")", ".", "/", ":", "`", "```", "```python", "```c++", "js"),
    *(
        "a",
        "B",
        "x1",
        "9",
        "0",
        " ",
        "  ",
        "\n",
        "\t",
        "\r",
        "\f",
        "\u00e9",
        "\u6f22",
        "\u200b",
        "\U0001d400",
        "\x00",
        "\x7f",
    ),
]
tricky_texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
texts_of_any_kind = st.one_of(st.text(), tricky_texts)


def blanked(text: str) -> str:
    (result,) = without_markup(pa.array([text], pa.large_string())).to_pylist()
    assert isinstance(result, str)
    return result


def dotted(text: str) -> str:
    """Return a text with a dot for each byte that is blanked."""
    before, after = text.encode(), blanked(text).encode()
    assert len(before) == len(after)
    assert all(new in (old, 0x20) for old, new in zip(before, after, strict=True))
    marked = bytes(old if old == new else 0xFF for old, new in zip(before, after, strict=True))
    # A space between blanks is blank as well.
    return re.sub(rb"\xff( +\xff)*", lambda found: b"." * len(found[0]), marked).decode()


def separates(code_point: int) -> bool:
    return code_point <= 0x10FFFF and unicodedata.category(chr(code_point))[0] not in "LNM"


SPACE = rb"[ \t\n\f\r]"
TAG = re.compile(rb"<(?:\\?/)?([A-Za-z0-9]+)" + SPACE + rb"*(?:\\?/)?>")
OPEN_TAG = re.compile(rb"<([A-Za-z0-9]+)[ \t\f\r]+(?!" + SPACE + rb")([^<>\n]*)>")
ATTRIBUTE = re.compile(rb"[^ \t\n\f\r<=>]+" + SPACE + rb"*=")
COMMENT = re.compile(rb"<!--((?:(?!-->|<!-).)*?)-->", re.DOTALL)
ENTITY = re.compile(rb"(?:([A-Za-z0-9]+)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
COMMAND = re.compile(rb"\\([A-Za-z]+)")
ARGUMENT = re.compile(rb"\*?(\{[^{}]*\})")
UNICODE = re.compile(rb"\\u([0-9a-fA-F]{4})")
FENCE = re.compile(rb"```([A-Za-z0-9+.#_-]+)([ \t]*)(?=[\n\r]|\Z)")
ESCAPED_FENCE = re.compile(rb"```[A-Za-z0-9+.#_-]+(?=\\[nr])")


def reference_length(was: bytes, text: bytes) -> int:
    """Return how many bytes the markup has that a text begins with; `was` is the text as it was."""
    if text.startswith(b"<"):
        return max(reference_tag(text), reference_comment(text))
    if text.startswith(b"&"):
        return reference_entity(text)
    if text.startswith(b"\\"):
        return reference_command(text)
    if text.startswith(b"]("):
        return reference_target(was)
    if fence := FENCE.match(text):
        return len(fence[1]) + 3 if len(fence[1] + fence[2]) <= ARGUMENT_REACH else 0
    fence = ESCAPED_FENCE.match(was)
    return fence.end() if fence and text.startswith(fence[0]) and fence.end() <= 3 + ARGUMENT_REACH else 0


def reference_tag(text: bytes) -> int:
    for form in (TAG, OPEN_TAG):
        found = form.match(text)
        if found is None or len(found[0]) > REACH:
            continue
        name = found[1].decode()
        is_tag = name.lower() in TAG_NAMES and name in (name.lower(), name.upper())
        if is_tag and (form is TAG or len(name) > 1 or ATTRIBUTE.match(found[2])):
            return len(found[0])
    return 0


def reference_comment(text: bytes) -> int:
    found = COMMENT.match(text)
    return len(found[0]) if found and len(found[0]) <= REACH else 0


def reference_entity(text: bytes) -> int:
    length, begin = 0, 1
    for _ in range(MOST_AMPERSANDS):
        found = ENTITY.match(text, begin)
        if found is None:
            break
        name, decimal, hexadecimal = ((group or b"").decode() for group in found.groups())
        code_point = int(decimal or hexadecimal or "0", 16 if hexadecimal else 10)
        if name not in entity_names() if name else not separates(code_point):
            break
        length = begin = found.end()
        if name not in ("amp", "AMP"):
            break
    return length


def reference_command(text: bytes) -> int:
    found = COMMAND.match(text)
    name = found[1].decode() if found else ""
    if found and name in SPACING_COMMANDS:
        argument = ARGUMENT.match(text, found.end())
        return argument.end() if argument and len(argument[1]) <= ARGUMENT_REACH else found.end()
    if name in STYLE_COMMANDS:
        return len(name) + 1
    if name in KNOWN_COMMANDS:
        return 0
    if text[1:2] in (b"n", b"r", b"t"):
        return 2
    escape = UNICODE.match(text)
    return 6 if escape and separates(int(escape[1], 16)) else 0


def reference_target(text: bytes) -> int:
    depth = 1
    for place in range(2, min(len(text), REACH)):
        if text[place] <= 0x20 or text[place] in b'\x7f<>"[]`':
            return 0
        depth += (text[place] == ord("(")) - (text[place] == ord(")"))
        if depth == 0:
            return place + 1 if set(text[2:place]) & set(b"/#:.") else 0
    return 0


def reference(text: str) -> str:
    """Blank by the rules of the docstring, one byte at a time."""
    was = text.encode()
    data = bytearray(was)
    for at in reversed(range(len(was))):
        length = reference_length(was[at:], bytes(data[at:]))
        data[at : at + length] = b" " * length
    return data.decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The golden vectors of the docstring.
        ("a<b>1</b>&nbsp;<BR/>x", "a...1...............x"),
        ("x<y && z>w, vector<int>", "x<y && z>w, vector<int>"),
        (r"\text{if}\quad\nu\nx", r".....{if}.....\nu..x"),
        (r'"a\u2019s\nThe"', '"a......s..The"'),
        ("[t](u.v/w) f[0](x)", "[t........ f[0](x)"),
        # Tags.
        ("<p>x</p >", "...x....."),
        ("<br><br/><br /><hr\n>", "." * 20),
        ('x<a href="u">y</a>z', "x............y....z"),
        ("<td nowrap>1<TD COLSPAN = 2>", "...........1................"),
        ('<DIV class="\u00e9">', "................"),
        ("<img\t src=x />", "." * 14),
        ("<img\n src=x>", "<img\n src=x>"),
        ("wor<b>d</b>", "wor...d...."),
        ("<h1>H<sub>2</sub>O</h1>", "....H.....2......O....."),
        (r"<b>x<\/b><br\/>", "...x" + "." * 11),
        ('<a title="<b>">', "." * 15),
        # Not tags.
        ("a < b and c > d", "a < b and c > d"),
        ("#include <stdio.h>, <time.h>", "#include <stdio.h>, <time.h>"),
        ("x <a and b> y, x<i and j>y", "x <a and b> y, x<i and j>y"),
        ("List<Table> Map<Object, Code> <Br>", "List<Table> Map<Object, Code> <Br>"),
        ("<b <i", "<b <i"),
        ("</a href=x> < b> <b", "</a href=x> < b> <b"),
        ("<bb> <h7> <a:b> <b.c>", "<bb> <h7> <a:b> <b.c>"),
        ("<!DOCTYPE html>", "<!DOCTYPE html>"),
        # Comments.
        ("a<!-- b -->c", "a..........c"),
        ("<!----><!-- a\n<b>x</b> -- > -->", "." * 31),
        ("<!-- a <!-- b -->", "<!-- a .........."),
        ("<!-- a -- >", "<!-- a -- >"),
        ("<!-->a", "<!-->a"),
        # Entities.
        ("a&amp;b&ndash;c&hellip;&lt;", "a.....b.......c............"),
        ("&#39;&#x27;&#8217;&#XA0;&#0160;", "." * 31),
        ("&amp;nbsp;&amp;amp;#39;x", "." * 23 + "x"),
        ("&amp;eacute;&amp;x", ".....eacute;.....x"),
        ("&lpar;&Dagger;&QUOT;", "." * 20),
        # Not entities.
        ("caf&eacute; &sup2; &frac12; &alpha;", "caf&eacute; &sup2; &frac12; &alpha;"),
        ("&#65; &#x4e; &#233; &#769; &#12354;", "&#65; &#x4e; &#233; &#769; &#12354;"),
        ("&nbsp &#39 &#; &#x; &NBSP; &foo;", "&nbsp &#39 &#; &#x; &NBSP; &foo;"),
        ("&#12345678; &#1234567; &#x1234567;", "&#12345678; &#1234567; &#x1234567;"),
        ("a && b &c; x &y", "a && b &c; x &y"),
        # LaTeX.
        (r"a\quad b\,c\left(x\right)", r"a..... b\,c.....(x......)"),
        (r"\mathrm{kg}\emph{x}\displaystyle\sum\limits_i", r".......{kg}.....{x}.............\sum......._i"),
        (r"\hspace{1em}x\vspace*{-2pt}y\hspace {1em}", "............x..............y....... {1em}"),
        (r"\hspace{a{b}}\hspace{a", r".......{a{b}}.......{a"),
        (r"\frac{\alpha}{2}\leftarrow\quads\Quad", r"\frac{\alpha}{2}\leftarrow\quads\Quad"),
        # Escapes.
        (r"eggs.\nShe\r\n\tsaid", "eggs...She......said"),
        (r"\nthe \ntext \t1 \n\n", "..the ..text ..1 ...."),
        (r"\\n\\u2019\\nu", r"\..\......\\nu"),
        (r"\u2019\u00A0\u201c\u003c\ud83d\ude00", "." * 36),
        (r"\nu\neq\ne\nabla\not\notin\neg\to\top\tau", r"\nu\neq\ne\nabla\not\notin\neg\to\top\tau"),
        (r"\times\tan\theta\rho\rangle\tfrac\ref", r"\times\tan\theta\rho\rangle\tfrac\ref"),
        (r"\newline\text\right\rm\neW", "." * 24 + "eW"),
        (r"\u00e9 \u4e00 \u0301 \u201 \uxyz \d \"", r"\u00e9 \u4e00 \u0301 \u201 \uxyz \d \""),
        # Targets.
        ("![a](b.png) [c](#d) [e](http://f/(g)?x=1&amp;y=2)", "![a........ [c..... [e..........................."),
        ("[a](mailto:b@c)[d](/\u00e9)", "[a.............[d......"),
        ('[a](b.c "d") [a](b.c [a](<b.c>) [a] (b.c)', '[a](b.c "d") [a](b.c [a](<b.c>) [a] (b.c)'),
        ("f[0](x, y) [&](auto) {} m[i](j) a](b](c.d)", "f[0](x, y) [&](auto) {} m[i](j) a](b......"),
        ('d["k"]("a.b")', 'd["k"]("a.b")'),
        # Fences.
        ("```python\nx\n```", ".........\nx\n```"),
        ("````c++ \t\r\n", "`...... \t\r\n"),
        ("```js", "....."),
        (r"```python\ndef\n```\n", "...........def..```.."),
        (r"```x\nu", r"....\nu"),
        ("```x``` y", "```x``` y"),
        ("``` x\n```a b\n``x\n", "``` x\n```a b\n``x\n"),
    ],
)
def test_markup_is_blanked_and_nothing_else(text: str, expected: str) -> None:
    assert dotted(text) == expected
    assert reference(text) == blanked(text)


@pytest.mark.parametrize(
    ("begin", "end", "most"),
    [
        ("<img ", ">", REACH),
        ("<b", ">", REACH),
        ("</table", ">", REACH),
        ('<a href="', '">', REACH),
        ("<!--", "-->", REACH),
        ("](/", ")", REACH),
        ("\\hspace{", "}", ARGUMENT_REACH + len("\\hspace")),
        ("```", "\n", ARGUMENT_REACH + len("```\n")),
    ],
)
def test_each_rule_has_a_reach(begin: str, end: str, most: int) -> None:
    filler = " " if begin in ("<b", "</table") else "x"
    text = begin + filler * (most - len(begin) - len(end)) + end
    assert blanked(text).isspace()
    longer = begin + filler + text[len(begin) :]
    assert blanked(longer).strip() not in ("", ">", "}")
    assert reference(longer) == blanked(longer)


def test_names_of_entities_are_those_of_html_without_letters_numbers_and_marks() -> None:
    html_4 = {name for name, code_point in html.entities.name2codepoint.items() if separates(code_point)}
    assert html_4 < entity_names()
    assert {"apos", "NewLine", "Tab", "AMP", "lsqb", "lowbar"} < entity_names()
    assert not {"eacute", "micro", "ordf", "sup2", "frac12", "alpha", "NBSP"} & entity_names()
    assert digest_json(sorted(entity_names())) == "a44c7fa5d7e829287582a92203f6c169"


def test_no_command_is_of_two_kinds() -> None:
    assert not STYLE_COMMANDS & SPACING_COMMANDS
    assert not (STYLE_COMMANDS | SPACING_COMMANDS) & KNOWN_COMMANDS
    assert {name[0] for name in KNOWN_COMMANDS} == set("nrt")


@settings(max_examples=1000)
@given(tricky_texts)
def test_texts_are_blanked_as_the_reference_says(text: str) -> None:
    assert blanked(text) == reference(text)


@given(texts_of_any_kind)
def test_length_stays_and_bytes_stay_or_become_spaces(text: str) -> None:
    dotted(text)


@given(texts_of_any_kind)
def test_blanking_again_changes_nothing(text: str) -> None:
    assert blanked(blanked(text)) == blanked(text)


@given(st.lists(st.one_of(st.none(), texts_of_any_kind), max_size=12), st.data())
def test_texts_are_blanked_alike_in_any_array(texts: list[str | None], data: st.DataObject) -> None:
    expected = [None if text is None else blanked(text) for text in texts]
    kind = data.draw(st.sampled_from([pa.string(), pa.large_string()]))
    array = pa.array(texts, kind)
    begin = data.draw(st.integers(0, len(texts)))
    part = array.slice(begin, data.draw(st.integers(0, len(texts) - begin)))
    result = without_markup(part)
    result.validate(full=True)
    assert result.type == kind
    assert result.null_count == part.null_count
    assert result.to_pylist() == expected[begin : begin + len(part)]


@given(st.text(st.characters(codec="utf-8", exclude_characters="<&\\]`"), max_size=200), st.integers(0, 3))
def test_arrays_without_candidates_are_not_copied(text: str, number: int) -> None:
    array = pa.array([text] * number, pa.string())
    assert without_markup(array) is array


def test_markup_does_not_reach_into_the_next_text() -> None:
    texts = ["<b", ">", "&am", "p;", "\\", "n", "](a.b", ")", "```", "x", "<!--", "-->", "\\u20", "19", "a&", "#39;"]
    assert without_markup(pa.array(texts)).to_pylist() == texts


def test_texts_that_are_not_chosen_stay() -> None:
    array = pa.array(["<b>x", "<i>y", None])
    assert without_markup(array, np.array([False, True, True])).to_pylist() == ["<b>x", "   y", None]
    with pytest.raises(ValueError, match=r"chosen: got 1 values\. Needed: one for each of 3 texts\."):
        without_markup(array, np.array([True]))


def test_bytes_under_a_null_are_not_read() -> None:
    offsets, data = np.array([0, 3, 6, 9], dtype=np.int32), b"<b><i><u>"
    buffers = [pa.py_buffer(b"\x05"), pa.py_buffer(offsets), pa.py_buffer(data)]
    result = without_markup(pa.Array.from_buffers(pa.string(), 3, buffers))
    assert result.to_pylist() == ["   ", None, "   "]
    assert result.buffers()[2].to_pybytes() == b"   <i>   "


def test_bytes_that_are_not_utf_8_stay() -> None:
    data = b"\xff<b>\xc3&amp;\x80<a \xfe>"
    offsets = np.array([0, len(data)], dtype=np.int32)
    result = without_markup(pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]))
    assert result.buffers()[2].to_pybytes() == b"\xff   \xc3     \x80<a \xfe>"


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"texts: got int64\. Needed: string or large_string\."):
        without_markup(pa.array([1]))


def test_blocks_are_joined() -> None:
    for shift in range(40):
        text = "x" * shift + "<b>y&nbsp;" * 1000
        assert blanked(text) == "x" * shift + "   y      " * 1000


@pytest.mark.parametrize(
    "piece", ["<!--", "<td ", "<a b=", "](", "](.(", "<!--<td >", "&amp;", "\\hspace{", "```a", "<b" + " " * 60]
)
@pytest.mark.alone
def test_texts_made_to_be_slow_take_a_bounded_time(piece: str) -> None:
    array = pa.array([piece * (4_000_000 // len(piece))])
    without_markup(array[:1])
    started = time.perf_counter()
    without_markup(array)
    assert time.perf_counter() - started < 4


def test_rules_are_stated_in_the_docstring() -> None:
    assert module.__doc__ is not None
    for text in ("a<b>1</b>&nbsp;<BR/>x", r"\text{if}\quad\nu\nx", r'"a\u2019s\nThe"', "[t](u.v/w) f[0](x)"):
        assert re.search(rf"{re.escape(text)} +{re.escape(dotted(text))}\n", module.__doc__)
