"""Draws diagrams with axes, lines, bars and a legend, by Pillow.

They are drawn at twice the size and scaled down, so that lines and letters are smooth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 30, 56, 70
_SCALE = 2
_INK, _GUIDE, _GRID, _PAPER = "#222222", "#9a9a9a", "#e4e4e4", "#ffffff"
COLOURS = ("#1f5fa8", "#c8401e", "#2e8540", "#8a4fa3", "#7a6a00")


@dataclass(frozen=True, slots=True)
class Axis:
    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Values and their labels."""
    log: bool = False

    def place(self, value: float) -> float:
        """Position of a value on the axis, 0 to 1; values outside are clipped."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(min(max(value, self.low), self.high)) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def linear_axis(label: str, low: float, high: float, step: float) -> Axis:
    count = round((high - low) / step)
    values = [low + step * number for number in range(count + 1)]
    return Axis(label, low, high, tuple((value, f"{value:.10g}") for value in values))


def log_axis(label: str, lowest_power: int, highest_power: int) -> Axis:
    """A logarithmic axis with ticks at powers of ten: 1e-5, 0.0001 …"""
    powers = range(lowest_power, highest_power + 1)
    ticks = tuple((10.0**power, f"1e{power}" if power < -4 else f"{10.0**power:g}") for power in powers)
    return Axis(label, 10.0**lowest_power, 10.0**highest_power, ticks, log=True)


@dataclass
class Plot:
    title: str
    x: Axis
    y: Axis
    _image: Image.Image = field(init=False)
    _draw: ImageDraw.ImageDraw = field(init=False)
    _legend_entries: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._frame()

    def line(self, name: str, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Draw a line and add it to the legend."""
        colour = self._colour(name)
        points = list(dict.fromkeys(self._at(x, y) for x, y in zip(xs, ys, strict=True)))
        self._draw.line(points, fill=colour, width=3 * _SCALE, joint="curve")

    def bars(self, name: str, edges: Sequence[float], heights: Sequence[float]) -> None:
        """Draw a histogram, lightly filled; `edges` has one more value than `heights`."""
        colour = self._colour(name)
        outline = [self._at(edges[0], self.y.low)]
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            outline += [self._at(left, height), self._at(right, height)]
        outline.append(self._at(edges[-1], self.y.low))
        layer = Image.new("RGBA", self._image.size)
        ImageDraw.Draw(layer).polygon(outline, fill=f"{colour}40")
        self._image.paste(Image.alpha_composite(self._image.convert("RGBA"), layer).convert("RGB"))
        self._draw.line(outline, fill=colour, width=2 * _SCALE)

    def guide(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Draw a thin grey reference line that is not in the legend."""
        points = [self._at(x, y) for x, y in zip(xs, ys, strict=True)]
        self._draw.line(points, fill=_GUIDE, width=2 * _SCALE)

    def mark(self, x: float, text: str, row: int = 0) -> None:
        """Draw a dashed vertical line at x with a label at its top; `row` keeps labels apart."""
        left, top = self._at(x, self.y.high)
        bottom = self._at(x, self.y.low)[1]
        for start in range(int(top), int(bottom), 12 * _SCALE):
            self._draw.line([(left, start), (left, start + 6 * _SCALE)], fill=_INK, width=_SCALE)
        self._text((left + 4 * _SCALE, top + (4 + 18 * row) * _SCALE), text, 14, "la")

    def png(self, corner: str) -> Image.Image:
        """The picture with the legend in a corner, such as `top right`."""
        self._legend(corner)
        return self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def _frame(self) -> None:
        for value, text in self.x.ticks:
            across = self._at(value, self.y.low)
            self._draw.line([self._at(value, self.y.high), across], fill=_GRID, width=_SCALE)
            self._text((across[0], across[1] + 8 * _SCALE), text, 15, "ma")
        for value, text in self.y.ticks:
            start = self._at(self.x.low, value)
            self._draw.line([start, self._at(self.x.high, value)], fill=_GRID, width=_SCALE)
            self._text((start[0] - 8 * _SCALE, start[1]), text, 15, "rm")
        corners = [self._at(self.x.low, self.y.high), self._at(self.x.high, self.y.low)]
        self._draw.rectangle([*corners[0], *corners[1]], outline=_INK, width=_SCALE)
        middle = (WIDTH + _LEFT - _RIGHT) * _SCALE / 2
        self._text((middle, 20 * _SCALE), self.title, 19, "ma")
        self._text((middle, (HEIGHT - 16) * _SCALE), self.x.label, 16, "ms")
        self._vertical_label()

    def _vertical_label(self) -> None:
        font = text_font(16)
        box = font.getbbox(self.y.label)
        label = Image.new("RGB", (math.ceil(box[2]) + 4, math.ceil(box[3]) + 4), _PAPER)
        ImageDraw.Draw(label).text((2, 0), self.y.label, font=font, fill=_INK)
        turned = label.rotate(90, expand=True)
        middle = (HEIGHT + _TOP - _BOTTOM) * _SCALE // 2
        self._image.paste(turned, (8 * _SCALE, middle - turned.height // 2))

    def _legend(self, corner: str) -> None:
        if not self._legend_entries:
            return
        line, font = 24 * _SCALE, text_font(15)
        width = int(max(font.getlength(name) for name, _ in self._legend_entries)) + 62 * _SCALE
        height = line * len(self._legend_entries) + 8 * _SCALE
        left, top = (edge * _SCALE for edge in (_LEFT + 14, _TOP + 14))
        if "right" in corner:
            left = (WIDTH - _RIGHT - 14) * _SCALE - width
        if "bottom" in corner:
            top = (HEIGHT - _BOTTOM - 14) * _SCALE - height
        self._draw.rectangle(
            [left, top, left + width, top + height], fill=_PAPER, outline=_GRID, width=_SCALE
        )
        for number, (name, colour) in enumerate(self._legend_entries):
            middle = top + 4 * _SCALE + line * number + line // 2
            start = left + 10 * _SCALE
            self._draw.line([(start, middle), (start + 32 * _SCALE, middle)], fill=colour, width=3 * _SCALE)
            self._text((start + 42 * _SCALE, middle), name, 15, "lm")

    def _colour(self, name: str) -> str:
        colour = COLOURS[len(self._legend_entries) % len(COLOURS)]
        self._legend_entries.append((name, colour))
        return colour

    def _at(self, x: float, y: float) -> tuple[float, float]:
        across, along = self.x.place(x), self.y.place(y)
        return (
            (_LEFT + across * (WIDTH - _LEFT - _RIGHT)) * _SCALE,
            (HEIGHT - _BOTTOM - along * (HEIGHT - _TOP - _BOTTOM)) * _SCALE,
        )

    def _text(self, at: tuple[float, float], text: str, size: int, anchor: str) -> None:
        self._draw.text(at, text, font=text_font(size), fill=_INK, anchor=anchor)


def text_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size * _SCALE)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType")  # its wheels are built with it
    return font
