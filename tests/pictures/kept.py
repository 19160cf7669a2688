"""Pictures that are committed: ``docs/pictures/``, each below ``LARGEST``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
LARGEST = 100_000  # bytes
_COLOURS = 64  # text on flat ground: more are not seen


def shot(file: Path, name: str, height: int | None = None) -> Path:
    """A screenshot with few colours, its first ``height`` lines."""
    with Image.open(file) as whole:
        image = whole.convert("RGB").crop((0, 0, whole.width, min(height or whole.height, whole.height)))
    few = image.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    target = _target(f"{name}.png")
    few.save(target, optimize=True)
    return _checked(target)


def drawing(svg: str, name: str) -> Path:
    """An SVG."""
    target = _target(f"{name}.svg")
    target.write_text(svg, encoding="utf-8")
    return _checked(target)


def _target(name: str) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER / name


def _checked(file: Path) -> Path:
    assert file.stat().st_size < LARGEST, f"{file} has {file.stat().st_size:,} bytes"
    return file
