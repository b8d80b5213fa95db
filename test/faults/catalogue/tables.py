"""Unusual and malformed CSV files and rows."""

import gzip
import os
from collections.abc import Callable
from io import BytesIO
from zipfile import ZipFile

from faults.catalogue.bench import GOOD, HEAD, Bench, Ended, fault

SECTION = "Rows and CSV files"
ROW = "lung,segmentation,2,../images/é 0.png,../masks/b.png\n"


def table(content: str | bytes) -> Callable[[Bench], Ended]:
    """Add another CSV file to the good one."""

    def make(bench: Bench) -> Ended:
        (bench.root / "images" / "é 0.png").hardlink_to(bench.root / "images" / "0.png")
        bench.csv("b.csv", content)
        return bench.run()

    return make


def rows(*added: str) -> Callable[[Bench], Ended]:
    return table(HEAD + "".join(f"{row}\n" for row in added))


def alone(content: str | None) -> Callable[[Bench], Ended]:
    """Replace the good CSV file by this one, or by none."""

    def make(bench: Bench) -> Ended:
        (bench.root / "csv_files" / "a.csv").unlink()
        if content is not None:
            bench.csv("a.csv", content)
        return bench.run()

    return make


def alone_beside(name: str) -> Callable[[Bench], Ended]:
    """Replace the good CSV file by a file of another name."""

    def make(bench: Bench) -> Ended:
        folder = bench.root / "csv_files"
        (folder / "a.csv").rename(folder / name)
        return bench.run()

    return make


def zipped(name: str) -> bytes:
    """Return a ZIP archive that holds one file."""
    archive = BytesIO()
    with ZipFile(archive, "w") as files:
        files.writestr(name, HEAD)
    return archive.getvalue()


