"""An input folder that tries to make a run read, write, load or start what it shouldn't."""

import csv
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk

HEAD = ("task_id", "task_name", "num_classes", "image_path", "mask_path")
META = b"ObjectType = Image\nNDims = 2\nBinaryData = True\nDimSize = 4 4\nElementType = MET_UCHAR\n"


class Bomb:
    """Unpickling it makes the file adversary.pwned in the working folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch adversary.pwned",)


def make(folder: Path) -> tuple[Path, list[str]]:
    """Make `folder`/in and its lures `folder`/outside; returns the input root and the image names of its rows."""
    root, outside = folder / "in", folder / "outside"
    for place in (root / "csv_files", root / "images", outside):
        place.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    for place in (root / "images" / "good.png", outside / "secret.png"):
        cv2.imwrite(str(place), pixels)
    (outside / "secret.raw").write_bytes(bytes(range(16)))
    _volumes(root / "images", outside)
    _others(root / "images", outside)
    names = sorted(place.name for place in (root / "images").iterdir())
    _tables(root, outside, names)
    return root, names


def _volumes(images: Path, outside: Path) -> None:
    """Formats whose header may name another file for the pixels, and pairs of a header and a link out."""
    raw = os.fsencode(outside / "secret.raw")
    for name, field in {
        "names.mha": b"ElementDataFile = " + raw,
        "climbs.mha": b"ElementDataFile = ../../outside/secret.raw",
        "colon.mha": b"ElementDataFile : " + raw + b"\nElementDataFile = LOCAL",
        "case.mha": b"ElementDataFile = LoCaL",
        "line.mha": b"ElementDataFile = \nLOCAL",
        "list.mha": b"ElementDataFile = LIST\n" + raw,
        "names.mhd": b"ElementDataFile = " + raw,
        "passwd.mhd": b"ElementDataFile = /etc/passwd",
    }.items():
        (images / name).write_bytes(META + field + b"\n" + bytes(16))
    (images / "LoCaL").symlink_to(outside / "secret.raw")
    nrrd = b"NRRD0004\ntype: unsigned char\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: " + raw + b"\n\n"
    (images / "names.nhdr").write_bytes(nrrd)
    (images / "names.nii").write_bytes(nrrd)
    image = sitk.GetImageFromArray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    for name in ("good.mha", "good.nii", "good.nii.gz", "good.dcm", "pair.hdr"):
        sitk.WriteImage(image if name != "good.dcm" else sitk.JoinSeries(image), str(images / name))
    (images / "pair.img").unlink()
    header = (images / "pair.hdr").read_bytes()
    for name in ("pair.nii", "pair.nii.gz"):
        (images / name).write_bytes(header)
    for name in ("pair.img", "pair.img.gz"):
        (images / name).symlink_to(outside / "secret.raw")


def _others(images: Path, outside: Path) -> None:
    """Links out of the input root, a FIFO, pickles, and text that some readers would follow."""
    (images / "link.png").symlink_to(outside / "secret.png")
    (images / "link.nii").symlink_to(outside / "secret.raw")
    (images / "folder").symlink_to(outside)
    os.mkfifo(images / "fifo.png")
    for name in ("pickle.npy", "pickle.png", "pickle.pt"):
        (images / name).write_bytes(pickle.dumps(Bomb()))
    np.save(images / "object.npy", np.array([Bomb()]), allow_pickle=True)
    (images / "svg.png").write_text(
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file://{outside}/secret.raw">]>'
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{outside}/secret.png"/>&e;</svg>'
    )
    (images / "adversary.py").write_text("adversary = 1\n")
    shutil.copy(images / "adversary.py", images / "sitecustomize.py")


def _tables(root: Path, outside: Path, names: list[str]) -> None:
    """A row for each image and for each path that leads out, and a CSV file that is a link out."""
    paths = [f"../images/{name}" for name in names]
    paths += ["../../etc/passwd", "/etc/passwd", "../../outside/secret.png", str(outside / "secret.png")]
    paths += ["../images/folder/secret.png", "../images/good.png\0", "file:///etc/passwd", "http://127.0.0.1:9/x.png"]
    paths += ["|touch adversary.pwned", "__import__('os').system('touch adversary.pwned')", "/dev/stdin", "%05d.png"]
    masks = ["../masks/good.png", str(outside / "m.png"), "../../m.png", "../../../m.png", "....//m.png", "C:\\m.png"]
    masks += ["..\\..\\m.png", "../a\0/m.png", "../C:/m.png", "..", "../", "/", "~/m.png", "../masks/../../m.png"]
    kinds = [("breast_3cls", "classification", 3), ("IUGC", "Regression", 3), ("thyroid_nodule_det", "detection", 1)]
    with (root / "csv_files" / "a.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEAD)
        rows.writerows((*kinds[at % 3], path, "") for at, path in enumerate(paths))
        rows.writerows(("lung", "segmentation", 2, "../images/good.png", mask) for mask in masks)
        rows.writerow(("__import__('os')", "segmentation", 2, "../images/good.png", "../masks/adversary.png"))
    (outside / "secret.csv").write_text(",".join(HEAD) + "\nIUGC,Regression,3,../images/good.png,\n")
    (root / "csv_files" / "link.csv").symlink_to(outside / "secret.csv")
