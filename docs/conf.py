"""How Sphinx builds the site: `make docs`."""

import sys
from pathlib import Path

from greenllm import __version__

sys.path.insert(0, str(Path(__file__).parent))  # generated_reference.py

project = "GreenLLM"
version = release = __version__
copyright = "The GreenLLM authors, Apache License 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_argparse_cli", "generated_reference"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# Docstrings are written in plain text: `word` is code.
default_role = "code"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

# furo has everything in the built folder: the pages open from the disk and load nothing from a network.
html_theme = "furo"
html_title = "GreenLLM"
html_copy_source = False
html_show_sphinx = False
