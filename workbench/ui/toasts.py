"""Messages on top of the page; Gradio takes their text for HTML, so all of them come from here."""

from __future__ import annotations

from html import escape

import gradio as gr


def refusal(message: str, *, title: str) -> gr.Error:
    """Return the error that ends an event and shows a message, for the caller to raise.

    Args:
        message: plain text, whatever is in it; its lines stay lines.
        title: plain text above it.
    """
    return gr.Error(_plain(message), title=_plain(title), print_exception=False)


def note(message: str, *, title: str) -> None:
    """Show a message, from within an event.

    Args:
        message: plain text, whatever is in it; its lines stay lines.
        title: plain text above it.
    """
    gr.Info(_plain(message), title=_plain(title))


def _plain(text: str) -> str:
    return escape(text).replace("\n", "<br>")
