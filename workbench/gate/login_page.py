"""The page that asks for a password: one form, no script, nothing of the app."""

from __future__ import annotations

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>UDA4Inst workbench</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center;
min-height: 90vh; }}
form {{ display: grid; gap: 12px; width: 280px; }} h1 {{ font-size: 20px; margin: 0; }}
input, button {{ font: inherit; padding: 8px 10px; border-radius: 6px; border: 1px solid #8886; }}
button {{ background: #2563eb; color: #fff; border: 0; cursor: pointer; }}
p {{ color: #b91c1c; margin: 0; }}</style></head><body>
<form method="post" action="/login"><h1>UDA4Inst workbench</h1>{message}
<input name="user" aria-label="User" placeholder="User" autocomplete="username" required autofocus>
<input name="password" type="password" aria-label="Password" placeholder="Password"
autocomplete="current-password" required>
<button>Open</button></form></body></html>"""


def login_page(*, is_wrong: bool = False) -> str:
    """Return the page, which after a wrong password says so."""
    words = '<p role="alert">User and password do not match.</p>' if is_wrong else ""
    return _PAGE.format(message=words)
