"""Paths of masks."""

from collections.abc import Callable

from faults.catalogue.bench import Bench, Ended, fault

SECTION = "Mask paths"

PATHS = {
    "an absolute mask_path": "/outside/m.png",
    "a mask_path with a second ../": "../../outside/m.png",
    "a mask_path that climbs out later": "../masks/../../m.png",
    "a mask_path of four dots": "....//....//m.png",
    "a mask_path with backslashes": "..\\m.png",
    "a mask_path with a drive letter": "C:/m.png",
    "a mask_path with a NUL byte": "../masks/m\0.png",
    "a blank mask_path": "",
    "a mask_path that names a folder": "../masks/",
    "a mask_path with a name of 300 letters": f"../masks/{'x' * 300}.png",
    "a mask_path in the place of another prediction": "../regression_predictions.json",
    "a mask_path that leads through another mask": "../masks/0.png/m.png",
    "a mask_path without ../": "masks/b.png",
    "a mask_path that ends in .jpg": "../masks/b.jpg",
    "a mask_path that ends in .nii.gz": "../masks/b.nii.gz",
    "a mask_path with blanks and other scripts": "../masks/ü 超音波/b.png",
}


def at(path: str) -> Callable[[Bench], Ended]:
    def make(bench: Bench) -> Ended:
        before = {place for place in bench.folder.rglob("*") if bench.out not in place.parents}
        bench.rows(f"lung,segmentation,2,../images/1.png,{path}")
        ended = bench.run()
        new = {place for place in bench.folder.rglob("*") if bench.out not in place.parents} - before
        assert new == {bench.out, bench.root / "csv_files" / "b.csv"}
        return ended

    return make


for name, path in PATHS.items():
    fault(SECTION, name)(at(path))


@fault(SECTION, "two rows that ask for the same mask of the same image")
def same(bench: Bench) -> Ended:
    bench.rows("thyroid_nodule,segmentation,2,../images/0.png,../masks/0.png")
    return bench.run()


@fault(SECTION, "two rows that ask for the same mask of different images")
def conflicting(bench: Bench) -> Ended:
    bench.rows("lung,segmentation,2,../images/1.png,../masks/0.png")
    return bench.run()


@fault(SECTION, "a link in the output folder that leads out of it")
def link(bench: Bench) -> Ended:
    bench.out.mkdir()
    (bench.folder / "outside").mkdir()
    (bench.out / "linked").symlink_to(bench.folder / "outside")
    bench.rows("lung,segmentation,2,../images/1.png,../linked/m.png")
    ended = bench.run()
    assert list((bench.folder / "outside").iterdir()) == []
    (bench.out / "linked").unlink()
    return ended
