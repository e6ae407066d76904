"""Opens the UDA4Inst workbench: `python app.py [--port 7860] [--runs runs] [--data DIR]`."""

from __future__ import annotations

import sys

from uda4inst.errors import UserError
from workbench.open_app import open_app

if __name__ == "__main__":
    try:
        open_app()
    except UserError as error:
        sys.exit(f"error: {error}")
