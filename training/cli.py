"""The commands of `python -m training`; each imports its dependencies only when it is called."""

import json
import logging
import os
from pathlib import Path
from typing import Any, Literal

import click

from aurora import __version__
from aurora.errors import UsageError
from aurora.runtime.cli import ENVIRONMENT, FILE, FOLDER, GROUP, configure_logging
from aurora.tasks import OFFICIAL
from training.ablation.variants import DEFAULT, VARIANTS
from training.cli_bench import bench, encoder_cost, gpu_check
from training.cli_import import import_data, import_encoder, import_stem

logger = logging.getLogger("aurora.training")


@click.group(context_settings=GROUP)
@click.version_option(__version__, prog_name="aurora")
def main() -> None:
    """Train, evaluate and export AURORA checkpoints.

    Every flag can also be set in the environment: --out is AURORA_OUT.
    """
    # Under torchrun, only the first process logs progress; the others would repeat it.
    configure_logging(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)


def _add_former_name(name: str, command: click.Command) -> None:
    """Make a command callable by its former name, which `--help` doesn't list."""

    def run(**arguments: Any) -> None:
        _report_former_name(f"'training {name}'", f"'training {command.name}'")
        click.get_current_context().invoke(command, **arguments)

    main.add_command(click.Command(name, command.context_settings, run, command.params, help=command.help, hidden=True))


def _report_former_name(former: str, present: str) -> None:
    logger.info("%s is now called %s; the next release won't accept the former name", former, present)


@main.command(context_settings=ENVIRONMENT)
@click.option("--out", type=FOLDER, help="Folder for the input root.")
@click.option("--cases", type=click.IntRange(1), help="Cases per task.")
@click.option("--seed", type=click.IntRange(0), required=True)
@click.option("--scanner", help="Name of a scanner profile. Default: a random one for each case.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", show_default=True)
@click.option(
    "--tasks",
    type=click.Choice(list(OFFICIAL)),
    multiple=True,
    metavar="ID",
    help="Official task to draw; may be repeated. Default: all 27.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes. Default: one per processor.")
@click.option("--sheet", type=FILE, help="Write a contact sheet of all tasks and scanners to this file instead.")
def phantom(
    out: Path | None,
    cases: int | None,
    seed: int,
    scanner: str | None,
    split: str,
    tasks: tuple[str, ...],
    workers: int | None,
    sheet: Path | None,
) -> None:
    """Draw labelled ultrasound phantoms for the official tasks; those of split 'test' have no labels."""
    if sheet:
        from training.phantom.sheet import write_sheet

        write_sheet(sheet, seed=seed)
        click.echo(f"contact sheet: {sheet}")
        return
    if out is None or cases is None:
        missing = "--out" if out is None else "--cases"
        raise UsageError(f"Expected --out and --cases, or --sheet, but {missing} is missing; name it.")
    from training.phantom import generate

    rows = generate(out, cases=cases, seed=seed, scanner=scanner, split=split, tasks=tasks or None, workers=workers)
    click.echo(f"{rows} rows in {out}")


main.add_command(import_data)


@main.command(context_settings=ENVIRONMENT)
@click.option("--config", type=FILE, required=True, help="YAML file; see training/configs/.")
@click.option("--data", type=FOLDER, required=True, multiple=True, help="Labelled input root; may be repeated.")
@click.option("--val", type=FOLDER, multiple=True, help="Labelled input root for choosing the weights.")
@click.option("--out", type=FOLDER, required=True, help="Folder for weights, states and log.")
@click.option("--resume", is_flag=True, help="Continue from the last valid state in --out.")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
def fit(
    config: Path, data: tuple[Path, ...], val: tuple[Path, ...], out: Path, resume: bool, changes: tuple[str, ...]
) -> None:
    """Train one model on all tasks of the data. KEY=VALUE overrides a setting of the configuration.

    Start it with torchrun to train in several processes.

    Without --val, a share of the data is held out to choose the weights; no image or patient is on both sides.
    """
    from training.config import load_config
    from training.data.prepare import prepare
    from training.fit.distributed import init_distributed
    from training.fit.loop import check_run
    from training.fit.loop import fit as train

    settings = load_config(config, changes)
    with init_distributed(settings.device) as group:
        check_run(settings, out, group, resume=resume)
        # Preparation decodes all images, so only the main process does it.
        cases, validation = group.run_on_main(prepare, settings, data, val)
        weights = train(settings, cases, validation, out, [folder.name for folder in data], group, resume=resume)
        if group.is_main:
            click.echo(f"weights: {weights}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--config", type=FILE, required=True, help="YAML file; see training/configs/.")
