"""Stacks of images as kernels take them: by the address of each image, wherever it lies.

A stack (time, y, x) in one piece and a list of images (y, x) that were allocated one by one, such
as the chunks of a loader, are the same to a kernel; neither is copied. To join the images of a list
first would take as long as a composite does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

from odc_bdc.compositing.kernels import arrays

Stack: TypeAlias = npt.NDArray[Any] | list[npt.NDArray[Any]]
"""Observations (time, y, x), or a list of images (y, x)."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one shape and dtype, each of them in C order.

    Attributes
    ----------
    addresses
        int64 (time,): where each begins.
    shape
        (time, y, x).
    like
        Empty array of their dtype, which tells it to a kernel.
    held
        What the addresses are of. They are good only as long as somebody holds it.
    """

    addresses: npt.NDArray[np.int64]
    shape: tuple[int, ...]
    like: npt.NDArray[Any]
    held: Sequence[npt.NDArray[Any]]

    @property
    def pixels(self) -> int:
        """How many pixels an image has."""
        return self.shape[1] * self.shape[2]

    @property
    def table(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """What kernels take: addresses and dtype, for `pixels_at`."""
        return self.addresses, self.like


def images(stack: npt.ArrayLike, what: str, dtypes: Sequence[str] = arrays.DTYPES) -> Images:
    """Give the images of a stack.

    Parameters
    ----------
    stack
        (time, y, x). Of a list of numpy arrays (y, x) of one dtype, those in C order are used where
        they are.
    what, dtypes
        As of `arrays.flat`.

    Raises
    ------
    InvalidValueError
        If it is of another number of dimensions or another dtype.
    """
    separate = _separate(stack)
    if separate is None:
        whole = arrays.flat(stack, what, dtypes)
        step = whole.strides[0] if whole.size else 0
        addresses = whole.ctypes.data + step * np.arange(len(whole), dtype=np.int64)
        return _images(addresses, np.shape(stack), [whole])
    arrays.flat(separate[0][np.newaxis], what, dtypes)  # checks the dtype
    arrays.check_times(len(separate), what)
    native = separate[0].dtype.newbyteorder("=")
    held = [np.require(image, native, ["C", "A"]) for image in separate]
    addresses = np.array([a.__array_interface__["data"][0] for a in held], np.int64)
    return _images(addresses, (len(held), *held[0].shape), held)


def _separate(stack: Any) -> Sequence[npt.NDArray[Any]] | None:
    """Give a stack if it is a list of images that are alike, else None."""
    if not isinstance(stack, list | tuple) or not stack:
        return None
    if not all(isinstance(image, np.ndarray) and image.ndim == 2 for image in stack):
        return None
    dtype, shape = stack[0].dtype, stack[0].shape
    return stack if all(a.dtype == dtype and a.shape == shape for a in stack) else None


def _images(
    addresses: npt.NDArray[np.int64], shape: tuple[int, ...], held: Sequence[npt.NDArray[Any]]
) -> Images:
    like = np.empty(0, held[0].dtype)
    return Images(arrays.read_only(addresses, np.int64), shape, like, held)


# An intrinsic, since a function without counts of references (`jit.inner`) must not return an array
# that it was not given.
@intrinsic  # type: ignore[untyped-decorator]  # numba publishes no types
def pixels_at(typing: Any, address: Any, like: Any, first: Any, number: Any) -> Any:  # noqa: ARG001
    """Give so many pixels of an image from the first on, as an array, in compiled code.

    The image begins at an address, and has the dtype of `like`. Nothing holds its memory.
    """
    view = types.Array(like.dtype, 1, "C", readonly=True)

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address, _, first, number = given
        array = arrayobj.make_array(signature.return_type)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(array.data.type.pointee))
        begin = builder.add(address, builder.mul(first, size))
        arrayobj.populate_array(
            array,
            data=builder.inttoptr(begin, array.data.type),
            shape=[number],
            strides=[size],
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001  # what numba's own code calls

    return view(types.intp, like, types.intp, types.intp), code
