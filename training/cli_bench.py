"""The commands of `python -m training` that measure speed; each imports its dependencies only when it is called."""

import json
from pathlib import Path

import click

from aurora.errors import UsageError
from aurora.model.config import PRESETS
from aurora.runtime.cli import ENGINE, ENVIRONMENT, FILE, FOLDER


@click.command(context_settings=ENVIRONMENT)
@click.option("--device", help="cpu, cuda or cuda:N: measure on it instead of counting.")
@click.option(
    "--preset",
    "presets",
    envvar="AURORA_PRESET",
    type=click.Choice(list(PRESETS)),
    multiple=True,
    help="Preset to measure; may be repeated. Default: all but micro.",
)
@click.option("--size", type=click.IntRange(32), default=448, show_default=True, help="Side of the images measured.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Images per batch measured.")
def encoder_cost(device: str | None, presets: tuple[str, ...], size: int, batch_size: int) -> None:
    """Print the encoders' counted parameters, FLOP and memory or, with --device, their measured speed and memory."""
    from training.bench.encoder_cost import cost_table, speed_table

    click.echo(speed_table(device, presets, size, batch_size) if device else cost_table())


@click.command(context_settings=ENVIRONMENT)
@click.option("--weights", type=FILE, help="Checkpoint (.safetensors or .onnx). Default: the shipped one.")
@click.option("--engine", "engines", envvar="AURORA_ENGINE", type=ENGINE, multiple=True)
@click.option("--device", default="cpu", metavar="cpu|cuda[:N]", show_default=True, help="Where to compute.")
@click.option("--data", type=FOLDER, help="Input root whose images can all be read. Default: phantoms.")
@click.option(
    "--rows",
    "sizes",
    envvar="AURORA_ROWS",
    type=click.IntRange(1),
    multiple=True,
    help="Number of rows to make from the data's images.",
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--against",
    metavar="COMMAND",
    help="Shell command of another program, with {input} and {output} for its folders, to compare with.",
)
@click.option("--json", "as_json", envvar="AURORA_JSON", is_flag=True, help="Print every measurement as JSON.")
def bench(
    weights: Path | None,
    engines: tuple[str, ...],
    device: str,
    data: Path | None,
    sizes: tuple[int, ...],
    repeats: int,
    against: str | None,
    as_json: bool,
) -> None:
    """Measure the speed of 'inference run' and of the model alone, which is the upper limit.

    --engine and --rows may be repeated. Default: both engines, and 1,000 rows or, with --data, all of its rows.

    With --against, measure 'inference run' and another program in turn instead; --engine and --rows may be given once,
    and the default engine is that of 'inference run'.
    """
    from aurora.engine.select import default_weights
    from training.bench import bench as command
    from training.bench.runs import Subject

    def progress(line: str) -> None:
        click.echo(line, err=True)

    if against is not None:
        from training.bench import versus

        if len(engines) > 1 or len(sizes) > 1:
            raise UsageError("expected --engine and --rows at most once with --against, found more; leave out the rest")
        subject = Subject(engines[0] if engines else None, device, weights or default_weights())
        size = sizes[0] if sizes else None if data else 1000
        comparison = versus.compare(subject, against, data, size, repeats, progress)
        click.echo(json.dumps(versus.as_json(comparison)) if as_json else versus.as_text(comparison))
        return
    subjects = [Subject(engine, device, weights or default_weights()) for engine in engines or ("onnx", "torch")]
    rows = sizes if sizes or data else (1000,)
    results = command.bench(subjects, data, rows, repeats, progress)
    click.echo(json.dumps(command.as_json(results)) if as_json else command.as_text(results))


@click.command(context_settings=ENVIRONMENT)
@click.option("--out", type=FILE, required=True, help="JSON file to write; the table is written beside it, as .md.")
@click.option("--device", default="cuda", metavar="cpu|cuda[:N]", show_default=True, help="cpu rehearses the check.")
@click.option("--limit-s", type=click.FloatRange(1), default=480, show_default=True, help="Longest time in seconds.")
def gpu_check(out: Path, device: str, limit_s: float) -> None:
    """Check on a GPU what needs one: agreement of the engines, training, speed and memory.

    Every part has a time limit, and fails or is skipped without ending the check.
    """
    from aurora.runtime.hardware import parse_device
    from training.bench.gpu import check as command

    if parse_device(device)[0] == "auto":
        raise UsageError("expected the device cpu, cuda or cuda:N, found 'auto'; name one")
    check = command.gpu_check(device, limit_s, lambda line: click.echo(line, err=True))
    click.echo(command.write(check, out))
    command.require_success(check)
