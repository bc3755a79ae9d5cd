"""Videos, by the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

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
    try:
        import imageio_ffmpeg  # noqa: PLC0415 (an extra)

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as e:
        raise MissingDependencyError(
            "a video needs ffmpeg, which comes with pip install 'odc_bdc[notebook]' on most "
            "machines: install it, or its program and name that in IMAGEIO_FFMPEG_EXE; .gif and "
            ".webp need none"
        ) from e
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder) / "draft.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(draft),
            size,
            fps=1 / delay,
            codec="libx264",
            pix_fmt_in="rgb24",
            # What browsers can show.
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-crf", "18", "-movflags", "+faststart"],
            quality=None,
        )
        try:
            writer.send(None)
            for frame in frames:
                writer.send(frame.convert("RGB").tobytes())
        except OSError as e:
            raise InvalidValueError(f"{path}: ffmpeg failed: {str(e).strip()[-300:]}") from e
        finally:
            writer.close()
        draft.replace(path)
