"""The `clipcap` command; it hands options on and decides nothing."""

import sys
from importlib import metadata
from typing import Annotated

import typer

from clipcap_lib.cli.captioning import caption
from clipcap_lib.cli.comparing import compare, runs, score
from clipcap_lib.cli.publishing import gallery, import_
from clipcap_lib.cli.running import doctor, report, run

# jsonschema, which reads notebooks, would spend three seconds on grammars of addresses that no notebook asks for.
sys.modules["rfc3987_syntax"] = None

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="ClipCap Workbench")
for command in (run, report, doctor, caption, score, compare):
    app.command()(command)
app.command("import")(import_)
for command in (runs, gallery):
    app.command()(command)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"clipcap_lib {metadata.version('clipcap_lib')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="say which version this is")
    ] = False,
) -> None:
    pass