@click.option("--data", type=FOLDER, required=True, multiple=True, help="Input root; may be repeated.")
@click.option("--out", type=FILE, required=True, help="Checkpoint to write (.safetensors).")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
def pretrain(config: Path, data: tuple[Path, ...], out: Path, changes: tuple[str, ...]) -> None:
    """Train a model without labels to reconstruct hidden squares of images. KEY=VALUE overrides a setting.

    To train further from the result, use init_from=OUT.
    """
    from training.config import load_config
    from training.fit.distributed import init_distributed
    from training.pretrain.pretrain import pretrain as train

    settings = load_config(config, changes)
    with init_distributed(settings.device) as group:
        click.echo(f"weights: {train(settings, data, out, group)}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--config", type=FILE, required=True, help="YAML file: the default that each variant changes.")
@click.option("--data", type=FOLDER, required=True, multiple=True, help="Labelled input root; may be repeated.")
@click.option("--val", type=FOLDER, multiple=True, help="Labelled input root for scoring.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the runs, each in VARIANT/seed-N.")
@click.option(
    "--variant",
    "variants",
    envvar="AURORA_VARIANT",
    type=click.Choice(list(VARIANTS)),
    multiple=True,
    help="Variant to train; may be repeated. Default: all.",
)
@click.option("--row", "rows", envvar="AURORA_ROW", type=click.Choice(list(VARIANTS)), multiple=True, hidden=True)
@click.option(
    "--seed",
    "seeds",
    envvar="AURORA_SEED",
    type=click.IntRange(0),
    multiple=True,
    default=(0, 1),
    help="May be repeated. [0, 1]",
)
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
def ablate(
    config: Path,
    data: tuple[Path, ...],
    val: tuple[Path, ...],
    out: Path,
    variants: tuple[str, ...],
    rows: tuple[str, ...],
    seeds: tuple[int, ...],
    changes: tuple[str, ...],
) -> None:
    """Train the default and variants that each differ from it in one respect, and print the effect of each change.

    Finished runs are only read; interrupted ones are resumed. KEY=VALUE overrides a setting of the default.
    """
    from training.ablation.study import Study, as_markdown
    from training.config import load_config
    from training.fit.distributed import init_distributed
    from training.fit.initialize import model_config

    settings = load_config(config, changes)
    if rows:
        _report_former_name("--row", "--variant")
    chosen = {*variants, *rows}
    names = [name for name in VARIANTS if not chosen or name == DEFAULT or name in chosen]
    with init_distributed(settings.device) as group:
        model_config(settings)  # detects wrong settings before the data is read
        study = Study(config, changes, data, val, out, group)
        # Seed by seed, so that a study stopped early is complete for the first seeds.
        table = as_markdown([study.score(name, seed) for seed in seeds for name in names])
        if group.is_main:
            click.echo(table)


@main.command(context_settings=ENVIRONMENT)
@click.option("--config", type=FILE, required=True, help="YAML file; see training/configs/.")
@click.option(
    "--source",
    "sources",
    envvar="AURORA_SOURCE",
    type=FOLDER,
    required=True,
    multiple=True,
    help="Folder with two labelled input roots, train and val; repeat it for each scanner or hospital.",
)
@click.option("--out", type=FOLDER, required=True, help="Folder for the runs, each in without-NAME.")
@click.argument("changes", nargs=-1, metavar="[KEY=VALUE]...")
def leave_one_out(config: Path, sources: tuple[Path, ...], out: Path, changes: tuple[str, ...]) -> None:
    """Train without each source in turn, and print how much lower the model scores on it than if trained on it.

    Finished runs are only scored; interrupted ones are resumed. KEY=VALUE overrides a setting.
    """
    from training.ablation.leave_one_out import as_markdown
    from training.ablation.leave_one_out import leave_one_out as run_leave_one_out
    from training.config import load_config
    from training.fit.distributed import init_distributed
    from training.fit.initialize import model_config

    settings = load_config(config, changes)
    with init_distributed(settings.device) as group:
        model_config(settings)  # detects wrong settings before the data is read
        table = as_markdown(run_leave_one_out(settings, sources, out, group))
        if group.is_main:
            click.echo(table)


