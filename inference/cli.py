"""The commands of `python -m inference`; each imports what it needs when it is called."""

import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from aurora import __version__
from aurora.runtime.cli import ENGINE, ENVIRONMENT, FILE, FOLDER, GROUP, configure_logging
from aurora.runtime.text import text_table
from aurora.tasks import Task, to_records


@click.group(context_settings=GROUP)
@click.version_option(__version__, prog_name="aurora")
def main() -> None:
    """Predict ultrasound images with an AURORA checkpoint, in the format of the FMC-UIA challenge.

    Every flag can also be set in the environment: --batch-size is AURORA_BATCH_SIZE.
    """


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Folder that holds csv_files/ and the images.")
@click.option("--output", type=FOLDER, required=True, help="Folder for the predictions; created if absent.")
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--batch-size", type=click.IntRange(1), help="Images per batch. Default: 8 on a CPU, 32 on a GPU.")
@click.option("--limit", type=click.IntRange(1), help="Predict only the first N rows.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run with the same flags.")
@click.option("--strict", is_flag=True, help="Exit with 10 if any row got a fallback or no prediction.")
@click.option("--report", type=FILE, help="Also write a report: a page (.html), or data for programs (.json).")
@click.option("--preview", type=FOLDER, help="Also draw predictions into this folder, a sheet for each task.")
@click.option("--shard", metavar="I/N|auto", help="Predict part I of N, from 1; auto: as torchrun or Slurm set it.")
@click.option("--quiet", is_flag=True, help="Print only the last line.")
@click.option("--fast", is_flag=True, help="Leave out the views, refinements and derivations of the weights.")
@click.pass_context
def run(context: click.Context, shard: str | None, quiet: bool, **flags: Any) -> None:
    """Predict every row of the CSV files under --input.

    Exit codes: 0 every row predicted, 2 usage, 3 input, 4 weights, 5 output, 6 device or internal, 10 fallbacks under
    --strict, 143 stopped by a signal.
    """
    from inference import run as command
    from inference.plan import RunSettings, Shard

    _check_device(flags["device"])
    configure_logging(logging.WARNING if quiet else logging.INFO)
    context.exit(command.run(RunSettings(**flags, shard=Shard.parse(shard) if shard else None)))


@main.command(context_settings=ENVIRONMENT)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--task", multiple=True, metavar="ID", help="Task to predict; may be repeated.")
@click.option("--output", type=FOLDER, required=True, help="Folder for the results; created if absent.")
@click.option(
    "--frames", metavar="all|middle|every:N|A:B", help="Frames of cines and stacks. Default: one of each file."
)
@click.option(
    "--save", default="masks,overlays,records,curves", show_default=True, help="What to write for each image."
)
@click.option(
    "--pixel-size",
    type=click.FloatRange(0, min_open=True),
    metavar="MM",
    help="Side of a pixel in mm. Default: as the file says.",
)
@click.option(
    "--weights", type=FILE, help="File (.safetensors, .onnx) or hf:ORG/NAME on the hub. Default: the shipped one."
)
@click.option("--revision", help="Commit, branch or tag of weights on the hub.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--batch-size", type=click.IntRange(1), help="Images per batch. Default: 8 on a CPU, 32 on a GPU.")
@click.option("--overwrite", is_flag=True, help="Predict images again that have results in --output.")
@click.option("--strict", is_flag=True, help="Exit with 10 if any image could not be predicted.")
@click.option("--quiet", is_flag=True, help="Print only the last line.")
@click.pass_context
def predict(
    context: click.Context, sources: tuple[str, ...], task: tuple[str, ...], save: str, quiet: bool, **flags: Any
) -> None:
    """Predict images without a CSV file: files, folders, patterns, or - for a list of paths on stdin.

    Exit codes: 0 an image was predicted, 2 usage, 3 none was, 4 weights, 5 output, 6 device or internal, 10 fallbacks
    under --strict, 143 stopped by a signal.
    """
    from aurora.images.cine import require_frames
    from inference.predict import predict as command
    from inference.predict.sources import find_images

    _check_device(flags["device"])
    configure_logging(logging.WARNING if quiet else logging.INFO)
    parts = tuple(filter(None, save.split(",")))
    if not set(parts) <= set(command.PARTS):
        raise click.UsageError(f"expected --save with some of {','.join(command.PARTS)}, found {save}")
    if flags["frames"] is not None:
        require_frames(flags["frames"])
    if not task:
        from aurora.engine.hub import find_weights

        weights, _ = find_weights(*(flags[name] for name in ("weights", "revision", "engine", "device")))
        _print_tasks(weights)
        raise click.UsageError("expected --task with one of the tasks above, found none")
    found = find_images(sources, sys.stdin, flags["output"])
    context.exit(command.predict(found, command.PredictSettings(tasks=tuple(dict.fromkeys(task)), save=parts, **flags)))


