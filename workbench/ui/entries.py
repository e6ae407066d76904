"""Entries that open on a click and stay as they are left when a page is drawn anew."""

from __future__ import annotations

from html import escape
from typing import Final

# Drawing a page anew puts entries as they are at first: those that somebody opened or closed are
# put back before they are seen. Gradio changes what is there or brings it in anew. A click is the
# keyboard's as well.
ENTRIES_SCRIPT: Final = """
const left = new Map();
const named = entry => `${entry.closest('.block').id} ${entry.dataset.entry}`;
const entries = 'details[data-entry]';
function putBack(entry) {
  const wanted = left.get(named(entry));
  if (wanted !== undefined && wanted !== entry.open) entry.open = wanted;
}
document.addEventListener('click', event => {
  const entry = event.target.closest(`${entries} > summary`)?.parentElement;
  if (entry) left.set(named(entry), !entry.open);
});
new MutationObserver(records => {
  for (const {type, target, addedNodes} of records)
    if (type === 'attributes' && target.matches(entries)) putBack(target);
    else if (addedNodes.length) target.querySelectorAll(entries).forEach(putBack);
}).observe(document.body,
           {subtree: true, childList: true, attributeFilter: ['open', 'data-entry']});
"""


def entry(
    name: str, summary: str, content: str, *, is_open: bool = False, kind: str = "wb-details"
) -> str:
    """Return an entry.

    Args:
        name: one among those of its component, which has an elem_id; stays when the summary
            changes.
        summary: plain text that is clicked on.
        content: HTML.
        is_open: whether it is so at first.
        kind: its class in the style sheet.
    """
    return (
        f'<details class="{kind}" data-entry="{escape(name)}"{" open" if is_open else ""}>'
        f"<summary>{escape(summary)}</summary>{content}</details>"
    )
