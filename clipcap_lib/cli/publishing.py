"""`clipcap import` and `gallery`: what others published comes in, what the repository shows goes out."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clipcap_lib.cli.messages import enter, refusing
from clipcap_lib.files import write_json


def import_(
    file: Annotated[Path, typer.Argument(help="a published checkpoint, .pt or .ckpt")],
    lm: Annotated[str, typer.Option(help="the language model it was trained on: hub id or folder")],
    encoder: Annotated[str, typer.Option(help="the image encoder it was trained on, such as clip:ViT-B/32")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder to write, for `caption --run`")],
) -> None:
    """Import a checkpoint of ClipCap-Chinese, rmokady's code or the Lightning rewrite."""
    from clipcap_lib.published.checkpoints import import_checkpoint

    with refusing(ValueError, OSError):
        output.mkdir(parents=True, exist_ok=True)  # before the work is done for nothing
        model, published = import_checkpoint(file, lm, encoder)
        model.save_pretrained(output / "model")
        write_json(output / "params.json", model.config.model_dump() | {"language": published.family.language})
    table = Table("", "what", "where from")
    for where, facts in (("found in the file", published.found), ("assumed", published.assumed)):
        for name, value in facts.items():
            table.add_row(name, value, where)
    Console(width=100).print(table)
    typer.echo(f"{output}: ready for `clipcap caption IMAGE --run {output}`")


def gallery(reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports")) -> None:
    """Copy figures and answers out of executed notebooks into reports/gallery/, and the answers into the READMEs."""
    from clipcap_lib.reporting.gallery import renew_readmes, write_gallery

    enter()
    with refusing(FileNotFoundError, ValueError):
        made = write_gallery(reports, reports / "gallery")
        for path in [*made, *renew_readmes(reports / "gallery", reports.absolute().parent)]:
            typer.echo(path)
