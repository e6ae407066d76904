"""Looks of the three domains, and every knob of the render-to-camera shift.

`render` is the style with none of `PARTS`; `camera` is the same world with all of them, and with
parked two-wheelers (`parking`). Each part can be switched on its own (`render_scene(...,
parts=...)`). At the strengths below a source-trained
tiny network reaches about two thirds of a target-trained one (docs/results.md). Turn texture, noise
and clutter up and down here, and raise `write.VERSION`.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Final, get_args

from uda4inst.toystreets.canvas import Color, mixed
from uda4inst.toystreets.world import Rng, ToyDomain

# ---- parts of the shift, in the order in which they act -------------------------------------
RIG: Final = "rig"  # lower camera, longer lens, lower horizon
EGO: Final = "ego"  # hood of the recording car
GROUPS: Final = "groups"  # now and then a distant crowd labelled as one group
ROUNDING: Final = "rounding"  # rounded instead of angular shapes
PALETTE: Final = "palette"  # muted colours
CLUTTER: Final = "clutter"  # more poles, wires, foliage, lines on the ground, litter
CONTACT_SHADOWS: Final = "contact_shadows"  # soft dark patch under everything that stands
SHADING: Final = "shading"  # top-lit bodies
OBJECT_TEXTURE: Final = "object_texture"
BACKGROUND_TEXTURE: Final = "background_texture"
LIGHTING: Final = "lighting"  # light falling off across the picture, cast shadows
BLUR: Final = "blur"
VIGNETTING: Final = "vignetting"
NOISE: Final = "noise"
JPEG: Final = "jpeg"
PARTS: Final[tuple[str, ...]] = (
    RIG,
    EGO,
    GROUPS,
    ROUNDING,
    PALETTE,
    CLUTTER,
    CONTACT_SHADOWS,
    SHADING,
    OBJECT_TEXTURE,
    BACKGROUND_TEXTURE,
    LIGHTING,
    BLUR,
    VIGNETTING,
    NOISE,
    JPEG,
)

# ---- strengths of the parts (one place to turn the shift up and down) ------------------------
ROUNDING_ITERATIONS: Final = 2  # corner cuts; 0 = angular
MUTED_SATURATION: Final = (0.45, 0.70)  # share of the render's saturation that is left
MUTED_CONTRAST: Final = 0.85  # spread of brightness around mid grey
OBJECT_SHADING: Final = 0.08  # brightness at the top and (minus) at the foot of a body
OBJECT_TEXTURE_STRENGTH: Final = 2.0  # standard deviation in grey levels
BACKGROUND_TEXTURE_STRENGTH: Final = 3.0  # standard deviation in grey levels
FOLIAGE_TEXTURE_FACTOR: Final = 2.0  # vegetation and terrain against other background
CONTACT_SHADOW_STRENGTH: Final = 0.25  # share of light taken away right under an object
CAST_SHADOW_STRENGTH: Final = 0.30  # share of light taken away by house and tree shadows
LIGHT_GRADIENT: Final = 0.22  # brightness change from the middle to an edge of the picture
BLUR_SIGMA: Final = (0.3, 0.6)  # pixels at 128x256
VIGNETTE_STRENGTH: Final = 0.35  # light lost in the far corners
NOISE_SIGMA: Final = (0.5, 2.0)  # grey levels
JPEG_QUALITY: Final = (80, 95)
CLUTTER_COUNT: Final = 0.8  # mean number of extra props
SKY_GLARE: Final = 0.6  # how far the camera's sky goes to white

MUTED_CAST: Final = (96.0, 104.0, 98.0)  # grey-green that muted colours lean to


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of the stuff of one scene, RGB 0..255."""

    road: Color
    sidewalk: Color
    building: tuple[Color, Color, Color, Color]
    wall: Color
    fence: Color
    pole: Color
    vegetation: Color
    terrain: Color
    sky: Color
    marking: Color
    glass: Color
    tyre: Color
    metal: Color
    skin: Color


@dataclass(frozen=True, slots=True)
class Style:
    """Everything that decides how one scene looks.

    Args:
        domain: whose object colours are drawn.
        parts: the parts of the shift that are on.
        palette: colours of the stuff.
        saturation: multiplies the saturation of object colours.
        contrast: spread of object brightness around mid grey.
        cast: colour that muted colours lean to.
        simple: leave out small details (neutral style).
    """

    domain: ToyDomain
    parts: frozenset[str]
    palette: Palette
    saturation: float
    contrast: float
    cast: Color
    simple: bool

    @property
    def rounding(self) -> int:
        """Corner cuts of object outlines."""
        return ROUNDING_ITERATIONS if ROUNDING in self.parts else 0

    def object_color(self, rng: Rng, *, grey: float = 0.0) -> Color:
        """Draw a colour for an object; `grey` is the chance of a white, grey or black one."""
        if rng.random() < grey:
            value = float(rng.choice((0.12, 0.3, 0.55, 0.75, 0.92)) + rng.uniform(-0.05, 0.05))
            color = (255.0 * value, 255.0 * value, 255.0 * value)
        else:
            color = _hsv(rng.random(), rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.95))
        return self.tone(color)

    def tone(self, color: Color) -> Color:
        """Return a colour as the scene's palette shows it."""
        if self.saturation == 1.0 and self.contrast == 1.0:
            return color
        grey = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]
        less = mixed((grey, grey, grey), color, self.saturation)
        return mixed(self.cast, less, self.contrast)


