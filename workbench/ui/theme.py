"""The look: one theme from fonts and files that come with Gradio, so that nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gradio import themes

CSS_PATH: Final = Path(__file__).with_name("workbench.css")


def make_theme() -> themes.Base:
    """Return the workbench's theme, for light and dark."""
    return themes.Default(
        primary_hue=themes.colors.blue,
        neutral_hue=themes.colors.slate,
        spacing_size=themes.sizes.spacing_sm,
        radius_size=themes.sizes.radius_md,
        text_size=themes.sizes.text_md,
        # Regular and bold: Gradio's semi-bold files lack most letters.
        font=[_local("IBM Plex Sans"), "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=[_local("IBM Plex Mono"), "ui-monospace", "monospace"],
    )


def _local(name: str) -> themes.LocalFont:
    return themes.LocalFont(name, weights=(400, 700))
