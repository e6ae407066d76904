"""What Gradio's lists (`gr.Dropdown`) lack in a browser; runs once in each page."""

from __future__ import annotations

from typing import Final

# A list closes when it is left; seeing the Tab that leaves it, Gradio's would open it again.
_LEAVE: Final = """
document.addEventListener('keydown', event => {
  if (event.key === 'Tab' && event.target.matches('[role=combobox]')) event.stopPropagation();
}, true);
"""
# Lines may change places under the pointer, when a run or a checkpoint was added in front. A press
# was aimed at the former ones for as long as it takes to see that: it chooses nothing, and the list
# stays open. `window` has its turn before Gradio, and before the list would lose the focus.
_AIM: Final = """
let changed = -Infinity;
new MutationObserver(records => {
  if (records.some(one => one.target.matches('[role=option]'))) changed = performance.now();
}).observe(document.body, {subtree: true, attributes: true, attributeFilter: ['aria-label']});
window.addEventListener('mousedown', event => {
  if (!event.target.closest('[role=option]') || performance.now() - changed > 400) return;
  event.preventDefault();
  event.stopPropagation();
}, true);
"""
# For `gr.HTML(js_on_load=…)`.
LISTS_SCRIPT: Final = _LEAVE + _AIM


def whether_open(elem_id: str, *, others: int) -> str:
    """Return the script of an event whose last input, a checkbox, says whether a list is open.

    Args:
        elem_id: of the list.
        others: number of the inputs before the checkbox.
    """
    names = [f"input{i}" for i in range(others)]
    opened = f"!!document.activeElement?.closest('#{elem_id}')"
    return f"({', '.join([*names, '_'])}) => [{', '.join([*names, opened])}]"