def parts_of(domain: ToyDomain, parts: frozenset[str] | None) -> frozenset[str]:
    """Return the parts to use; None means all for `camera` and none for the others.

    Raises:
        ValueError: an unknown domain or part; the message lists the known ones.
    """
    if domain not in get_args(ToyDomain):
        known = ", ".join(get_args(ToyDomain))
        raise ValueError(f"domain must be one of {known}, got {domain!r} (ToyStreets).")
    if parts is None:
        return frozenset(PARTS) if domain == "camera" else frozenset()
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"parts must be among {', '.join(PARTS)}, got {unknown} (ToyStreets).")
    return frozenset(parts)


def make_style(rng: Rng, domain: ToyDomain, parts: frozenset[str]) -> Style:
    """Draw the look of one scene."""
    if domain == "neutral":
        return Style(
            domain=domain,
            parts=parts,
            palette=_neutral_palette(rng),
            saturation=1.0,
            contrast=1.0,
            cast=(128.0, 128.0, 128.0),
            simple=bool(rng.random() < 0.5),
        )
    palette = _render_palette(rng)
    if PALETTE not in parts:
        return Style(domain, parts, palette, 1.0, 1.0, MUTED_CAST, simple=False)
    saturation = rng.uniform(*MUTED_SATURATION)
    toned = Style(domain, parts, palette, saturation, MUTED_CONTRAST, MUTED_CAST, simple=False)
    return Style(
        domain,
        parts,
        _muted_palette(toned, rng),
        saturation,
        MUTED_CONTRAST,
        MUTED_CAST,
        simple=False,
    )


def _hsv(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return (255.0 * red, 255.0 * green, 255.0 * blue)


def _render_palette(rng: Rng) -> Palette:
    """Clean, saturated colours with a little variation."""

    def near(hue: float, saturation: float, value: float) -> Color:
        return _hsv(
            hue + rng.uniform(-0.02, 0.02),
            min(1.0, max(0.0, saturation + rng.uniform(-0.08, 0.08))),
            min(1.0, max(0.0, value + rng.uniform(-0.07, 0.07))),
        )

    houses = [
        near(rng.choice((0.03, 0.08, 0.12, 0.56, 0.98)), rng.uniform(0.2, 0.55), 0.8)
        for _ in range(4)
    ]
    return Palette(
        road=near(0.68, 0.1, 0.4),
        sidewalk=near(0.9, 0.1, 0.7),
        building=(houses[0], houses[1], houses[2], houses[3]),
        wall=near(0.07, 0.25, 0.6),
        fence=near(0.08, 0.3, 0.5),
        pole=near(0.6, 0.06, 0.5),
        vegetation=near(0.31, 0.7, 0.55),
        terrain=near(0.24, 0.6, 0.7),
        sky=near(0.57, 0.45, 0.95),
        marking=(238.0, 238.0, 235.0),
        glass=near(0.57, 0.35, 0.32),
        tyre=(28.0, 28.0, 30.0),
        metal=(150.0, 150.0, 155.0),
        skin=near(0.06, 0.4, 0.85),
    )


def _muted_palette(style: Style, rng: Rng) -> Palette:
    """The render's colours as the camera sees them: washed out, darker, overcast sky."""
    old = style.palette
    sky = mixed(style.tone(old.sky), (228.0, 232.0, 232.0), SKY_GLARE * rng.uniform(0.6, 1.3))
    houses = [mixed(style.tone(color), (88.0, 86.0, 80.0), 0.35) for color in old.building]
    return Palette(
        road=style.tone(old.road),
        sidewalk=mixed(style.tone(old.sidewalk), style.tone(old.road), 0.35),
        building=(houses[0], houses[1], houses[2], houses[3]),
        wall=style.tone(old.wall),
        fence=style.tone(old.fence),
        pole=mixed(style.tone(old.pole), (60.0, 62.0, 60.0), 0.3),
        vegetation=mixed(style.tone(old.vegetation), (48.0, 62.0, 40.0), 0.4),
        terrain=mixed(style.tone(old.terrain), (92.0, 100.0, 62.0), 0.5),
        sky=sky,
        marking=style.tone(old.marking),
        glass=mixed(style.tone(old.glass), (40.0, 44.0, 44.0), 0.5),
        tyre=(30.0, 30.0, 30.0),
        metal=style.tone(old.metal),
        skin=style.tone(old.skin),
    )


def _neutral_palette(rng: Rng) -> Palette:
    """Any colours at all, so that shape alone tells the classes apart."""

    def any_color() -> Color:
        return _hsv(rng.random(), rng.random() ** 1.5, rng.uniform(0.15, 0.98))

    houses = [any_color() for _ in range(4)]
    return Palette(
        road=any_color(),
        sidewalk=any_color(),
        building=(houses[0], houses[1], houses[2], houses[3]),
        wall=any_color(),
        fence=any_color(),
        pole=any_color(),
        vegetation=any_color(),
        terrain=any_color(),
        sky=any_color(),
        marking=any_color(),
        glass=_hsv(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.1, 0.5)),
        tyre=_hsv(rng.random(), rng.uniform(0, 0.3), rng.uniform(0.05, 0.3)),
        metal=_hsv(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.4, 0.9)),
        skin=_hsv(rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.6), rng.uniform(0.35, 0.95)),
    )
