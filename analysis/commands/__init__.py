"""The commands of the analysis: tables, arrival times, closed equations, what features are good for, pictures and the
page, a server of pages, and refinement, which runs members."""

from . import online, pictures, refining, serving, tables, times, uses
from .options import app

__all__ = ["app", "online", "pictures", "refining", "serving", "tables", "times", "uses"]
