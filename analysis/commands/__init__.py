"""The commands of the analysis: tables, learning curves, arrival times, closed equations, what features are good for,
pictures and the page, a server of pages, and refinement, which runs members."""

from . import curves, online, pictures, refining, serving, tables, times, uses
from .options import app

__all__ = ["app", "curves", "online", "pictures", "refining", "serving", "tables", "times", "uses"]