@main.command(context_settings=ENVIRONMENT)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=4743, show_default=True, help="Port to listen at.")
@click.option("--input", type=FOLDER, default="/input", show_default=True, help="Folder that POST /invoke predicts.")
@click.option("--output", type=FOLDER, default="/output", show_default=True, help="Folder for its predictions.")
@click.option(
    "--weights", type=FILE, help="File (.safetensors, .onnx) or hf:ORG/NAME on the hub. Default: the shipped one."
)
@click.option("--revision", help="Commit, branch or tag of weights on the hub.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--token", help="What clients must send as 'Authorization: Bearer TOKEN'; better set in AURORA_TOKEN.")
def serve(**flags: Any) -> None:
    """Answer over HTTP: single images, a page to try them on, and grand-challenge's invocations.

    Exit codes: 0 ended by a signal, 2 usage, 4 weights, 6 device, port or internal.
    """
    if find_spec("fastapi") is None:
        raise click.UsageError("serve needs FastAPI, which isn't installed: pip install 'aurora-ultrasound[serve]'")
    _check_device(flags["device"])
    from inference.serve.serve import serve as command
    from inference.serve.service import ServeSettings

    command(ServeSettings(**flags))


@main.command(context_settings=ENVIRONMENT)
@click.argument("shards", nargs=-1, required=True, type=FOLDER, metavar="SHARD_OUTPUT...")
@click.option("--output", type=FOLDER, required=True, help="Folder for the predictions; created if absent.")
def merge(shards: tuple[Path, ...], output: Path) -> None:
    """Merge the outputs of 'run --shard 1/N' to 'N/N' into that of the undivided run, byte for byte.

    A shard that is missing, given twice, unfinished or of another run is named, with exit code 3.
    """
    from inference import merge as command

    rows = command.merge(shards, output)
    click.echo(f"{rows} rows of {len(shards)} shards; predictions: {output}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Folder that holds csv_files/ and the images.")
@click.option("--images/--no-images", default=True, show_default=True, help="Whether to open images and masks at all.")
@click.option(
    "--pixels/--no-pixels", default=True, show_default=True, help="Whether to decode them, or to read headers only."
)
@click.option(
    "--merge-masks/--no-merge-masks", default=None, help="What merge_masks will be in training. Default: not set."
)
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.pass_context
def check(
    context: click.Context, input: Path, images: bool, pixels: bool, merge_masks: bool | None, as_json: bool
) -> None:
    """Report what a folder holds, per task, and its problems; loads no model.

    Exit codes: 0 usable; 3 nothing to predict, or labels or labelled images that 'python -m training fit' refuses.
    """
    from inference.check import check as command
    from inference.check import report

    found = command.check(input, open_images=images, pixels=pixels, merge=merge_masks)
    click.echo(json.dumps(report.as_json(found)) if as_json else report.as_text(found))
    context.exit(found.exit_code)


