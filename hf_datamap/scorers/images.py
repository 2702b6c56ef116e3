"""Images as content parts of a request: inline, of bounded size, never fetched unless that is asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

from hf_datamap.data.example import Image, Message
from hf_datamap.errors import RowError, Unanswered

_MOST_BYTES: Final = 5 << 20  # of one image as it is sent; what OpenAI, Anthropic and vLLM take by default is more
_MOST_IMAGES: Final = 16  # in one request
_LARGEST_SIDE: Final = 1568  # pixels of an image that had to be scaled down
TOKENS: Final = 1_000  # that an image takes, roughly

_KINDS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def images_of(prompt: Sequence[Message]) -> tuple[Image, ...]:
    """The images of a conversation, in order."""
    return tuple(image for message in prompt for image in message.get("images", ()))


def image_parts(images: Sequence[Image], *, urls: bool) -> list[dict[str, Any]]:
    """Return content parts in OpenAI's shape: before each image its number.

    Args:
        images: the images of a conversation.
        urls: whether the URL of an image that is not in the data may be passed on, for the endpoint to fetch.

    Raises:
        Unanswered: there are too many, or one cannot be read or sent.
    """
    if len(images) > _MOST_IMAGES:
        raise Unanswered(f"{len(images)} images in one prompt; at most {_MOST_IMAGES} are sent")
    parts: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        url = str(image.path) if image.is_url and urls else _inline(image)
        parts += [{"type": "text", "text": f"[image {number}]"}, {"type": "image_url", "image_url": {"url": url}}]
    return parts


def _inline(image: Image) -> str:
    if image.is_url:
        raise Unanswered("the image is a URL, which is not fetched; image_urls=True passes it on to the endpoint")
    try:
        data = image.read()
    except RowError as error:
        raise Unanswered(str(error)) from None
    kind = _kind(data)
    if kind is None or len(data) > _MOST_BYTES:
        data, kind = _smaller(data), "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _kind(data: bytes) -> str | None:
    """The type of a file by its first bytes; None for one that endpoints do not know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in _KINDS if data.startswith(begin)), None)


def _smaller(data: bytes) -> bytes:
    """An image of any kind that Pillow reads, as a JPEG of bounded size.

    Raises:
        Unanswered: Pillow is not installed, or cannot read it; a decompression bomb is among these.
    """
    try:
        from PIL import Image as Pillow
    except ImportError:
        raise Unanswered(
            "an image is too large or of a kind that endpoints do not take; pillow could convert it"
        ) from None
    try:
        with Pillow.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > Pillow.MAX_IMAGE_PIXELS:  # type: ignore[operator] # set by default
                raise Unanswered(f"an image has {picture.width:,} x {picture.height:,} pixels; too many to be read")
            picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
            out = io.BytesIO()
            picture.convert("RGB").save(out, "JPEG", quality=90)
    except Unanswered:
        raise
    except Exception as error:  # whatever a hostile file makes a decoder raise
        raise Unanswered(f"an image cannot be read: {type(error).__name__}") from None
    return out.getvalue()
