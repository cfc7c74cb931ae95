"""For authors of processors: a picture is opened, changed and saved with all that its file says.

``Picture.metadata.signed`` tells of a C2PA signature, which any change of the file breaks.
"""

from __future__ import annotations

from holodeck_gen_plugins.processors._metadata import Format, Metadata
from holodeck_gen_plugins.processors._pictures import SUFFIXES, Picture, open_picture, save

__all__ = ["SUFFIXES", "Format", "Metadata", "Picture", "open_picture", "save"]
