"""The `clipcap` command."""

import inspect
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from clipcap_lib.decoding.strategies import (
    NAMES,
    BestOfN,
    Constraints,
    MinimumBayesRisk,
    Strategy,
    options,
    parse_strategy,
)
from clipcap_lib.files import InUseError, claim, write_json
from clipcap_lib.images import open_picture
from clipcap_lib.project import enter_project
from clipcap_lib.runner.experiment import Experiment, ExperimentError, find_experiment, load_experiment
from clipcap_lib.runner.importing import importing
from clipcap_lib.settings import Language

if TYPE_CHECKING:
    import pandas as pd
    from filelock import FileLock
    from torch import Tensor

    from clipcap_lib.analysis.unlike import SeenPictures
    from clipcap_lib.decoding.constraints import Caption
    from clipcap_lib.explore.captioner import Captioner
    from clipcap_lib.runner.doctor import Finding
    from clipcap_lib.runner.jobs import Job, Outcome
    from clipcap_lib.runner.pipeline import Engine

# jsonschema, which reads notebooks, would spend three seconds on grammars of addresses that no notebook asks for.
sys.modules["rfc3987_syntax"] = None

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="ClipCap Workbench")
BATCH = 64  # pictures captioned at once: thousands need no more memory, and what is done is printed


class EngineName(StrEnum):
    """What executes notebooks: this process, or the machines of a Ray cluster."""

    local = "local"
    ray = "ray"


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


@contextmanager
def _refusing(*kinds: type[Exception]) -> Iterator[None]:
    """Exit with 2 and the error's own words where one of these is raised."""
    try:
        yield
    except kinds as error:
        _complain(error)
        raise typer.Exit(2) from None


def _enter_project(*named: Path) -> None:
    with _refusing(FileNotFoundError):
        enter_project(*named)


def _complain(words: object, style: str = "red") -> None:
    # As it is: not wrapped, and the brackets of `a[b].png` are not rich's own.
    Console(stderr=True).print(Text(str(words), style=style), soft_wrap=True)


def _warn(words: object) -> None:
    _complain(words, "yellow")


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="an experiment by name, such as emoji-zh, or a file of your own")],
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="key=value in place of the file's, or key=value,value: a run for each"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="of the experiment with -S; default: its own and the keys")] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-j", min=1, help="notebooks side by side, each on a GPU of its own where there are any"
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="ray: each notebook is a task of a Ray cluster")
    ] = EngineName.local,
    address: Annotated[
        str | None, typer.Option(help="of the Ray cluster: auto, or host:port; default: a new one on this machine")
    ] = None,
) -> None:
    """Execute the notebooks of an experiment and render its report; what is fresh is kept."""
    # Here, because what executes notebooks takes half a second to import, and no other command needs it.
    from clipcap_lib.runner.devices import Devices, visible_devices
    from clipcap_lib.runner.freshness import is_fresh
    from clipcap_lib.runner.jobs import plan_jobs
    from clipcap_lib.runner.parameter_cells import ParameterError
    from clipcap_lib.runner.pipeline import EngineError, local_engine
    from clipcap_lib.runner.progress import run_with_board
    from clipcap_lib.runner.warm_kernels import use_warm_kernels, warm_process

    console = Console()
    _refuse_what_does_not_go_together(engine, address, workers)
    experiment = find_experiment(experiment)
    _enter_project(experiment)
    with _refusing(ExperimentError, ParameterError, InUseError, EngineError):
        settings = load_experiment(experiment, overrides or (), name)
        jobs, workers = plan_jobs(settings, reports), workers or settings.execution.workers
        claimed = _claim(reports, settings.name) if reports.is_dir() else None  # before checks that take seconds
        if not (all_fresh := all(map(is_fresh, jobs))) and engine is EngineName.local:
            use_warm_kernels()
        with console.status("checking files and models") if console.is_terminal else nullcontext():
            _get_ready(jobs)
            with warm_process() as warm:  # this one need not import torch
                found = warm.submit(_found, settings, all_fresh, engine is EngineName.local).result()
                devices = Devices(warm.submit(visible_devices).result())
        _refuse_what_cannot_run(console, settings, found)
        claimed = claimed or _claim(reports, settings.name)
        local = local_engine(workers, devices)
        with nullcontext(local) if all_fresh or engine is EngineName.local else _ray(reports, address) as executes:
            outcomes = run_with_board(console, jobs, workers, executes)
        for outcome in outcomes:
            if outcome.status == "failed":
                _complain(f"{outcome.job.name}: {outcome.error}")
        try:
            alarms, page = _report(settings, outcomes, reports)
        finally:
            claimed.release()
    for alarm in alarms:
        _warn(f"alarm: {alarm}")
    typer.echo(f"report: {page}")
    raise typer.Exit(1 if any(outcome.status == "failed" for outcome in outcomes) else 0)


