"""Numerics: safe norms, quotients and maxima, inverse trigonometry, keys of random draws by purpose."""

from .keys import PURPOSES, Keys, member_key, member_keys
from .safe import largest, positive_part, safe_divide, safe_norm

__all__ = [
    "PURPOSES",
    "Keys",
    "largest",
    "member_key",
    "member_keys",
    "positive_part",
    "safe_divide",
    "safe_norm",
]
