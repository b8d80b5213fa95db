"""Write masks as NIfTI, MetaImage and NRRD files; `aurora.images.volume` names the formats' definitions."""

import gzip
from struct import pack_into

import numpy as np

from aurora.images.geometry import Geometry

#: What NIfTI calls coordinates in the patient (NIFTI_XFORM_SCANNER_ANAT).
_SCANNER = 1
#: NIfTI's unit mm.
_MM = 2


def nifti(mask: np.ndarray, geometry: Geometry | None) -> bytes:
    """Return a NIfTI file that holds a mask (H, W) uint8; raise `struct.error` if it is wider or higher than 32767."""
    header = bytearray(352)
    height, width = mask.shape
    pack_into("<i", header, 0, 348)
    pack_into("<8h", header, 40, 2, width, height, 1, 1, 1, 1, 1)
    pack_into("<2h", header, 70, 2, 8)  # uint8, 8 bits
    pack_into("<10f", header, 76, *[1.0] * 8, 352, 1.0)  # the spacing, where the values start, and their slope
    header[344:348] = b"n+1\0"
    if geometry:
        _place(header, geometry)
    return bytes(header) + mask.tobytes()


def _place(header: bytearray, geometry: Geometry) -> None:
    """Enter the geometry in both ways that the format has: as a rotation (qform) and as a matrix (sform)."""
    count = len(geometry.origin)
    affine = np.eye(3, 4)
    affine[:count, :count], affine[:count, 3] = geometry.steps, geometry.origin
    affine[:2] *= -1  # NIfTI's axes lead to the right and the front
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    rotation = affine[:, :3] / spacing
    # A rotation can't mirror, so the third axis is then said to run backwards.
    handedness = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= handedness
    pack_into("<h", header, 40, count)
    pack_into("<4f", header, 76, handedness, *spacing)
    header[123] = _MM
    pack_into("<2h", header, 252, _SCANNER, _SCANNER)
    pack_into("<6f", header, 256, *_quaternion(rotation), *affine[:, 3])
    pack_into("<12f", header, 280, *affine.ravel())


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Return b, c and d of the quaternion a, b, c, d with a >= 0 of a rotation (3, 3)."""
    # The eigenvector of the largest eigenvalue of this matrix is the quaternion (Bar-Itzhack, 2000).
    (xx, yx, zx), (xy, yy, zy), (xz, yz, zz) = rotation.T
    matrix = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, xy + yx, xz + zx],
            [xz - zx, xy + yx, yy - xx - zz, zy + yz],
            [yx - xy, xz + zx, zy + yz, zz - xx - yy],
        ]
    )
    quaternion = np.linalg.eigh(matrix)[1][:, -1]
    return quaternion[1:] * (1.0 if quaternion[0] >= 0 else -1.0)


def nifti_gz(mask: np.ndarray, geometry: Geometry | None) -> bytes:
    """Return the content of `nifti`, compressed; equal masks give equal bytes."""
    return gzip.compress(nifti(mask, geometry), 6, mtime=0)


def metaimage(mask: np.ndarray, geometry: Geometry | None) -> bytes:
    """Return a MetaImage file that holds a mask (H, W) uint8."""
    height, width = mask.shape
    count = len(geometry.origin) if geometry else 2
    fields = f"ObjectType = Image\nNDims = {count}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    if geometry:
        # The matrix lists one axis after the other.
        fields += f"TransformMatrix = {_numbers(geometry.directions.T)}\nOffset = {_numbers(geometry.origin)}\n"
        fields += f"ElementSpacing = {_numbers(geometry.spacing)}\n"
    fields += f"CompressedData = False\nDimSize = {_sizes(width, height, count)}\n"
    fields += "ElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    return fields.encode() + mask.tobytes()


def nrrd(mask: np.ndarray, geometry: Geometry | None) -> bytes:
    """Return an NRRD file that holds a mask (H, W) uint8."""
    height, width = mask.shape
    count = len(geometry.origin) if geometry else 2
    fields = f"NRRD0004\ntype: uint8\ndimension: {count}\n"
    if geometry:
        fields += "space: left-posterior-superior\n" if count == 3 else "space dimension: 2\n"
    fields += f"sizes: {_sizes(width, height, count)}\n"
    if geometry:
        fields += f"space directions: {' '.join(map(_vector, geometry.steps.T))}\n"
    fields += "encoding: gzip\n"
    if geometry:
        fields += f"space origin: {_vector(geometry.origin)}\n"
    return f"{fields}\n".encode() + gzip.compress(mask.tobytes(), 6, mtime=0)


def _sizes(width: int, height: int, count: int) -> str:
    """Return the number of values along each axis; a slice has one along the third."""
    return f"{width} {height}" + " 1" * (count - 2)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values.ravel().tolist())


def _vector(values: np.ndarray) -> str:
    return f"({_numbers(values).replace(' ', ',')})"