def _ray(reports: Path, address: str | None) -> AbstractContextManager["Engine"]:
    from clipcap_lib.runner.ray_engine import ray_engine

    return ray_engine(reports, address or "local")


def _get_ready(jobs: list["Job"]) -> None:
    """Do what takes seconds and can be done while the server of kernels imports."""
    from clipcap_lib.runner.freshness import job_hash

    with importing():
        for job in jobs:
            job_hash(job)
        from clipcap_lib.reporting.report import get_ready

        get_ready()


def _report(settings: Experiment, outcomes: list["Outcome"], reports: Path) -> tuple[list[str], Path]:
    """What was found to doubt in the runs, and the report's page, written.

    Exits with 1 on a full disk, for instance: runs are kept, the page can be written again.
    """
    from clipcap_lib.reporting.report import alarms, write_report

    try:
        return alarms(outcomes), write_report(settings, outcomes, reports)
    except OSError as error:
        _complain(f"{reports}: the report could not be written: {error}; what was executed is kept: run it again")
        raise typer.Exit(1) from None


def _refuse_what_does_not_go_together(engine: EngineName, address: str | None, workers: int | None) -> None:
    if engine is EngineName.local and address:
        _complain("--address names a Ray cluster: add --engine ray")
        raise typer.Exit(2)
    if engine is EngineName.ray and workers:
        _complain("--workers is of --engine local: Ray runs as many notebooks as its machines have cores and GPUs for")
        raise typer.Exit(2)


def _claim(reports: Path, name: str) -> "FileLock":
    """Reserve the experiment's folder; exits with 2 where the folder of reports cannot be written."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=reports).close()  # only writing tells whether one may
    except OSError as error:
        _complain(f"{error}; choose a folder you may write to with --reports")
        raise typer.Exit(2) from None
    return claim(reports / name)


def _refuse_what_cannot_run(console: Console, settings: Experiment, found: list["Finding"]) -> None:
    """Exit with 2 where files, models or settings do not allow it."""
    if missing := [finding for finding in found if finding.state == "missing"]:
        _complain(f"{settings.name} cannot run yet; `clipcap doctor {settings.name}` shows the whole list")
        console.print(_findings(missing))
        raise typer.Exit(2)


def _found(settings: Experiment, tried: bool, here: bool) -> list["Finding"]:
    from clipcap_lib.runner.doctor import check_environment, check_experiment

    return check_environment() + check_experiment(settings, tried, here)


@app.command()
def report(
    experiment: Annotated[Path, typer.Argument(help="an experiment by name, or a file of your own")],
    pdf: Annotated[bool, typer.Option("--pdf", help="print it into report.pdf, by a browser that is here")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="each figure as PNG and SVG, with its numbers, into figures/")
    ] = False,
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
) -> None:
    """Render an experiment's report again from the notebooks that were executed; execute nothing."""
    from clipcap_lib.reporting.export import write_figures, write_pdf
    from clipcap_lib.reporting.language import language_of_report
    from clipcap_lib.reporting.report import write_report
    from clipcap_lib.runner.freshness import found_outcomes
    from clipcap_lib.runner.jobs import plan_jobs

    experiment = find_experiment(experiment)
    _enter_project(experiment)
    with _refusing(ExperimentError, InUseError, OSError):
        settings = load_experiment(experiment)
        if told := language_of_report(reports / settings.name):  # in which its notebooks were executed
            settings = settings.model_copy(update={"report_language": told})
        outcomes = found_outcomes(plan_jobs(settings, reports))
        with claim(reports / settings.name):
            typer.echo(page := write_report(settings, outcomes, reports))
            if figures:
                done = [outcome.job.folder / "notebook.ipynb" for outcome in outcomes if outcome.finished]
                typer.echo(f"{page.parent / 'figures'}: {len(write_figures(done, page.parent / 'figures'))} files")
            if pdf:
                typer.echo(write_pdf(page))


@app.command()
def doctor(
    experiment: Annotated[Path | None, typer.Argument(help="an experiment by name, or a file of your own")] = None,
) -> None:
    """Say what this machine has of what is needed, and where to get the rest; exit code 0: ready, 1: not."""
    from clipcap_lib.runner.doctor import check_environment, check_experiment

    console = Console()
    path = find_experiment(experiment) if experiment else None
    _enter_project(path or Path())
    with _refusing(ExperimentError):
        found = check_environment() + (check_experiment(load_experiment(path)) if path else [])
    console.print(_findings(found))
    missing = sum(finding.state == "missing" for finding in found)
    console.print(f"[red]not ready: {missing} missing" if missing else "[green]ready")
    raise typer.Exit(1 if missing else 0)


