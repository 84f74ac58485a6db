"""The commands of the analysis: tables, what features are good for, pictures and the page, and refinement."""

from . import pictures, refining, tables, uses
from .options import app

__all__ = ["app", "pictures", "refining", "tables", "uses"]
