"""`clipcap score`, `compare` and `runs`: numbers of captions and of runs, as tables, JSON or a page."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clipcap_lib.cli.messages import enter, markdown, print_whole, refusing
from clipcap_lib.settings import Language


def score(
    captions: Annotated[
        Path, typer.Argument(help="COCO results, the lines of `caption --json`, id<TAB>caption, or any caption format")
    ],
    references: Annotated[Path, typer.Argument(help="captions in any format of data/README.md, several an image")],
    language: Annotated[str, typer.Option(help="zh or en")],
    tokeniser: Annotated[
        str | None, typer.Option(help="zh: jieba or char; en: ptb or ptb-java; default: the first")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="numbers instead of a table")] = False,
) -> None:
    """Score a caption file against a reference file."""
    from clipcap_lib.runner.scoring import score_files

    with refusing(ValueError, RuntimeError, OSError):
        scores = score_files(captions, references, language, tokeniser)
    if as_json:
        numbers = {"protocol": scores.protocol, **scores.corpus.to_dict(), "intervals": scores.intervals.T.to_dict()}
        numbers["not_run"] = scores.not_run
        typer.echo(json.dumps(numbers, ensure_ascii=False))
        return
    table = Table("metric", "value", "95 % interval", title=scores.protocol)
    for name, value in scores.corpus.items():
        edges = [f"{edge:.4f}" for edge in scores.intervals.loc[name]] if name in scores.intervals.index else []
        table.add_row(str(name), f"{value:.4f}", " – ".join(edges))
    for name, why in scores.not_run.items():
        table.add_row(name, "not run", why)
    Console(width=100).print(table)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or experiment folders: their best run")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page to write")] = Path("reports/compare.html"),
    tolerance: Annotated[float, typer.Option(min=0, help="how much a share or CIDEr-D may fall")] = 0.02,
    language: Annotated[
        Language | None, typer.Option(help="of the page: zh or en; default: what the runs have in common")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 even where a fall may be chance")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="print the table, for a pull request")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the numbers")] = False,
) -> None:
    """Compare runs with the first: one page, and exit code 1 where one is clearly worse by more than the tolerance."""
    from clipcap_lib.reporting import compare_runs as comparison

    runs, output = [run.absolute() for run in runs], output.absolute()
    enter(*runs)
    with refusing(ValueError, OSError):
        output.parent.mkdir(parents=True, exist_ok=True)  # before the work is done for nothing
        found = comparison.compare(runs)
        page = comparison.write_comparison(found, output, language)
    if as_json:
        typer.echo(found.deltas.to_json(orient="records", force_ascii=False))
    elif as_markdown:
        typer.echo(markdown(comparison.readable(found)))
    else:
        typer.echo("\n".join([*comparison.verdicts(found), str(page)]))
    worse = found.worse(tolerance)
    for row in worse.itertuples():
        interval = f"95 % interval {row.low:+.3f} to {row.high:+.3f}{'' if row.clear else ', so it may be chance'}"
        line = f"{row.run}: {row.metric} {row.delta:+.3f} ({interval}) against {found.labels[0]}"
        typer.echo(line, err=as_json or as_markdown)
    raise typer.Exit(1 if len(worse if strict else worse[worse["clear"]]) else 0)


def runs(
    where: Annotated[str | None, typer.Option(help="only these, such as 'mapping == \"mlp\" and seed < 3'")] = None,
    sort: Annotated[str | None, typer.Option(help="by this column, lowest first; -COLUMN: highest first")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="print it as CSV")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="print a table for a pull request")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a run")] = False,
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
) -> None:
    """List every finished run: the settings that differ, what came of it, where it came from."""
    from clipcap_lib.analysis.all_runs import all_runs

    enter()
    with refusing(ValueError):
        if not reports.is_dir():
            raise ValueError(f"{reports}: there is no such folder of reports")
        table = all_runs(reports, where, sort)
    if as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    elif as_json:
        typer.echo(table.to_json(orient="records", date_format="iso", force_ascii=False))
    elif as_markdown:
        typer.echo(markdown(table))
    else:
        print_whole(table)