@main.command(context_settings=ENVIRONMENT)
@click.option("--truth", type=FOLDER, required=True, help="Input folder with labels.")
@click.option("--predictions", type=FOLDER, required=True, help="Folder that 'run' has written.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.option("--html", type=FILE, help="Also write a page: intervals, classes, worst and median cases.")
@click.option("--compare", type=FOLDER, help="Other predictions to compare with, on the page.")
@click.option("--against", type=FOLDER, hidden=True)
def score(
    truth: Path, predictions: Path, as_json: bool, html: Path | None, compare: Path | None, against: Path | None
) -> None:
    """Compare predictions with labels: the challenge's metrics per task, and the composite."""
    from aurora.scoring import score as scoring

    if against:
        click.echo("--against is now called --compare", err=True)  # not to stdout, where --json prints
        compare = compare or against
    if compare and not html:
        raise click.UsageError("--compare needs --html, the page that shows the comparison")
    page = None
    if html:
        from inference.score.page import ScorePage

        page = ScorePage(html)
    problems: list[str] = []
    compared = scoring.compare(truth, predictions, problems)
    scores = scoring.scores_of(compared, problems)
    click.echo(json.dumps(scoring.as_json(scores)) if as_json else scoring.as_text(scores))
    if page:
        page.write(truth, predictions, compared, scores, compare)


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
def tasks(weights: Path | None, as_json: bool) -> None:
    """List the tasks of a checkpoint, and what each was trained on."""
    if as_json:
        from aurora.engine.select import read_spec

        click.echo(json.dumps(to_records(read_spec(weights).tasks)))
    else:
        _print_tasks(weights)


def _print_tasks(weights: Path | None) -> None:
    from aurora.engine.select import read_spec

    registry = read_spec(weights).tasks
    rows = [(task.id, task.type, str(task.num_classes), _origin(task)) for task in registry.values()]
    for line in text_table(rows):
        click.echo(line)


def _origin(task: Task) -> str:
    """Say what a task of the registry was trained on, and which other task its predictions come from."""
    parts = (
        task.alias and f"predicted as {task.alias}",
        task.derivation and f"{task.derivation.rule} of {task.derivation.source}",
        "two views" if task.mirrored else "",
        ", ".join(task.names),
        task.trained_on,
    )
    return "; ".join(filter(None, parts))


@main.command(context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Input folder of the run.")
@click.option("--predictions", type=FOLDER, required=True, help="Folder that 'run' has written.")
@click.option("--out", type=FILE, required=True, help="Zip file to write.")
def pack(input: Path, predictions: Path, out: Path) -> None:
    """Pack predictions for the upload to the challenge's validation server.

    An incomplete or malformed set is rejected, with exit code 3.
    """
    from inference import pack as command

    count = command.pack(input, predictions, out)
    click.echo(f"{count} files in {out}")


@main.command("export-predictions", context_settings=ENVIRONMENT)
@click.option("--input", type=FOLDER, required=True, help="Input folder of the run.")
@click.option("--predictions", type=FOLDER, required=True, help="Folder that 'run' has written.")
@click.option(
    "--format",
    "format_name",
    envvar="AURORA_FORMAT",
    type=click.Choice(["coco", "yolo", "nnunet", "label-studio", "cvat"]),
    required=True,
    help="Format to write, a folder per task.",
)
@click.option("--out", type=FOLDER, required=True, help="Folder for the data sets; new or empty.")
@click.option("--weights", type=FILE, help="Checkpoint that names the classes. Default: the shipped one.")
@click.option("--copy", is_flag=True, help="Copy images. Default: hard links, where the file system allows.")
def export_predictions(**flags: Any) -> None:
    """Turn the predictions of a run into data sets to correct in a labelling tool.

    Rows without a usable prediction are left out and counted. Exit codes: 0 written, 3 nothing can be exported.
    """
    from inference.export.export import ExportSettings
    from inference.export.export import export_predictions as command

    for line in command(ExportSettings(**flags)):
        click.echo(line)


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--output", type=FOLDER, help="Also check that predictions can be written there.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, weights: Path | None, output: Path | None, as_json: bool) -> None:
    """Report hardware, libraries and weights, and any problem that would make a run fail.

    Exits with the code that the run would exit with.
    """
    from inference import doctor as command

    findings = command.examine(weights, output)
    click.echo(command.as_json(findings) if as_json else command.as_text(findings))
    context.exit(next((finding.exit_code for finding in findings if finding.exit_code), 0))


@main.command(context_settings=ENVIRONMENT)
@click.argument("name", metavar="FILE_NAME")
def schema(name: str) -> None:
    """Print the JSON Schema of a file that 'run' writes.

    FILE_NAME is classification_predictions.json, detection_predictions.json, regression_predictions.json, or
    report.json for the file of 'run --report FILE.json'.
    """
    from inference.report import record as command

    if name not in command.NAMES:
        raise click.UsageError(f"FILE_NAME must be {', '.join(command.NAMES)}, found {name!r}")
    click.echo(json.dumps(command.schema(name), indent=1))


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint with golden cases next to it. Default: the shipped one.")
@click.option("--engine", type=ENGINE, help="Default: onnx on a CPU, torch on a GPU.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.pass_context
def selftest(context: click.Context, weights: Path | None, engine: Any, device: str) -> None:
    """Predict the golden cases that ship with the weights, and compare.

    Exit codes: 0 equal within rounding, 6 different predictions.
    """
    from aurora.errors import DeviceError
    from inference import selftest as command

    _check_device(device)
    configure_logging(logging.WARNING)  # the log of the run on the golden cases isn't the result
    title, differences = command.selftest(weights, engine, device)
    click.echo(command.as_text(title, differences))
    context.exit(0 if all(difference.tolerable for difference in differences) else DeviceError.exit_code)


def _check_device(name: str) -> None:
    from aurora.errors import UsageError
    from aurora.runtime.hardware import parse_device

    try:
        parse_device(name)
    except UsageError as error:
        raise click.UsageError(str(error)) from None
