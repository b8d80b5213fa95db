"""The commands of `python -m inference`. Each imports what it needs when it is called."""

import json
from pathlib import Path
from typing import Any

import click

from aurora import __version__
from aurora.runtime.cli import ENGINE, ENVIRONMENT, FILE, FOLDER, GROUP


@click.group(context_settings=GROUP)
@click.version_option(__version__, prog_name="aurora")
def main() -> None:
    """Answer ultrasound images with an AURORA checkpoint, in the format of the FMC-UIA challenge.

    Every flag can also be set in the environment: --batch-size is AURORA_BATCH_SIZE.
    """


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Folder that holds csv_files/ and the images.")
@click.option("--output", type=FOLDER, required=True, help="Folder for the answers; made if absent.")
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--batch-size", type=click.IntRange(1), help="Images at once. Default: 8 on a CPU, 32 on a GPU.")
@click.option("--limit", type=click.IntRange(1), help="Answer only the first N rows.")
@click.option("--resume", is_flag=True, help="Go on from where a run with the same flags was interrupted.")
@click.option("--strict", is_flag=True, help="Exit with 10 if any row got a fallback or none.")
@click.option("--report", type=FILE, help="Also write a report: a page (.html), or data for programs (.json).")
@click.option("--preview", type=FOLDER, help="Also draw answers into this folder, a sheet for each task.")
@click.option("--shard", metavar="I/N|auto", help="Answer one of N parts, from 1; auto: as torchrun or Slurm say.")
@click.option("--quiet", is_flag=True, help="Print the last line alone.")
@click.pass_context
def run(context: click.Context, shard: str | None, **flags: Any) -> None:
    """Answer every row of the CSV files under --input.

    Exit codes: 0 every row answered, 2 usage, 3 input, 4 weights, 5 output, 6 device or internal, 10 fallbacks under
    --strict, 143 stopped by a signal.
    """
    from inference import run as command
    from inference.plan import RunSettings, Shard

    _check_device(flags["device"])
    part = Shard.parse(shard) if shard else None
    context.exit(command.run(RunSettings(**flags, shard=part)))


@main.command(context_settings=ENVIRONMENT)
@click.argument("shards", nargs=-1, required=True, type=FOLDER, metavar="SHARD_OUTPUT...")
@click.option("--output", type=FOLDER, required=True, help="Folder for the answers; made if absent.")
def merge(shards: tuple[Path, ...], output: Path) -> None:
    """Join the outputs of 'run --shard 1/N' to 'N/N': the result is that of the undivided run, byte for byte.

    A shard that is missing, there twice, not finished or of another run is named, with exit code 3.
    """
    from inference import merge as command

    rows = command.merge(shards, output)
    click.echo(f"{rows} rows of {len(shards)} shards; answers: {output}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Folder that holds csv_files/ and the images.")
@click.option(
    "--images/--no-images", default=True, show_default=True, help="Whether to look into every image's header."
)
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.pass_context
def check(context: click.Context, input: Path, images: bool, as_json: bool) -> None:
    """Say what is in a folder, per task, and what is wrong with it; loads no model.

    Exit codes: 0 usable, 3 nothing to answer.
    """
    from aurora.errors import InputError
    from inference import check as command

    report = command.check(input, open_images=images)
    click.echo(json.dumps(command.as_json(report)) if as_json else command.as_text(report))
    context.exit(0 if report.usable else InputError.exit_code)


@main.command(context_settings=ENVIRONMENT)
@click.option("--truth", type=FOLDER, required=True, help="Input folder with labels.")
@click.option("--predictions", type=FOLDER, required=True, help="Folder that 'run' has written.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.option("--html", type=FILE, help="Also write a page: intervals, classes, worst and median cases.")
@click.option("--against", type=FOLDER, help="Other answers to compare with, on the page.")
def score(truth: Path, predictions: Path, as_json: bool, html: Path | None, against: Path | None) -> None:
    """Compare answers with labels: the challenge's metrics per task, and the composite."""
    from aurora.scoring import score as scoring

    if against and not html:
        raise click.UsageError("--against needs --html, the page that shows the comparison")
    page = None
    if html:
        from inference.score.page import ScorePage

        page = ScorePage(html)
    problems: list[str] = []
    compared = scoring.compare(truth, predictions, problems)
    scores = scoring.scores_of(compared, problems)
    click.echo(json.dumps(scoring.as_json(scores)) if as_json else scoring.as_text(scores))
    if page:
        page.write(truth, predictions, compared, scores, against)


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
def tasks(weights: Path | None, as_json: bool) -> None:
    """List the tasks that a checkpoint answers."""
    from aurora.engine.select import read_spec
    from aurora.tasks import to_records

    records = to_records(read_spec(weights).tasks)
    if as_json:
        click.echo(json.dumps(records))
        return
    for record in records:
        click.echo(f"{record['id']:<28}{record['type']:<16}{record['num_classes']:>3}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Folder that was answered.")
@click.option("--predictions", type=FOLDER, required=True, help="Folder that 'run' has written.")
@click.option("--out", type=FILE, required=True, help="Zip file to write.")
def pack(input: Path, predictions: Path, out: Path) -> None:
    """Pack answers for the upload to the challenge's validation server.

    A set that is incomplete or malformed is refused, with exit code 3.
    """
    from inference import pack as command

    count = command.pack(input, predictions, out)
    click.echo(f"{count} files in {out}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--output", type=FOLDER, help="Also try whether answers can be written there.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, weights: Path | None, output: Path | None, as_json: bool) -> None:
    """Say what this machine has, and what of it would end a run; the exit code is that run's.

    Processors, memory, disk, libraries, GPUs, and the weights and their checksum.
    """
    from inference import doctor as command

    findings = command.examine(weights, output)
    click.echo(command.as_json(findings) if as_json else command.as_text(findings))
    context.exit(next((found.exit_code for found in findings if found.exit_code), 0))


@main.command(context_settings=ENVIRONMENT)
@click.argument("name", metavar="FILE_NAME")
def schema(name: str) -> None:
    """Print the JSON Schema of a file that 'run' writes.

    FILE_NAME is classification_predictions.json, detection_predictions.json, regression_predictions.json, or
    report.json for what 'run --report FILE.json' writes.
    """
    from inference.report import record as command

    if name not in command.NAMES:
        raise click.UsageError(f"FILE_NAME must be {', '.join(command.NAMES)}, found {name!r}")
    click.echo(json.dumps(command.schema(name), indent=1))


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint with golden cases beside it. Default: the shipped one.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.pass_context
def selftest(context: click.Context, weights: Path | None, engine: Any, device: str) -> None:
    """Answer the golden cases that ship with the weights, and compare.

    Exit codes: 0 the same within rounding, 6 other answers.
    """
    from aurora.errors import DeviceError
    from inference import selftest as command

    _check_device(device)
    name, differences = command.selftest(weights, engine, device)
    click.echo(command.as_text(name, differences))
    context.exit(0 if all(found.tolerable for found in differences) else DeviceError.exit_code)


def _check_device(name: str) -> None:
    from aurora.errors import UsageError
    from aurora.runtime.hardware import parse_device

    try:
        parse_device(name)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
