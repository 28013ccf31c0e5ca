r"""Markup: what dresses a text and is no part of its words, blanked before loose words are split.

Blanked bytes are overwritten with as many spaces, so all others keep their places. Markup is ASCII and judged by its
bytes, within one text; other bytes change only inside a tag, a comment or a target. No rule looks further ahead than
512 bytes. White space is tab, line feed, form feed, return and space; a run is always the longest. Case matters in
names of entities and commands.

1. Tags: `<`, maybe `/` (or, as JSON escapes it, `\/`), a run of letters and digits that is in `TAG_NAMES`, all in
   small or all in capital letters, maybe white space, and `>`, `/>` or `\/>`. Or, without the first slash: such a
   name, white space, and anything but `<` and line feeds up to the first `>`; after a name of one letter it must begin
   with an attribute's name (no white space, `<`, `=` or `>` in it), maybe white space, and `=`, so `x <a and b> y`
   stays. At most 512 bytes. Comments: `<!--` to the first `-->`, at most 512 bytes, no `<!-` in between. Longer ones
   stay, as do `a < b > c`, `vector<int>`, `<stdio.h>`, `List<Table>` and doctypes. A type parameter named like a tag
   cannot be told from one: of `Box<U>` the U goes.
2. Entities: `&name;` with the names of HTML 4 whose character is no letter, number or mark (Unicode 14.0.0 as in
   `engine.text.words`), and those of HTML 5 for ASCII (`entity_names`); `&#39;` of 1 to 7 digits and `&#x27;` of 1 to 6
   for such a character. Ampersands escaped again belong to it, up to three: `&amp;nbsp;`. What stands for a letter,
   number or mark stays (`caf&eacute;` has the words caf and eacute), as does one without its semicolon.
3. LaTeX: a backslash and a run of letters that is in `STYLE_COMMANDS`, which set space and style alone, or in
   `SPACING_COMMANDS`, then with the `{...}` or `*{...}` that follows if it holds no other brace and has at most 64
   bytes without the star. All other commands stay words. `\,` `\;` `\!` `~` and braces separate as they are.
4. Escapes: the two bytes `\n`, `\r` or `\t`, unless the run of letters from there is in `KNOWN_COMMANDS` or falls under
   rule 3: `\nu` is the letter, `\nThe` a line feed and a word. And `\u` with four hexadecimal digits for a character
   that is no letter, number or mark; halves of surrogate pairs are none. `\"` separates as it is.
5. Targets of Markdown links and images: `](` to the `)` that closes it, at most 512 bytes, with one of `/#:.` in it and
   none of white space, control bytes, `<>"[]` and the grave accent. Of `[text](http://...)` the text stays.
6. Languages of fences: three grave accents and a run of ASCII letters, digits and `+-.#_` that ends its line: spaces
   and tabs may follow (at most 64 bytes with the run), then a line feed, a return or the end of the text; or, right
   behind the run, a literal `\n` or `\r`.

Rules are tried at every byte from the last to the first. They see what is blanked behind them already, but for rule 5
and the last clause of rule 6, which judge the text as it was. So blanking again changes nothing. What is blanked
separates: `wor<b>d</b>` has two words, and so has `co&shy;op`. Emphasis, headings, lists, quotes, tables and fences of
Markdown are punctuation, which needs no rule. Golden, with `.` for a blank:

    a<b>1</b>&nbsp;<BR/>x     a...1...............x
    x<y && z>w, vector<int>   x<y && z>w, vector<int>
    \text{if}\quad\nu\nx      .....{if}.....\nu..x
    "a\u2019s\nThe"           "a......s..The"
    [t](u.v/w) f[0](x)        [t........ f[0](x)
"""

import html.entities
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.text.blanking import (
    AMPERSAND,
    COLUMNS,
    COMMAND,
    COMMANDS,
    ENTITIES,
    ENTITY,
    SPACING,
    STYLE,
    TAG,
    TAGS,
    Nodes,
    blank,
    first_with_candidates,
    scratch,
)
from engine.text.kernels import Bytes, Places
from engine.text.unicode_tables import SEPARATOR, unicode_tables


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


