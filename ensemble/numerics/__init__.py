"""Numerics: safe norms and quotients, inverse trigonometry, keys of random draws by purpose."""

from .keys import PURPOSES, Keys, member_key, member_keys
from .safe import safe_divide, safe_norm

__all__ = ["PURPOSES", "Keys", "member_key", "member_keys", "safe_divide", "safe_norm"]