def _findings(found: list["Finding"]) -> Table:
    signs = {"ready": "[green]✓", "missing": "[red]✗", "optional": "[yellow]–"}
    table = Table("", "what", Column("found, or what to do", overflow="fold"), box=None, pad_edge=False)
    for finding in found:
        table.add_row(signs[finding.state], finding.name, escape(finding.note))
    return table


def _with_strategy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each of the strategies' own in place of its `**chosen`; `None`: not given."""
    signature = inspect.signature(command)
    stated = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    added = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for option, annotation in _strategy_options().items()
    ]
    command.__signature__ = signature.replace(parameters=[*stated, *added])
    command.__annotations__ |= {parameter.name: parameter.annotation for parameter in added}
    return command


def _strategy_options() -> dict[str, Any]:
    """Typer's annotation of each option of any strategy; its help says of which."""
    kinds: dict[str, Any] = {}
    says: dict[str, dict[str, list[str]]] = {}
    for strategy in NAMES:
        for option, field in options(strategy).items():
            kinds.setdefault(option, field.annotation)
            says.setdefault(option, {}).setdefault(field.description or "", []).append(strategy)
    help_of = {
        option: "; ".join(f"{', '.join(names)}: {what}" for what, names in meanings.items())
        for option, meanings in says.items()
    }
    return {option: Annotated[kind | None, typer.Option(help=help_of[option])] for option, kind in kinds.items()}


@app.command()
@_with_strategy_options
def caption(
    images: Annotated[list[Path], typer.Argument(help="pictures")],
    run: Annotated[Path, typer.Option(help="folder of a finished run, such as reports/emoji-zh/runs/mlp-full-s0")],
    strategy: Annotated[
        str, typer.Option(help=f'{", ".join(NAMES)}; or as in an experiment file, "sample min_p:0.1"')
    ] = "greedy",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest caption")] = 60,
    min_new_tokens: Annotated[int, typer.Option(min=0, help="shortest caption")] = 0,
    repetition_penalty: Annotated[float, typer.Option(help="above 1: what has been said is less likely")] = 1.0,
    no_repeat_ngram: Annotated[int, typer.Option(min=0, help="so many tokens in a row come once; 0 is off")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="one JSON object a picture, with tokens and scores; `score` reads it")
    ] = False,
    **chosen: Any,
) -> None:
    """Caption pictures with a finished run."""
    images, run = [image.absolute() for image in images], run.absolute()
    with _refusing(ValueError, OSError):  # OSError: a language model that cannot be had
        given = [f"{name}:{value}" for name, value in chosen.items() if value is not None]
        how = parse_strategy(" ".join([strategy, *given]))
        for image in images:
            open_picture(image)  # before a model is loaded for a picture that is not there
        from clipcap_lib.analysis.unlike import unlike_training
        from clipcap_lib.explore.captioner import Captioner

        constraints = Constraints(
            max_new_tokens=max_new_tokens, min_new_tokens=min_new_tokens, repetition_penalty=repetition_penalty,
            no_repeat_ngram=no_repeat_ngram,
        )  # fmt: skip
        captioner = Captioner.from_pretrained(run)
    seen = _seen(captioner)
    for image, name, feature, captions in _in_batches(captioner, images, how, constraints):
        if seen and (alarm := unlike_training(feature, seen, captioner.data.corpus)):
            _warn(f"{name}: {alarm}")
        if as_json:
            shared = {"strategy": how.model_dump(), "run": str(run)} | _likeness(feature, seen)
            typer.echo(json.dumps(_row(captioner, image, name, captions) | shared, ensure_ascii=False))
        else:
            _print_captions(name, captions, how)


def _seen(captioner: "Captioner") -> "SeenPictures | None":
    """What the run was trained on; `None` where that is not known, said in a note where it has been."""
    try:
        return captioner.seen
    except LookupError as error:
        _warn(f"{captioner.folder}: no picture can be told to be unlike what it was trained on: {error}")


def _likeness(feature: "Tensor", seen: "SeenPictures | None") -> dict[str, Any]:
    """How far a picture, by its embedding [D] or grid [T, D], is from training's; `None` where these are not known."""
    distance = seen.distance(feature) if seen else None
    return {"training_distance": distance, "unlike_training": seen and distance > seen.usual}