TAG_NAMES = _listed(
    """
    a abbr address article aside b big blockquote body br button caption center cite code col colgroup dd del details
    dfn div dl dt em fieldset figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img
    input ins kbd label legend li link main mark meta nav nobr noscript ol optgroup option p pre q s samp script section
    select small span strike strong style sub summary sup svg table tbody td textarea tfoot th thead title tr tt u ul
    var wbr
    """
)

"""Elements of HTML that stand in running text. Left out are common type parameters: object, map, time."""
STYLE_COMMANDS = _listed(
    """
    quad qquad enspace thinspace medspace thickspace negthinspace nobreakspace hfill vfill hfil vfil noindent newline
    linebreak nolinebreak centering par
    left right middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm Bigm biggm Biggm
    text textrm textbf textit texttt textsf textsc textsl textup textmd textnormal emph mbox hbox
    mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr mathnormal boldsymbol bm pmb operatorname
    rm bf it sf tt sc sl em cal rmfamily sffamily ttfamily bfseries mdseries itshape scshape slshape upshape normalfont
    tiny scriptsize footnotesize small normalsize large Large LARGE huge Huge
    displaystyle textstyle scriptstyle scriptscriptstyle limits nolimits displaylimits
    """
)
SPACING_COMMANDS = frozenset(["hspace", "vspace", "hskip", "vskip", "hphantom", "vphantom", "phantom"])
"""Commands that set space by an argument: it goes with them."""
KNOWN_COMMANDS = _listed(
    """
    nRightarrow nLeftarrow nVDash nVdash nabla name natural ncong ne nearrow neg neq newcommand newcounter
    newenvironment newif newlength newpage newtheorem nexists ngeq ngeqslant ngtr nleftarrow nleq nleqslant nobreak
    nocite node nonumber norm not notag notin nparallel nrightarrow nsim nsubseteq nsucc nsupseteq ntriangleleft nu num
    numberwithin nvDash nvdash nwarrow
    tableofcontents tabular tag tan tanh tau tbinom textasciitilde textbackslash textbullet textcolor textdegree
    textellipsis textemdash textendash textgreater textheight textless textquotedblleft textquotedblright textquoteleft
    textquoteright textsubscript textsuperscript textwidth tfrac thanks therefore theta thickapprox thicksim
    thispagestyle throw throws tikz tilde times title to today todo top toprule tparam triangle triangledown
    triangleleft trianglelefteq triangleq triangleright trianglerighteq twocolumn twoheadleftarrow twoheadrightarrow
    raggedright raisebox rangle rbrace rbrack rceil ref remark remarks renewcommand resizebox restriction retval return
    returns rfloor rgroup rhd rho rightarrow rightarrowtail rightharpoondown rightharpoonup rightleftarrows
    rightleftharpoons rightrightarrows rightsquigarrow rightthreetimes ring risingdotseq rlap root rotatebox rowcolor
    rtimes rule rvert rVert
    """
)
"""Commands that begin like an escape and stay: LaTeX's, and some of Doxygen's."""


@cache
def entity_names() -> frozenset[str]:
    """Return the names of entities that are blanked."""
    tables = unicode_tables()
    names = {
        name for name, code_point in html.entities.name2codepoint.items() if tables.fold(code_point)[0] == SEPARATOR
    }
    for name, characters in html.entities.html5.items():
        is_ascii = len(characters) == 1 and characters.isascii() and name.endswith(";")
        if is_ascii and tables.fold(ord(characters))[0] == SEPARATOR:
            names.add(name[:-1])
    return frozenset(names)


