import gzip
import struct
import zlib

import numpy as np
import pytest

from golden.errors import InputError
from model.seeds import lemmas, seed_texts
from model.text import (
    SOURCES,
    descriptions,
    foldoc,
    glosses,
    read_sources,
    sword_blocks,
    tidy,
    wiki_leads,
)

INDEX = (
    "  1 a licence line\n"
    "dog n 2 1 @ 2 1 0001 0002  \n"
    "the_end n 1 0 1 5 0003  \n"
    "x n 1 0 1 9 0004  \n"
)
DATA = (
    "  1 a licence line\n"
    "0001 05 n 01 dog 0 001 @ 0 n 0000 | an animal that barks\n"
    "0003 05 n 01 the_end 0 000 | a finish\n"
)


def test_tidy_drops_markup_and_joins_blanks():
    text = "<p>One  &amp; two</p><note n='1'>gone</note>\n\n\n<b>three</b> \n four"
    assert tidy(text) == "One & two\n\nthree\nfour"


def test_sword_blocks_are_read_by_their_index(tmp_path):
    blocks = [zlib.compress(b"<p>first</p>"), zlib.compress(b"second")]
    (tmp_path / "ot.bzz").write_bytes(b"".join(blocks))
    entries = [(0, len(blocks[0]), 12), (0, 0, 0), (len(blocks[0]), len(blocks[1]), 6)]
    (tmp_path / "ot.bzs").write_bytes(b"".join(struct.pack("<III", *e) for e in entries))
    assert list(sword_blocks(tmp_path)) == ["first", "second"]


def test_wiki_leads_carry_their_title(tmp_path):
    (tmp_path / "w.json").write_text('{"Nile": {"extract": "A  river."}}')
    assert list(wiki_leads(tmp_path / "w.json")) == ["# Nile\n\nA river."]


def test_foldoc_joins_the_lines_of_a_paragraph(tmp_path):
    article = "bit\n\n   A {unit} of\n   information. " + "word " * 50 + "\n"
    (tmp_path / "f.dz").write_bytes(gzip.compress(f"short\n{article}".encode()))
    (text,) = foldoc(tmp_path / "f.dz")
    assert text.startswith("bit\n\nA unit of information. word")


def test_wordnet_is_read(tmp_path):
    for name in ("noun", "verb", "adj"):
        (tmp_path / f"data.{name}").write_text(DATA if name == "noun" else "")
        (tmp_path / f"index.{name}").write_text(INDEX)
    assert list(glosses(tmp_path)) == ["Dog: an animal that barks.\nThe end: a finish."]
    assert lemmas(tmp_path, "noun") == ["the end", "dog"]
    texts = seed_texts(tmp_path, ["# T\n\n" + "A long sentence. " * 9], np.random.default_rng(0))
    assert any("dog" in t for t in texts)
    assert not any(" a a" in t for t in texts)


LIST = """Package: bc
Description-md5: 0123
Description-en: arbitrary precision calculator
 GNU bc is an interactive language
 for numbers.
 .
 It has:
  * a library &lt;math&gt;,
  * a shell

Package: bc-doc
Description-md5: 4567
Description-en: manual of bc
 GNU bc is an interactive language
 for numbers.
 .
 This package has the manual.

Package: bc-dbg
Description-md5: 89ab
Description-en: symbols of bc
 GNU bc is an interactive language
 for numbers.

Package: bc-de
Description-md5: cdef
Description-de: ein Rechner
 Kein Englisch.
"""


def test_descriptions_are_read_each_paragraph_once(tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "mirror_dists_stable_main_i18n_Translation-en").write_text(LIST)
    (lists / "mirror_dists_stable_main_binary-amd64_Packages").write_text(LIST)  # not read
    (text,) = descriptions(lists)
    assert text == (
        "bc: arbitrary precision calculator\n\n"
        "GNU bc is an interactive language for numbers.\n\n"
        "It has:\n* a library <math>,\n* a shell\n\n"
        "bc-doc: manual of bc\n\n"
        "This package has the manual."
    )
    assert read_sources(tmp_path) == {"descriptions": [text]}
    assert "Debian Free Software Guidelines" in SOURCES["descriptions"][1]


def test_descriptions_come_twenty_in_a_document(tmp_path):
    stanza = "Package: p{0}\nDescription-en: short\n Text number {0} of many words.\n"
    text = "\n".join(stanza.format(i) for i in range(41))
    (tmp_path / "m_i18n_Translation-en").write_text(text)
    documents = list(descriptions(tmp_path))
    assert [document.count("Text number") for document in documents] == [20, 20, 1]


def test_an_empty_tree_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold unpacked packages .*; it has none"):
        read_sources(tmp_path)
