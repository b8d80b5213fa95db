"""Read image and mask files, at their original size or at the model's input size."""

from aurora.images.headers import image_size
from aurora.images.medical import MAX_PIXELS
from aurora.images.reader import Image, read_image, read_mask

__all__ = ["MAX_PIXELS", "Image", "image_size", "read_image", "read_mask"]
