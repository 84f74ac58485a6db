"""The commands of the analysis: tables, closed equations, pictures and the page, and refinement, which runs members."""

from . import online, pictures, refining, tables
from .options import app

__all__ = ["app", "online", "pictures", "refining", "tables"]