TABLES = {
    "a byte order mark": table((HEAD + ROW).encode("utf-8-sig")),
    "UTF-16": table((HEAD + ROW).encode("utf-16")),
    "Windows' western encoding": table((HEAD + ROW).encode("cp1252")),
    "UTF-16 without a byte order mark": table((HEAD + ROW).encode("utf-16-le")),
    "UTF-32": table((HEAD + ROW).encode("utf-32")),
    "UTF-32 without a byte order mark": table((HEAD + ROW).encode("utf-32-be")),
    "CSV files that were joined, with a byte order mark in the middle": rows("\ufeff" + ROW.strip()),
    "an invisible character in a cell": rows("breast_2cls\u200b,classification,2,../images/0.png,"),
    "bytes of no common encoding": table(HEAD.encode() + b"lung,segmentation,2,../images/0.png,../masks/\x81.png\n"),
    "semicolons": table((HEAD + ROW).replace(",", ";")),
    "a first line `sep=;`, as Excel reads it": table("sep=;\n" + (HEAD + ROW).replace(",", ";")),
    "tabs": table((HEAD + ROW).replace(",", "\t")),
    "Windows' line ends": table((HEAD + ROW).replace("\n", "\r\n")),
    "old Macintosh line ends": table((HEAD + ROW).replace("\n", "\r")),
    "quoted names with commas and quotes": rows('"a, ""b""",classification,4,../images/0.png,'),
    "a cell of several lines": table(
        'task_id,report,task_name,num_classes,image_path\nd,"Findings: ""mass""\n\nImpression, benign",detection,1,'
        "../images/0.png\n"
    ),
    "a column whose name has several lines": table(
        '"report\n(English)",task_id,task_name,num_classes,image_path\nbenign,d,detection,1,../images/0.png\n'
    ),
    "rows of commas alone": rows(",,,,", "breast_2cls,classification,2,../images/0.png,", '"","",,,', " , ,,,"),
    "blank rows before the header": table(f",,,,\n;;;;\n\n{HEAD}{ROW};;\n"),
    "columns in another order": table(
        "image_path,task_name,extra,task_id,num_classes\n../images/0.png,detection,,d,1\n"
    ),
    "a NUL byte in a row": rows("lung\0,segmentation,2,../images/0.png,../masks/b.png"),
    "a row with too few cells": rows("breast_2cls,classification,2,../images/0.png"),
    "a row with too many cells": rows("lung,segmentation,2,../images/0.png,../masks/b.png,1,2"),
    "a quote that is never closed": rows(
        'breast_2cls,classification,2,"../images/0.png,', "IUGC,Regression,3,../images/0.png,"
    ),
    "a header and no rows": table(HEAD),
    "an empty CSV file": table(""),
    "a CSV file that isn't CSV": table(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "an Excel workbook named .csv": table(zipped("[Content_Types].xml")),
    "an old Excel workbook named .csv": table(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)),
    "a ZIP archive named .csv": table(zipped("a.csv")),
    "a PDF document named .csv": table(b"%PDF-1.7\n"),
    "a web page named .csv": table("\n<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"),
    "a CSV file of zero bytes": table(bytes(3000)),
    "a CSV file compressed by gzip": table(gzip.compress((HEAD + ROW).encode())),
    "a pointer of Git LFS for a CSV file": table("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "a CSV file without a needed column": table("task_id,task_name\nlung,segmentation\n"),
    "a row that is given twice": rows("breast_3cls,classification,3,../images/1.png,"),
    "a task that the weights don't know": rows("new_cls,classification,4,../images/0.png,"),
    "an unknown detection task": rows("new_det,detection,1,../images/0.png,"),
    "an unknown landmark task": rows("new_reg,Regression,4,../images/0.png,"),
    "an unknown segmentation task": rows("new_seg,segmentation,3,../images/0.png,../masks/b.png"),
    "a task that the weights know as another type": rows("lung,classification,2,../images/0.png,"),
    "an unknown task of unknown type": rows("mystery,guess,2,../images/0.png,"),
    "a misspelt task_name of a known task": rows("breast_2cls,clasification,2,../images/0.png,"),
    "a blank task_name of a known task": rows("breast_2cls,,2,../images/0.png,"),
    "a blank task_id": rows(",classification,2,../images/0.png,"),
    "more classes than the weights have": rows("breast_2cls,classification,4,../images/0.png,"),
    "fewer classes than the weights have": rows("organ_cls,classification,2,../images/0.png,"),
    "more landmarks than the weights have": rows("FUGC,Regression,5,../images/0.png,"),
    "fewer classes in a mask than the weights have": rows(
        "cardiac_multi,segmentation,2,../images/0.png,../masks/b.png"
    ),
    "num_classes written 2.0": rows("breast_2cls,classification,2.0,../images/0.png,"),
    "num_classes blank": rows("breast_2cls,classification,,../images/0.png,"),
    "num_classes nan": rows("breast_2cls,classification,nan,../images/0.png,"),
    "num_classes 2.5": rows("breast_2cls,classification,2.5,../images/0.png,"),
    "num_classes in words": rows("breast_2cls,classification,two,../images/0.png,"),
    "num_classes 0": rows("breast_2cls,classification,0,../images/0.png,"),
    "num_classes of a thousand million": rows("breast_2cls,classification,1e9,../images/0.png,"),
    "only one task in the whole folder": alone(HEAD + "IUGC,Regression,3,../images/0.png,\n"),
    "no CSV file at all": alone(None),
    "a workbook beside no CSV file": alone_beside("a.xlsx"),
    "nothing but a header": alone(HEAD),
    "no column task_name": alone("task_id,task,image_path\nlung,segmentation,../images/0.png\n"),
    "nothing but unknown types": alone(HEAD + "mystery,guess,2,../images/0.png,\n"),
}
for name, make in TABLES.items():
    fault(SECTION, name)(make)


@fault(SECTION, "files that other programs keep beside a CSV file, under `--strict`")
def beside(bench: Bench) -> Ended:
    for name in ("._a.csv", "~$a.csv", ".~lock.a.csv#"):
        bench.csv(name, b"\x00\x05\x16\x07")
    return bench.run("--strict")


@fault(SECTION, "a CSV file whose ending is in capitals")
def capitals(bench: Bench) -> Ended:
    bench.csv("B.CSV", HEAD + ROW.replace("é ", ""))
    return bench.run()


@fault(SECTION, "a folder named like a CSV file")
def folder(bench: Bench) -> Ended:
    (bench.root / "csv_files" / "b.csv").mkdir()
    return bench.run()


@fault(SECTION, "a FIFO named like a CSV file")
def fifo(bench: Bench) -> Ended:
    os.mkfifo(bench.root / "csv_files" / "b.csv")
    return bench.run()


@fault(SECTION, "a CSV file that is a link out of the input folder")
def link(bench: Bench) -> Ended:
    (bench.folder / "outside.csv").write_text(HEAD + GOOD)
    (bench.root / "csv_files" / "b.csv").symlink_to(bench.folder / "outside.csv")
    return bench.run()


@fault(SECTION, "no folder csv_files")
def no_folder(bench: Bench) -> Ended:
    (bench.root / "csv_files" / "a.csv").unlink()
    (bench.root / "csv_files").rmdir()
    return bench.run()


@fault(SECTION, "an input folder that is not there")
def no_input(bench: Bench) -> Ended:
    return bench.run(input=bench.folder / "absent")


@fault(SECTION, "an input folder that the user may not read")
def forbidden(bench: Bench) -> Ended:
    bench.root.chmod(0o700)
    bench.out.mkdir()
    bench.out.chmod(0o777)
    return bench.as_nobody()


@fault(SECTION, "a CSV file that the user may not read")
def forbidden_file(bench: Bench) -> Ended:
    bench.csv("b.csv", HEAD + ROW)
    (bench.root / "csv_files" / "b.csv").chmod(0)
    bench.out.mkdir()
    bench.out.chmod(0o777)
    return bench.as_nobody()


@fault(SECTION, "a CSV file that is changed during the run")
def changed(bench: Bench) -> Ended:
    import inference.run
    from aurora.engine.select import open_engine

    def slow_engine(*place: object) -> object:
        bench.csv("a.csv", HEAD + GOOD.replace("0.png", "9.png"))
        return open_engine(*place)  # type: ignore[arg-type]

    bench.patch.setattr(inference.run, "open_engine", slow_engine)
    return bench.run()
