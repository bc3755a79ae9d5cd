"""Videos, by the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from odc_bdc.errors import InvalidValueError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image


def write_video(
    frames: Iterator[Image.Image], path: Path, *, size: tuple[int, int], delay: float
) -> None:
    """Write frames as H.264 in MP4, whole or not at all.

    Parameters
    ----------
    frames
        Images of one size, without gaps.
    size
        Width and height, even numbers.
    delay
        Seconds that a frame is shown.

    Raises
    ------
    MissingDependencyError
        If there is no ffmpeg.
    InvalidValueError
        If ffmpeg fails.
    OSError
        If the file cannot be written.
    """
    program = _ffmpeg()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft, told = Path(folder) / "draft.mp4", Path(folder) / "errors"
        with told.open("wb") as errors:
            failed = _encode(frames, [program, *_options(size, delay), str(draft)], errors)
        if failed:
            reason = " ".join(told.read_text("utf-8", "replace").split())[-300:]
            raise InvalidValueError(f"{path}: ffmpeg failed: {reason or 'without a reason'}")
        draft.replace(path)


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg  # noqa: PLC0415 (an extra)

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as e:
        raise MissingDependencyError(
            "a video needs ffmpeg, which comes with pip install 'odc_bdc[notebook]' on most "
            "machines: install it, or its program and name that in IMAGEIO_FFMPEG_EXE; .gif and "
            ".webp need none"
        ) from e


def _options(size: tuple[int, int], delay: float) -> list[str]:
    width, height = size
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    return [
        *(
            "-loglevel",
            "error",
            "-nostdin",
            *given,
            "-framerate",
            f"{1 / delay:.9g}",
            "-i",
            "pipe:0",
        ),
        # What browsers can show, with the head in front.
        *("-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
    ]


def _encode(frames: Iterator[Image.Image], command: list[str], errors: IO[bytes]) -> bool:
    """Give frames to ffmpeg; tell whether it failed."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
    ) as process:
        stream = process.stdin
        if stream is None:
            raise InvalidValueError("ffmpeg takes no frames")
        try:
            for frame in frames:
                stream.write(frame.convert("RGB").tobytes())
            stream.close()
        except BrokenPipeError:
            return True
        except BaseException:
            process.kill()
            raise
    return process.returncode != 0
