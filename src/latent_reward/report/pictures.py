"""What environments return as pictures, as pictures that a video is made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from latent_reward.errors import ANY_FAILURE, LareError

Picture = UInt8[np.ndarray, "_ _ 3"]  # [height, width, 3]

_SLACK = 1e-3  # by which values may leave their range, as they do after interpolation
_LARGEST = 8192  # pixels on a side, all that common players show
_REMEDY = "let render return an array [height, width, 3] of uint8"


def as_pictures(drawn: Sequence[Any]) -> list[Picture]:
    """Pictures in RGB, all of one size, both sides of which are even, as encoders need them.

    Grey pictures, with one channel or without an axis of channels, become RGB. RGBA is put over white. Floats are from
    0 to 1 if no picture of them all has more, else from 0 to 255; booleans are black and white. A picture of another
    size than the first is scaled to fit into it, with black borders. Odd sides are extended by a copy of the last row
    or column.

    Args:
        drawn: what ``render`` returned, one for each picture.

    Raises:
        LareError: naming the first that is no picture, and why.
    """
    if not len(drawn):
        raise LareError("video: the environment returned no pictures; let render return one for each step")
    arrays = [_checked(each, number) for number, each in enumerate(drawn)]
    largest = max((float(each.max()) for each in arrays if each.dtype.kind == "f"), default=0.0)
    scale = 255.0 if largest <= 1 + _SLACK else 1.0
    pictures = [_rgb(_bytes(each, scale)) for each in arrays]
    height, width = pictures[0].shape[:2]
    return [_even(_fitted(each, height, width)) for each in pictures]


def _checked(drawn: Any, number: int) -> Shaped[np.ndarray, "height width channel"]:
    """One picture with an axis of channels, as it is."""
    where = f"video: picture {number} of the environment"
    if drawn is None:
        raise LareError(f"{where} is None, so its render returned no picture; {_REMEDY}")
    try:
        array = np.asarray(drawn)
    except ANY_FAILURE as error:  # a stranger's object may fail in any way
        raise LareError(f"{where} is a {type(drawn).__name__}, which is no array; {_REMEDY}") from error
    if array.dtype.kind not in "biuf":
        raise LareError(f"{where} is a {type(drawn).__name__} without numbers; {_REMEDY}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise LareError(f"{where} is an array of shape {np.shape(drawn)}; {_REMEDY}")
    if not array.size:
        raise LareError(f"{where} is empty, an array of shape {np.shape(drawn)}; {_REMEDY}")
    if max(array.shape) > _LARGEST:
        raise LareError(
            f"{where} has {array.shape[1]} × {array.shape[0]} pixels; draw at most {_LARGEST} on a side"
        )
    if not np.isfinite(array).all():
        raise LareError(f"{where} has values that are not finite; {_REMEDY}")
    low, high = array.min(), array.max()
    if low < -_SLACK or high > 255 + _SLACK:
        raise LareError(f"{where} has values from {low:g} to {high:g}, and 0 to 255 are possible; {_REMEDY}")
    return array


def _bytes(array: Shaped[np.ndarray, "*size"], scale: float) -> UInt8[np.ndarray, "*size"]:
    """Values from 0 to 255; those of floats are multiplied by ``scale``."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        return np.clip(np.rint(array.astype(np.float32) * scale), 0, 255).astype(np.uint8)
    return array.astype(np.uint8)


def _rgb(picture: UInt8[np.ndarray, "height width channel"]) -> Picture:
    channels = picture.shape[2]
    if channels == 1:
        return np.repeat(picture, 3, axis=2)
    if channels == 3:
        return picture
    alpha: Float[np.ndarray, "height width 1"] = picture[:, :, 3:] / 255
    return np.rint(picture[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _fitted(picture: Picture, height: int, width: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.pad(Image.fromarray(picture), (width, height), color="black"))


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