_add_former_name("unseen", leave_one_out)


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, required=True, help="Checkpoint (.safetensors).")
@click.option("--data", type=FOLDER, required=True, help="Labelled input root.")
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print JSON.")
@click.option("--resamples", type=click.IntRange(1), default=1000, show_default=True, help="Bootstrap resamples.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Images per batch.")
def evaluate(weights: Path, data: Path, as_json: bool, resamples: int, device: str, batch_size: int) -> None:
    """Print the challenge's metrics with 95 % bootstrap intervals, per task and per class, and the composite.

    The numbers are those of 'inference run --engine torch' and 'inference score'.
    """
    from training.evaluation import report

    scores = report.report(weights, data, resamples=resamples, device=device, batch_size=batch_size)
    click.echo(json.dumps(report.as_json(scores)) if as_json else report.as_text(scores))


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, required=True, help="Checkpoint (.safetensors).")
@click.option("--data", type=FOLDER, required=True, multiple=True, help="Labelled input root of the training.")
@click.option("--val", type=FOLDER, required=True, multiple=True, help="Labelled input root to choose and fit on.")
@click.option("--out", type=FILE, required=True, help="Checkpoint to write (.safetensors).")
def tune(weights: Path, data: tuple[Path, ...], val: tuple[Path, ...], out: Path) -> None:
    """Learn views, refinements, derivations, calibration and novelty, and store them in a copy of WEIGHTS."""
    from training.tune.tune import tune as learn

    learn(weights, data, val, out)
    click.echo(f"weights: {out}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, required=True, help="Checkpoint (.safetensors).")
@click.option("--out", type=FILE, required=True, help="File to write: .onnx, or .safetensors for float16.")
@click.option("--precision", type=click.Choice(["fp32", "int8"]), default="fp32", show_default=True)
@click.option("--data", type=FOLDER, multiple=True, help="Labelled input root that int8 is calibrated on.")
def export(weights: Path, out: Path, precision: Literal["fp32", "int8"], data: tuple[Path, ...]) -> None:
    """Write a checkpoint as ONNX for the ONNX Runtime engine, or as a float16 copy at half the size."""
    from training.export import export as convert

    convert(weights, out, precision=precision, data=data)
    click.echo(f"{weights} exported to {out}")


@main.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, required=True, help="Checkpoint (.safetensors).")
@click.option("--to", "repository", envvar="AURORA_TO", required=True, metavar="ORG/NAME", help="Name on the hub.")
@click.option("--license", required=True, help="Licence as the hub names it, such as cc-by-4.0.")
@click.option(
    "--dataset",
    "datasets",
    envvar="AURORA_DATASET",
    multiple=True,
    help="Training data's name on the hub; may be repeated.",
)
@click.option("--report", type=FILE, help="Scores for the model card: what 'evaluate --json' has printed.")
@click.option("--private", is_flag=True, help="Create a private repository.")
@click.option("--out", type=FOLDER, help="Write the repository to this new folder instead of uploading it.")
def push(
    weights: Path,
    repository: str,
    license: str,
    datasets: tuple[str, ...],
    report: Path | None,
    private: bool,
    out: Path | None,
) -> None:
    """Publish a checkpoint on the Hugging Face hub: the weights, their ONNX export, a model card and checksums.

    The token is that of the library: HF_TOKEN, or what 'hf auth login' has stored.
    """
    from training.push.card import Publication
    from training.push.push import prepare, publish
    from training.push.scores import read_scores

    publication = Publication(repository, license, datasets, read_scores(report) if report else None)
    if out:
        prepare(weights, out, publication)
        click.echo(f"repository: {out}")
    else:
        commit = publish(weights, publication, private=private)
        click.echo(f"{repository} is at commit {commit}")
        click.echo(f'aurora.load("hf:{repository}", revision="{commit}")')


main.add_command(import_encoder)
main.add_command(import_stem)


main.add_command(encoder_cost)
main.add_command(bench)
main.add_command(gpu_check)


@main.command(context_settings=ENVIRONMENT)
@click.option("--train", type=FOLDER, required=True, help="Labelled input root.")
@click.option("--data", type=FOLDER, required=True, help="Input root whose rows get predictions.")
@click.option("--out", type=FOLDER, required=True, help="Folder for the predictions.")
def baseline(train: Path, data: Path, out: Path) -> None:
    """Predict from the training labels alone (mean mask, box and points, class frequencies): the floor to beat."""
    from training.baseline import write_baseline

    write_baseline(train, data, out)
    click.echo(f"baseline predictions: {out}")


_add_former_name("trivial", baseline)
