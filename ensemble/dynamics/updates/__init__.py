"""Updates: how a stage moves weights.

descent               θ ← θ − ηg
momentum, nesterov    heavy ball and its look-ahead
adam, adamw, rmsprop, adagrad, sign     coordinate by coordinate: these know the axes of the input
optax                 any other gradient transformation of optax, by name
proximal, fista       for penalties with a proximal map: plain or with momentum, and accelerated
flow                  gradient flow, by adaptive solvers
newton                a finish: to gradient norms at rounding level
ridge, balance, prune done once: the exact output layer; |a_i| = ‖w_i‖; neurons that leave
"""

from ...parts import register
from .base import (
    AbstractGradientUpdate,
    AbstractInstantUpdate,
    AbstractSteppedUpdate,
    AbstractUpdate,
    Clock,
    Info,
    Objective,
    drift,
    gradient_norm,
)
from .descent import Descent
from .flow import Flow
from .instant import Balance, Ridge
from .newton import Newton
from .optax_updates import AdaGrad, Adam, AdamW, Momentum, Nesterov, OptaxUpdate, RMSProp, Sign, first_state
from .proximal import FISTA, AbstractProximalUpdate, Proximal
from .prune import Prune

for _part in (
    Descent,
    Momentum,
    Nesterov,
    Adam,
    AdamW,
    RMSProp,
    AdaGrad,
    Sign,
    OptaxUpdate,
    Proximal,
    FISTA,
    Flow,
    Newton,
    Ridge,
    Balance,
    Prune,
):
    register(_part)

__all__ = [
    "FISTA",
    "AbstractGradientUpdate",
    "AbstractInstantUpdate",
    "AbstractProximalUpdate",
    "AbstractSteppedUpdate",
    "AbstractUpdate",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Balance",
    "Clock",
    "Descent",
    "Flow",
    "Info",
    "Momentum",
    "Nesterov",
    "Newton",
    "Objective",
    "OptaxUpdate",
    "Proximal",
    "Prune",
    "RMSProp",
    "Ridge",
    "Sign",
    "drift",
    "first_state",
    "gradient_norm",
]
