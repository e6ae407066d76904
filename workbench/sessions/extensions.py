"""FiftyOne's plugins: the project's own beside the user's.

FiftyOne looks into one folder, and follows links. In the project's own there is one to what ships
here, and one to the folder the user would have otherwise; nothing is written into that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from uda4inst.atomic import disk_errors, whole_file
from workbench.sessions.library import FOLDER, fo

PLUGIN: Final = Path(__file__).parent / "plugin"
_OWN: Final = "uda4inst"
_USERS: Final = "of_the_user"
_CONFIGURED: Final = Path(fo.config.plugins_dir)


def offer_extensions(
    folder: Path | None = None,
    configured: Path = _CONFIGURED,
) -> Path:
    """Have FiftyOne find the project's plugin, and the user's; call it before a page is served.

    Args:
        folder: the project's folder; None for `FOLDER`.
        configured: where FiftyOne looks otherwise.

    Returns:
        The folder it looks into from now on, in this process and those it starts.

    Raises:
        UserError: the links cannot be made.
    """
    extensions = (folder or FOLDER).absolute() / "extensions"
    is_own = configured.absolute() == extensions
    users = Path.home() / "fiftyone" / "__plugins__" if is_own else configured.absolute()
    with disk_errors("links to plugins", extensions, then="open the session again"):
        extensions.mkdir(parents=True, exist_ok=True)
        _link(extensions / _OWN, PLUGIN)
        _link(extensions / _USERS, users)
    fo.config.plugins_dir = str(extensions)
    os.environ["FIFTYONE_PLUGINS_DIR"] = str(extensions)
    return extensions


def _link(link: Path, to: Path) -> None:
    """Make a link in one move; none to what is not there."""
    if not to.is_dir():
        link.unlink(missing_ok=True)
        return
    if link.is_symlink() and link.readlink() == to:
        return
    with whole_file(link) as new:
        new.symlink_to(to, target_is_directory=True)
