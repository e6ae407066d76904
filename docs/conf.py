"""Sphinx's settings for the site: `make docs`.

The sources lie where GitHub shows them; README.md is the start page, and `contents.md` says what
stands where. `ext/` makes the pages that the code itself fills.
"""

import sys
from pathlib import Path

from uda4inst import __version__

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "ext"))

project = "UDA4Inst workbench"
version = release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "site_api",
    "site_commands",
    "site_contents",
    "site_links",
    "site_math",
    "site_offline",
    "site_settings",
]

root_doc = "README"
include_patterns = ["*.md", "docs/**", "examples/*.md", "notebooks/**"]
exclude_patterns = [
    ".*",
    "build",
    "data",
    "docs/contents.md",
    "fiftyone",
    "runs",
    "suites",
    "tests",
    "uda4inst",
    "wheels",
    "workbench",
    "**/.ipynb_checkpoints",
]
# Notebooks are shown as they were saved; nothing on a page is fetched from elsewhere.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # tables among outputs
nb_ipywidgets_js = {}
html_math_renderer = "mathml"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
highlight_language = "text"

# A name between backticks is a link where it is one of the API, else code.
default_role = "py:obj"
# Names in types are the code's own: most are other packages'. A phrase would be a slip of the pen.
nitpick_ignore_regex = [("py:obj", ".*"), ("py:class", r"\S+")]
smartquotes_action = "D"  # dashes of parameters alone
add_module_names = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "UDA4Inst workbench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"
