"""The commands of the analysis: tables, pictures and the page, and refinement, which runs members, too."""

from . import pictures, refining, tables
from .options import app

__all__ = ["app", "pictures", "refining", "tables"]
