"""What lists (`gr.Dropdown`, tables of buttons) lack in a browser; runs once in each page."""

from __future__ import annotations

from typing import Final

# A list closes when it is left; seeing the Tab that leaves it, Gradio's would open it again.
_LEAVE: Final = """
document.addEventListener('keydown', event => {
  if (event.key === 'Tab' && event.target.matches('[role=combobox]')) event.stopPropagation();
}, true);
"""
# Lines may change places under the pointer, when a run, a checkpoint or a session came or went. A
# press was aimed at the former ones for as long as it takes to see that: it chooses nothing, and an
# open list stays open. `window` has its turn before Gradio, and before a list would lose the focus.
_AIM: Final = """
let changed = -Infinity, missed = false;
const former = new Map();
function moved(lines) {
  const order = [...lines.querySelectorAll('button')].map(one => ({...one.dataset}));
  const before = former.get(lines.id), now = order.length ? JSON.stringify(order) : '';
  former.set(lines.id, now);
  return before && before !== now;
}
new MutationObserver(records => {
  const tables = new Set(records.map(one => one.target.closest('.wb-lines')));
  tables.delete(null);
  const listed = one => one.type === 'attributes' && one.target.matches('[role=option]');
  if ([...tables].filter(moved).length || records.some(listed)) changed = performance.now();
}).observe(document.body,
           {subtree: true, childList: true, attributes: true, attributeFilter: ['aria-label']});
window.addEventListener('mousedown', event => {
  missed = event.target.closest('[role=option], .wb-lines button') !== null
    && performance.now() - changed < 400;
  if (!missed) return;
  event.preventDefault();
  event.stopPropagation();
}, true);
window.addEventListener('click', event => {
  if (missed && event.detail) event.stopPropagation();  // none of the keyboard's
  missed = false;
}, true);
"""
# For `gr.HTML(js_on_load=…)`; tables are those with the class "wb-lines" and an id.
LISTS_SCRIPT: Final = _LEAVE + _AIM


def whether_open(elem_id: str) -> str:
    """Return the script of an event whose first input, a checkbox, says whether a list is open.

    Args:
        elem_id: of the list.
    """
    opened = f"!!document.activeElement?.closest('#{elem_id}')"
    return f"(_, ...others) => [{opened}, ...others]"
