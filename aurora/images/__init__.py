"""Read image and mask files, at their original size or at the model's input size."""

from aurora.images.headers import image_size
from aurora.images.masks import ImageSlice, encode_mask, mask_name_problem, read_mask, states_place
from aurora.images.reader import Image, read_image
from aurora.images.volume import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "Image",
    "ImageSlice",
    "encode_mask",
    "image_size",
    "mask_name_problem",
    "read_image",
    "read_mask",
    "states_place",
]
