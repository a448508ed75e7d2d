"""``signacc data``: options of a folder of shards; also ``python -m model.data_command``.

What is heavy loads once the options are read, so that ``--help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .errors import told


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--teacher", type=click.Path(path_type=Path), required=True, metavar="FILE.gguf",
              help="Teacher: vocabulary, and writer of sampled text.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of shards.")
@click.option("--tree", type=click.Path(path_type=Path),
              help="Unpacked packages to read; without it, OUT must hold shards to add to. Sampled "
              "shards that OUT holds are kept.")
@click.option("--held-out", type=click.Path(path_type=Path), metavar="FOLDER",
              help="*.utf8 texts that must not enter training.")
@click.option("--length", type=int,
              help="Teacher tokens a row [default: 384, or that of the shards in OUT].")
@click.option("--sampled", type=click.Path(exists=True, file_okay=False, path_type=Path),
              metavar="FOLDER", help="Add what python -m model.sample wrote elsewhere.")
@click.option("--sample-seconds", default=0.0, show_default=True,
              help="Let the teacher write that long, on every GPU.")
@click.option("--sample-shards", type=int,
              help="Or that many shards: the same text again, on one GPU or several of a kind.")
@click.option("--sample-batch", default=4096, show_default=True, help="Texts written at once.")
@click.option("--sample-length", default=384, show_default=True,
              help="Tokens of a text that the teacher writes; they are joined to rows.")
@click.option("--hold-rows", default=1024, show_default=True,
              help="Sampled rows kept for evaluation.")
@click.option("--compress", is_flag=True, help="Write shards as .npy.xz, to be carried.")
@click.option("--seed", type=click.IntRange(min=0),
              help="[default: 0; for sampling, one that no sampled shard of OUT has]")
@told()
def main(teacher: Path, out: Path, **options: Any) -> None:
    """Prepare token shards with a manifest: source, licence, tokens, SHA-256 of each.

    \b
    Examples:
      signacc data --teacher t.gguf --tree tree --held-out slices --out data
      signacc data --teacher t.gguf --out data --sample-shards 32       (adds to it)
      signacc data --teacher t.gguf --out data --sampled folder         (likewise)
    """
    from .corpus import prepare

    manifest = prepare(teacher, out, **options)
    tokens = {
        group: sum(s.tokens for s in manifest.shards if s.group == group)
        for group in ("real", "sampled")
    }
    click.echo(
        f"{out}: {tokens['real']} tokens of real text, {tokens['sampled']} sampled, "
        f"{sum(s.dropped for s in manifest.shards)} rows dropped for shared text"
    )


if __name__ == "__main__":
    main()
