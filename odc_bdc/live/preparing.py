"""What a process does ahead, so that the first who reads a live image need not wait for it."""

from __future__ import annotations

from odc_bdc.compositing.kernels import warm
from odc_bdc.live.opening import open_image

__all__ = ["open_image", "prepare"]


def prepare() -> None:
    """Load what reading takes: this module has imported it, and kernels get their machine code.

    A second if kernels were compiled before, a minute if not. For the usual types of pixels.
    """
    warm(("int16",), ("uint8",))