@dataclass(frozen=True, eq=False)
class Names:
    """A tree of names as the kernels walk it: from node n a byte b leads to nodes[n * COLUMNS + columns[b]].

    nodes: uint16; nodes[n * COLUMNS] says what the name that ends at n is. columns: uint8[256], 0 of all but ASCII
    letters and digits.
    """

    nodes: Nodes
    columns: Bytes


@cache
def names() -> Names:
    """Return the tree of all names of tags, entities and commands (made once a process, 10 ms)."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    columns = np.zeros(256, dtype=np.uint8)
    columns[np.frombuffer(letters.encode(), dtype=np.uint8)] = np.arange(1, len(letters) + 1)
    nodes = [[0] * COLUMNS for _ in range(1 + max(TAGS, ENTITIES, COMMANDS))]

    def add(root: int, kind: int, added: Iterable[str]) -> None:
        for name in sorted(added):
            node = root
            for column in columns[list(name.encode())].tolist():
                if nodes[node][column] == 0:
                    nodes[node][column] = len(nodes)
                    nodes.append([0] * COLUMNS)
                node = nodes[node][column]
            nodes[node][0] |= kind

    add(TAGS, TAG, TAG_NAMES)
    add(ENTITIES, ENTITY, entity_names())
    add(ENTITIES, AMPERSAND, ["amp", "AMP"])
    add(COMMANDS, STYLE, STYLE_COMMANDS)
    add(COMMANDS, SPACING, SPACING_COMMANDS)
    add(COMMANDS, COMMAND, KNOWN_COMMANDS)
    return Names(np.array(nodes, dtype=np.uint16).ravel(), columns)


def without_markup(texts: pa.Array, chosen: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return the texts with their markup blanked: of the same type and lengths, nulls stay null.

    chosen: bool[num_documents]; a text that is not chosen is not read and stays as it is. Where no text holds anything
    that begins like markup, `texts` itself is returned; else the bytes of all texts are copied once. Raises TypeError
    unless `texts` is of type string or large_string.
    """
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        raise TypeError(f"texts: got {texts.type}. Needed: string or large_string. Fix: cast to one.")
    if chosen is not None and chosen.shape != (len(texts),):
        raise ValueError(f"chosen: got {chosen.shape[0]} values. Needed: one for each of {len(texts)} texts.")
    _, offset_buffer, data_buffer = texts.buffers()
    if len(texts) == 0 or data_buffer is None:
        return texts
    all_edges = np.frombuffer(offset_buffer, dtype=np.int32 if pa.types.is_string(texts.type) else np.int64)
    edges = all_edges[texts.offset : texts.offset + len(texts) + 1]
    source = np.frombuffer(data_buffer, dtype=np.uint8)[edges[0] : edges[-1]]
    edges = edges - edges[0]
    # All alike, or numba compiles the kernels once more for arrays that can be written.
    source.flags.writeable = False
    # All alike, or numba compiles the kernels once more for arrays that can be written.
    source.flags.writeable = False
    is_valid = texts.is_valid().to_numpy(zero_copy_only=False)
    blanked = _blanked(source, edges.astype(np.int64), is_valid if chosen is None else is_valid & chosen)
    if blanked is None:
        return texts
    validity = pa.py_buffer(np.packbits(is_valid, bitorder="little")) if texts.null_count else None
    buffers = [validity, pa.py_buffer(edges), pa.py_buffer(blanked)]
    return pa.Array.from_buffers(texts.type, len(texts), buffers, texts.null_count)


def _blanked(source: Bytes, edges: Places, is_read: NDArray[np.bool_]) -> Bytes | None:
    """Return a copy of the bytes of texts with markup blanked in those that are read, None where there is none."""
    begins = edges[:-1]
    ends = np.where(is_read, edges[1:], begins)
    first = first_with_candidates(source, begins, ends)
    if first == len(begins):
        return None
    target = source.copy()
    tree = names()
    blank(source, begins, ends, first, unicode_tables().entries, tree.nodes, tree.columns, scratch(), target)
    return target
