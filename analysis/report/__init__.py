"""A page to look at it all: one HTML file that needs no network and nothing beside it."""

from .page import page, write_page
from .uses import Attack

__all__ = ["Attack", "page", "write_page"]