def _in_batches(
    captioner: "Captioner", images: list[Path], how: Strategy, constraints: Constraints
) -> Iterator[tuple[Path, str, "Tensor", "list[Caption]"]]:
    """Pictures with what the model reads of them and their captions, by name, or by path where several are alike."""
    called = Counter(image.name for image in set(images))
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        with _refusing(ValueError, OSError):  # OSError: mbr's training captions are gone
            opened, keys = map(open_picture, some), [image.name for image in some]
            features, found = captioner.features_and_captions(opened, keys, how, constraints)
        names = [image.name if called[image.name] == 1 else str(image) for image in some]
        yield from zip(some, names, features, found, strict=True)


def _row(captioner: "Captioner", image: Path, name: str, captions: "list[Caption]") -> dict[str, Any]:
    """What one line of JSON says of a picture; `score` reads `image_id` and `caption`."""
    found = [vars(made) | {"token_texts": captioner.token_texts(made.tokens)} for made in captions]
    return {"image_id": name, "image": str(image), "caption": captions[0].text, "captions": found}


def _print_captions(name: str, captions: "list[Caption]", how: Strategy) -> None:
    for made in captions[:1] if isinstance(how, BestOfN | MinimumBayesRisk) else captions:  # these draw n to keep one
        typer.echo(f"{name}\t{' '.join(made.text.split())}")  # one line a caption, as `score` reads them


@app.command()
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

    with _refusing(ValueError, RuntimeError, OSError):
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


@app.command()
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
    _enter_project(*runs)
    with _refusing(ValueError, OSError):
        output.parent.mkdir(parents=True, exist_ok=True)  # before the work is done for nothing
        found = comparison.compare(runs)
        page = comparison.write_comparison(found, output, language)
    if as_json:
        typer.echo(found.deltas.to_json(orient="records", force_ascii=False))
    elif as_markdown:
        typer.echo(_markdown(comparison.readable(found)))
    else:
        typer.echo("\n".join([*comparison.verdicts(found), str(page)]))
    worse = found.worse(tolerance)
    for row in worse.itertuples():
        interval = f"95 % interval {row.low:+.3f} to {row.high:+.3f}{'' if row.clear else ', so it may be chance'}"
        typer.echo(f"{row.run}: {row.metric} {row.delta:+.3f} ({interval}) against {found.labels[0]}", err=as_json)
    raise typer.Exit(1 if len(worse if strict else worse[worse["clear"]]) else 0)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="a published checkpoint, .pt or .ckpt")],
    lm: Annotated[str, typer.Option(help="the language model it was trained on: hub id or folder")],
    encoder: Annotated[str, typer.Option(help="the image encoder it was trained on, such as clip:ViT-B/32")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder to write, for `caption --run`")],
) -> None:
    """Import a checkpoint of ClipCap-Chinese, rmokady's code or the Lightning rewrite."""
    from clipcap_lib.published.checkpoints import import_checkpoint

    with _refusing(ValueError, OSError):
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


@app.command("runs")
def runs_(
    where: Annotated[str | None, typer.Option(help="only these, such as 'mapping == \"mlp\" and seed < 3'")] = None,
    sort: Annotated[str | None, typer.Option(help="by this column, lowest first; -COLUMN: highest first")] = None,
    as_csv: Annotated[bool, typer.Option("--csv")] = False,
    as_markdown: Annotated[bool, typer.Option("--md")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports"),
) -> None:
    """List every finished run: the settings that differ, what came of it, where it came from."""
    from clipcap_lib.analysis.all_runs import all_runs, chosen_runs

    _enter_project()
    with _refusing(ValueError):
        table = chosen_runs(all_runs(reports), where, sort)
    if as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    elif as_json:
        typer.echo(table.to_json(orient="records", date_format="iso", force_ascii=False))
    elif as_markdown:
        typer.echo(_markdown(table))
    else:
        shown = Table(*table.columns, box=None, pad_edge=False)
        for row in _told(table):
            shown.add_row(*row)
        Console(width=max(160, Console().width)).print(shown)


def _markdown(table: "pd.DataFrame") -> str:
    rows = [table.columns, ["---"] * len(table.columns), *_told(table)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _told(table: "pd.DataFrame") -> Iterator[list[str]]:
    """The rows of a table as people read them."""
    for row in table.itertuples(index=False):
        yield ["" if value is None or value != value else f"{value:.4g}" if isinstance(value, float) else str(value)
               for value in row]  # fmt: skip


@app.command()
def gallery(reports: Annotated[Path, typer.Option(help="folder of reports")] = Path("reports")) -> None:
    """Copy figures and answers out of executed notebooks into reports/gallery/, and the answers into the READMEs."""
    from clipcap_lib.reporting.gallery import renew_readmes, write_gallery

    _enter_project()
    with _refusing(FileNotFoundError, ValueError):
        made = write_gallery(reports, reports / "gallery")
        for path in [*made, *renew_readmes(reports / "gallery", reports.absolute().parent)]:
            typer.echo(path)
