"""Labels of training data, as `training fit` judges them before it trains."""

import logging
from collections.abc import Callable, Sequence
from io import BytesIO

import cv2
import numpy as np
import PIL.Image
from faults.catalogue.bench import Bench, Ended, fault
from support.files import encoded

from aurora.errors import AuroraError
from training.config import FitConfig
from training.data.prepare import prepare

SECTION = "Labels and training data"
HEADS = {
    "segmentation": "mask_path",
    "classification": "mask",
    "detection": "x_min,y_min,x_max,y_max",
    "Regression": "point_1_xy,point_2_xy",
}
ROWS = 8
HEIGHT, WIDTH = 60, 80
DISC = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (40, 30), 12, 1, -1)
BOX, POINTS = "10,12,40,50", '"[10, 12]","[40, 50]"'


class _Lines(logging.Handler):
    """Keep what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += record.getMessage().splitlines()


def fit(bench: Bench, **settings: object) -> Ended:
    """Do what `fit` does up to its first step."""
    logger, log = logging.getLogger("aurora.training"), _Lines()
    level = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    try:
        prepare(FitConfig(steps=1, **settings), [bench.root], [])
    except AuroraError as error:
        return bench.ended(error.exit_code, "\n".join(log.lines), f"error: {error}\n")
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
    return bench.ended(0, "\n".join(log.lines), "")


def labelled(
    kind: str,
    labels: Sequence[str],
    *,
    task: str = "mine",
    counts: Sequence[int] = (2,),
    patients: Sequence[str] = ("",),
    images: Callable[[int], bytes] | None = None,
    masks: Callable[[int], np.ndarray | bytes] | None = None,
    **settings: object,
) -> Callable[[Bench], Ended]:
    """Let `fit` read rows of one task, each with the label of its turn, or of the image before a colon."""

    def make(bench: Bench) -> Ended:
        lines = [f"task_id,task_name,num_classes,image_path,patient_id,{HEADS[kind]}"]
        for number in range(max(ROWS, len(labels))):
            pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
            path = bench.root / "images" / f"{number}.jpg"
            path.write_bytes(images(number) if images else cv2.imencode(".jpg", pixels)[1].tobytes())
            if masks:
                mask = masks(number)
                data = mask if isinstance(mask, bytes) else cv2.imencode(".png", mask)[1].tobytes()
                path.with_suffix(".png").write_bytes(data)
            image, _, label = labels[number % len(labels)].rpartition(":")
            count, patient = counts[number % len(counts)], patients[min(number, len(patients) - 1)]
            lines.append(f"{task},{kind},{count},../images/{image or number}.jpg,{patient},{label.format(number)}")
        bench.csv("a.csv", "\n".join(lines) + "\n")
        return fit(bench, **settings)

    return make


def masked(make: Callable[[int], np.ndarray | bytes], **others: object) -> Callable[[Bench], Ended]:
    return labelled("segmentation", ["../images/{}.png"], masks=make, **others)  # type: ignore[arg-type]


def palette(number: int) -> bytes:
    image = PIL.Image.fromarray(DISC)
    image.putpalette([0, 0, 0, 200, 30, 0])
    return _encoded(image, "PNG")


def one_bit(number: int) -> bytes:
    return _encoded(PIL.Image.fromarray(DISC > 0), "PNG")


def _encoded(image: PIL.Image.Image, ending: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, ending, **options)
    return file.getvalue()


def turned(number: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    pixels = np.random.default_rng(number).integers(0, 255, (WIDTH, HEIGHT), dtype=np.uint8)
    return _encoded(PIL.Image.fromarray(pixels), "JPEG", exif=exif)


TWO_MASKS = ["../images/{}.png", "0:../images/{}.png", "2:../images/{}.png", *["../images/{}.png"] * 5]
LABELS = {
    "good labels": labelled("detection", [BOX]),
    "boxes in fractions of the sides": labelled("detection", ["0.1,0.2,0.5,0.9"]),
    "some boxes in fractions": labelled("detection", ["0.1,0.2,0.5,0.9", BOX, BOX, BOX]),
    "boxes of x, y, width and height": labelled("detection", ["50,40,20,15"]),
    "boxes of no size for missing ones": labelled("detection", ["0,0,0,0", BOX, BOX, BOX]),
    "a box outside the image": labelled("detection", ["200,200,240,250", *[BOX] * 7]),
    "two boxes of one image": labelled("detection", [BOX, "0:5,5,20,20", *[BOX] * 6]),
    "landmarks in fractions": labelled("Regression", ['"[0.1, 0.2]","[0.5, 0.9]"']),
    "landmarks at (0, 0) for missing ones": labelled("Regression", ['"[0, 0]","[40, 50]"', POINTS]),
    "landmarks at (-1, -1) for missing ones": labelled("Regression", ['"[-1, -1]","[40, 50]"', POINTS]),
    "a landmark that is not a number": labelled("Regression", ['"[NaN, NaN]","[40, 50]"', *[POINTS] * 7]),
    "classes counted from 1": labelled("classification", ["1", "2"]),
    "classes as words": labelled("classification", ["benign", "malignant"]),
    "a class that no row has": labelled("classification", ["0", "1"], counts=[3]),
    "a class of one row": labelled("classification", ["1", *["0"] * 7]),
    "a class of one patient, which can't be divided": labelled(
        "classification", ["1", "1", *["0"] * 6], patients=["p", *"pqrstuv"]
    ),
    "two classes of one image": labelled("classification", ["0", "0:1", "1", "0", "1", "0", "1", "0"]),
    "rows that disagree on num_classes": labelled("classification", ["0", "1"], counts=[2, 2, 2, 3]),
    "an own task under an official name of another type": labelled("classification", ["0", "1"], task="lung"),
    "masks that are all black": masked(lambda number: 0 * DISC),
    "some masks that are black": masked(lambda number: DISC * (number > 1)),
    "a class that no mask has": masked(lambda number: DISC, counts=[3]),
    "masks of 0 and 255": masked(lambda number: 255 * DISC),
    "masks of another size than their images": masked(lambda number: DISC[::2, ::2]),
    "masks in colours": masked(lambda number: np.stack([0 * DISC, 0 * DISC, 255 * DISC], axis=-1)),
    "masks of fractions": masked(lambda number: cv2.imencode(".tif", DISC * np.float32(0.5))[1].tobytes()),
    "masks with a palette": masked(palette),
    "masks of one bit": masked(one_bit),
    "a Git LFS pointer for a mask": masked(
        lambda number: DISC if number else b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    ),
    "no file at a mask_path": labelled(
        "segmentation", ["../images/x.png", *["../images/{}.png"] * 7], masks=lambda number: DISC
    ),
    "a mask_path in another letter case": labelled(
        "segmentation", ["../Images/{}.png", *["../images/{}.png"] * 7], masks=lambda number: DISC
    ),
    "two masks of one image": labelled("segmentation", TWO_MASKS, masks=lambda number: DISC),
    "two masks of one image, with `merge_masks=true`": labelled(
        "segmentation", TWO_MASKS, masks=lambda number: DISC, merge_masks=True
    ),
    "one mask of several images": labelled("segmentation", ["../images/0.png"], masks=lambda number: DISC),
    "images turned by EXIF": labelled("Regression", ['"[3, 4]","[5, 6]"'], images=turned),
    "images cut in their pixels": labelled("detection", ["1,2,30,20"], images=lambda n: encoded("JPEG")[: -25 - n]),
}
for name, make in LABELS.items():
    fault(SECTION, name)(make)
