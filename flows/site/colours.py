"""Colours of drawn charts in light and dark: each becomes a variable of the style sheet, with a value for both."""

import colorsys
import re

HEX = re.compile(r"#([0-9a-fA-F]{6})\b")
# Told apart by people who see no red or green, and by how light they are; none is too light to be read as text.
CATEGORIES = ("#2f5fa8", "#c2571a", "#22867a", "#9c3d84", "#7b6a12", "#5b97d6", "#8a5a44", "#6b7280")
# What charts are drawn on, and what they set off crossing lines with: the card that they stand on.
GROUND = "ffffff"


def with_variables(svg: str) -> str:
    """An SVG whose colours are variables of the style sheet."""
    return HEX.sub(lambda found: f"var(--x{found[1].lower()})", svg)


def colours_of(svg: str) -> set[str]:
    """The colours of an SVG, as six digits."""
    return {found[1].lower() for found in HEX.finditer(svg)}


def in_dark(colour: str) -> str:
    """What a colour is on a dark page: as far from its ground as it was on a white one.

    Greys keep their order, from what was ink and is now light; colours keep their hue and become light enough.
    """
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < 0.15:
        light = 0.09 + (1 - light) * 0.85
    else:
        light, saturation = 0.58 + (0.5 - light) * 0.4, min(saturation, 0.75)
    dark = colorsys.hls_to_rgb(hue, min(max(light, 0.09), 0.94), saturation)
    return "".join(f"{round(part * 255):02x}" for part in dark)


def style_sheet(colours: set[str]) -> str:
    """The style sheet that gives each colour its value in light and in dark."""
    light = "".join(f"--x{colour}:#{colour};" for colour in sorted(colours - {GROUND}))
    dark = "".join(f"--x{colour}:#{in_dark(colour)};" for colour in sorted(colours - {GROUND}))
    light += f"--x{GROUND}:var(--card);"
    return (
        f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f":root[data-theme=dark]{{{dark}}}\n"
    )
