"""Linear recurrences: a block as Mamba's, whose steps depend on the input, and one as S4D's, of complex numbers.

Sources: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023; Gu et al., "On the
Parameterization and Initialization of Diagonal State Space Models", 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.step_networks.base import StepNetwork


class RMSNorm(nn.Module):
    """Divided by the root of the mean of the squares, as the reference code writes it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Mamba(nn.Module):
    """``h' = exp(d A) h + d B x``, ``y = C h' + D x``, with d, B and C of the input; gated, behind a convolution."""

    def __init__(self, size: int, inner: int, states: int, rank: int, taps: int) -> None:
        super().__init__()
        self.rank, self.states = rank, states
        self.norm = RMSNorm(size)
        self.enter = nn.Linear(size, 2 * inner, bias=False)
        self.taps = nn.Parameter(torch.randn(inner, taps) * taps**-0.5)
        self.bias = nn.Parameter(torch.randn(inner) * 0.1)
        self.select = nn.Linear(inner, rank + 2 * states, bias=False)
        self.steps = nn.Linear(rank, inner)
        self.a_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(inner, 1))
        self.d = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, size, bias=False)

    def forward(self, x: Tensor, conv_state: Tensor, ssm_state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the answer ``(1, size)``, the inputs so far ``(1, inner, taps)``, the state ``(1, inner, states)``."""
        u, z = self.enter(self.norm(x)).chunk(2, -1)
        conv_state = torch.cat([conv_state[:, :, 1:], u[:, :, None]], -1)
        u = nn.functional.silu((conv_state * self.taps).sum(-1) + self.bias)
        step, b, c = torch.split(self.select(u), [self.rank, self.states, self.states], -1)
        step = nn.functional.softplus(self.steps(step))
        decay = torch.exp(step[..., None] * -torch.exp(self.a_log))
        ssm_state = decay * ssm_state + step[..., None] * b[:, None] * u[..., None]
        y = torch.einsum("bds,bs->bd", ssm_state, c) + self.d * u
        return x + self.leave(y * nn.functional.silu(z)), conv_state, ssm_state


def mamba(size: int = 8, inner: int = 16, states: int = 4, rank: int = 2, taps: int = 4) -> StepNetwork:
    """Return the network."""
    shapes = {"conv_state": (1, inner, taps), "ssm_state": (1, inner, states)}
    return StepNetwork(Mamba(size, inner, states, rank, taps), {"x": (1, size)}, shapes, naming=("{}", "{}_new"))


class S4D(nn.Module):
    """``h' = a h + b x``, ``y = Re(c h') + d x``, with real and imaginary parts side by side."""

    def __init__(self, size: int, states: int) -> None:
        super().__init__()
        step = torch.rand(size, 1) * 0.1 + 0.01
        a = torch.exp(step * torch.complex(-0.5 * torch.ones(states), torch.pi * torch.arange(states).float()))
        self.a = nn.Parameter(torch.view_as_real(a))
        self.c = nn.Parameter(torch.randn(size, states, 2) * states**-0.5)
        self.d = nn.Parameter(torch.randn(size))
        self.mix = nn.Linear(size, 2 * size)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answer ``(1, size)``, and the state ``(1, size, states, 2)``."""
        real = self.a[..., 0] * h[..., 0] - self.a[..., 1] * h[..., 1] + x[..., None]
        imaginary = self.a[..., 1] * h[..., 0] + self.a[..., 0] * h[..., 1]
        y = 2 * (self.c[..., 0] * real - self.c[..., 1] * imaginary).sum(-1) + self.d * x
        return nn.functional.glu(self.mix(nn.functional.gelu(y)), -1) + x, torch.stack([real, imaginary], -1)


def s4d(size: int = 8, states: int = 6) -> StepNetwork:
    """Return the network."""
    return StepNetwork(S4D(size, states), {"x": (1, size)}, {"h": (1, size, states, 2)})
