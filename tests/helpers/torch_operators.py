"""Single operators of PyTorch, each a function of the features of a timestep, ``(batch, time, 6)``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Operator = Callable[[Tensor], Tensor]

SIZE = 6
"""The features of a timestep."""

torch.manual_seed(11)
ROW = torch.linspace(-0.9, 0.8, SIZE)
POSITIVE = torch.linspace(0.3, 1.9, SIZE)
MATRIX = torch.randn(SIZE, SIZE) * 0.4
PLACES = torch.tensor([4, 0, 3])
MASK = torch.tensor([True, False, True, True, False, False])


def pairs(x: Tensor) -> Tensor:
    """Return the features in three pairs."""
    return x.reshape(*x.shape[:2], 3, 2)


FUNCTIONS: dict[str, Operator] = {
    "abs": torch.abs,
    "absolute operator": abs,
    "acos of tanh": lambda x: torch.acos(x.tanh()),
    "atan": torch.atan,
    "ceil": lambda x: torch.ceil(3 * x),
    "clone": torch.clone,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "deg2rad": torch.deg2rad,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "floor": lambda x: torch.floor(3 * x),
    "frac": lambda x: torch.frac(3 * x),
    "log": lambda x: torch.log(x.abs() + 0.5),
    "log10": lambda x: torch.log10(x.abs() + 0.5),
    "log1p": lambda x: torch.log1p(x.abs()),
    "log2": lambda x: torch.log2(x.abs() + 0.5),
    "logit of sigmoid": lambda x: torch.logit(x.sigmoid()),
    "logit with eps": lambda x: torch.logit(x.sigmoid(), eps=0.3),
    "negative": torch.negative,
    "positive": torch.positive,
    "rad2deg": lambda x: torch.rad2deg(x) * 0.01,
    "reciprocal": lambda x: torch.reciprocal(x.abs() + 0.5),
    "round": lambda x: torch.round(3 * x),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 0.5),
    "sign": torch.sign,
    "sgn": torch.sgn,
    "sin": torch.sin,
    "sinc": lambda x: torch.sinc(x.abs() + 0.5),
    "sinh": torch.sinh,
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "square": torch.square,
    "tan": lambda x: torch.tan(0.3 * x),
    "trunc": lambda x: torch.trunc(3 * x),
    "fix": lambda x: torch.fix(3 * x),
    "nan_to_num": torch.nan_to_num,
    "isnan": lambda x: torch.isnan(x).float(),
    "type_as": lambda x: x.type_as(ROW),
    "double and back": lambda x: (x.double() * 2).float(),
}
"""Functions of one number."""

ACTIVATIONS: dict[str, Operator] = {
    "celu": lambda x: F.celu(x, 0.7),
    "celu of alpha 1": F.celu,
    "elu": lambda x: F.elu(x, 0.7),
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "glu": F.glu,
    "hardshrink": lambda x: F.hardshrink(x, 0.2),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": lambda x: F.hardtanh(x, -0.4, 0.3),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3])),
    "prelu of each": lambda x: F.prelu(x.transpose(1, 2), POSITIVE).transpose(1, 2),
    "relu": F.relu,
    "relu6": lambda x: F.relu6(9 * x),
    "rrelu": lambda x: F.rrelu(x, 0.1, 0.3),
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softmax": lambda x: F.softmax(x, -1),
    "softmin": lambda x: F.softmin(x, -1),
    "softplus": F.softplus,
    "softplus of beta": lambda x: F.softplus(x, 2.5),
    "softplus of threshold": lambda x: F.softplus(x, 1.0, 0.4),
    "softshrink": lambda x: F.softshrink(x, 0.2),
    "softsign": F.softsign,
    "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.1, -2.0),
    "gumbel of nothing": lambda x: (x / 0.7).softmax(2),
    "squareplus": lambda x: 0.5 * (x + torch.sqrt(x * x + 4)),
    "swish of beta": lambda x: x * torch.sigmoid(1.7 * x),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu by hand": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "mish by hand": lambda x: x * torch.tanh(F.softplus(x)),
    "snake": lambda x: x + torch.sin(1.5 * x) ** 2 / 1.5,
}

ARITHMETIC: dict[str, Operator] = {
    "add": lambda x: x + ROW,
    "add of alpha": lambda x: torch.add(x, ROW, alpha=0.3),
    "add of two with alpha": lambda x: torch.add(x, x.tanh(), alpha=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x.tanh(), x.abs() + 1, value=0.5),
    "addcdiv of constants": lambda x: torch.addcdiv(x, ROW, POSITIVE),
    "addcmul": lambda x: torch.addcmul(x, x.tanh(), ROW, value=0.5),
    "addcmul of two": lambda x: torch.addcmul(ROW, x, x.cos()),
    "sub": lambda x: x - ROW,
    "sub of alpha": lambda x: torch.sub(x, ROW, alpha=2),
    "rsub": lambda x: 1 - x,
    "rsub of a row": lambda x: torch.rsub(x, ROW),
    "mul": lambda x: x * ROW,
    "mul of two": lambda x: x * x.tanh(),
    "div": lambda x: x / POSITIVE,
    "div of two": lambda x: x / (x.abs() + 1),
    "div of a number by it": lambda x: 2 / (x.abs() + 1),
    "div rounded down": lambda x: torch.div(x, 0.13, rounding_mode="floor"),
    "div truncated": lambda x: torch.div(x, 0.13, rounding_mode="trunc"),
    "floor_divide": lambda x: torch.floor_divide(x, 0.13),
    "floor_divide by a row": lambda x: x // (POSITIVE * 0.2),
    "remainder": lambda x: torch.remainder(x, 0.37),
    "remainder of a row": lambda x: x % (POSITIVE * 0.3),
    "fmod": lambda x: torch.fmod(x, 0.37),
    "pow 2": lambda x: x**2,
    "pow 3": lambda x: x**3,
    "pow 5": lambda x: x**5,
    "pow of half": lambda x: x.abs() ** 0.5,
    "pow not whole": lambda x: (x.abs() + 0.1) ** 1.7,
    "pow negative": lambda x: (x.abs() + 0.5) ** -2,
    "pow of a number": lambda x: 2.0**x,
    "pow of a row": lambda x: POSITIVE**x,
    "pow by a row": lambda x: (x.abs() + 0.1) ** POSITIVE,
    "float_power": lambda x: torch.float_power(x.abs() + 0.1, 1.5).float(),
    "lerp": lambda x: torch.lerp(x, ROW.expand_as(x), 0.3),
    "lerp of tensors": lambda x: torch.lerp(x, x.tanh(), POSITIVE * 0.4),
    "hypot": lambda x: torch.hypot(x, ROW),
    "maximum": lambda x: torch.maximum(x, ROW),
    "minimum": lambda x: torch.minimum(x, -x),
    "max of two": lambda x: torch.max(x, ROW),
    "fmax": lambda x: torch.fmax(x, ROW),
    "fmin": lambda x: torch.fmin(x, x.tanh()),
    "clamp": lambda x: x.clamp(-0.2, 0.3),
    "clamp of one side": lambda x: x.clamp(max=0.3),
    "clamp of tensors": lambda x: torch.clamp(x, min=ROW - 0.1, max=ROW + 0.2),
    "clamp_min of a tensor": lambda x: torch.clamp_min(x, ROW),
    "clip": lambda x: torch.clip(x, -0.1, 0.1),
    "xlogy": lambda x: torch.xlogy(x.abs() + 0.1, x.abs() + 0.2),
    "logaddexp": lambda x: torch.logaddexp(x, ROW),
    "copysign": lambda x: torch.copysign(POSITIVE.expand_as(x), x),
    "heaviside": lambda x: torch.heaviside(x, torch.tensor(0.5)),
    "dist to a row": lambda x: (x - ROW).pow(2).sum(-1, keepdim=True).sqrt(),
    "in place": lambda x: (x * 1.0).mul_(2.0).add_(ROW).relu_(),
    "true_divide": lambda x: torch.true_divide(x, 3),
}

CONDITIONS: dict[str, Operator] = {
    "gt": lambda x: (x > 0.1).float(),
    "lt of a row": lambda x: (x < ROW).float(),
    "ge of two": lambda x: (x >= x.tanh()).to(x.dtype),
    "le": lambda x: torch.le(x, 0.1).type_as(x),
    "eq": lambda x: torch.eq(torch.round(3 * x), 1.0).float(),
    "ne": lambda x: (torch.round(3 * x) != 0).float(),
    "not_equal times": lambda x: (x != 0) * x,
    "where": lambda x: torch.where(x > 0, x, x * 0.3),
    "where of scalars": lambda x: torch.where(x > 0, 1.0, -1.0),
    "where of a scalar": lambda x: torch.where(x > 0, x, 0.5),
    "where of a row": lambda x: torch.where(x > ROW, ROW, x),
    "where of a constant mask": lambda x: torch.where(MASK, x, -x),
    "where of one condition": lambda x: torch.where(x[..., :1] > 0, x, -x),
    "where of reduced": lambda x: torch.where((x > 0).any(-1, keepdim=True), x, ROW),
    "masked_fill": lambda x: x.masked_fill(x < 0, -3.0),
    "masked_fill of a constant mask": lambda x: x.masked_fill(MASK, 0.25),
    "masked_fill of infinity": lambda x: x.masked_fill(MASK, -torch.inf).softmax(-1),
    "logical_and": lambda x: torch.logical_and(x > -0.2, x < 0.3).float(),
    "logical_or": lambda x: torch.logical_or(x < -0.2, x > 0.3).float(),
    "logical_xor": lambda x: torch.logical_xor(x > 0, x > ROW).float(),
    "logical_not": lambda x: torch.logical_not(x > 0).float(),
    "bitwise_and": lambda x: ((x > -0.2) & (x < 0.3)).float(),
    "bitwise_or": lambda x: ((x < -0.2) | MASK).float(),
    "bitwise_xor": lambda x: ((x < -0.2) ^ (x > 0.1)).float(),
    "bitwise_not": lambda x: (~(x > 0)).float(),
    "relu by a mask": lambda x: x * (x > 0),
    "sign by comparison": lambda x: (x > 0).float() - (x < 0).float(),
    "any": lambda x: (x > 0.3).any(-1, keepdim=True).float(),
    "all": lambda x: (x > -0.3).all(-1, keepdim=True).float(),
    "count": lambda x: (x > 0).sum(-1, keepdim=True).float(),
    "count_nonzero": lambda x: torch.count_nonzero(x > 0, dim=-1).unsqueeze(-1).float(),
    "mean of a condition": lambda x: (x > 0).float().mean(-1, keepdim=True),
    "bernoulli decision": lambda x: (x.sigmoid() > 0.5).int().float(),
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([-0.5, 0.0, 0.4])).float(),
    "isclose to zero": lambda x: (x.abs() < 0.1).float(),
}

REDUCTIONS: dict[str, Operator] = {
    "sum": lambda x: x.sum(-1, keepdim=True),
    "sum without axis": lambda x: x.sum(2).unsqueeze(-1),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "centered": lambda x: x - x.mean(-1, keepdim=True),
    "amax": lambda x: x.amax(-1, keepdim=True),
    "amin": lambda x: x.amin(dim=(-1,), keepdim=True),
    "aminmax": lambda x: torch.cat([*torch.aminmax(x, dim=-1, keepdim=True)], -1),
    "max with place": lambda x: x.max(-1, keepdim=True)[0],
    "max alone": lambda x: x.max(dim=2).values.unsqueeze(2),
    "min": lambda x: x.min(-1, keepdim=True).values,
    "prod": lambda x: x.prod(-1, keepdim=True),
    "std": lambda x: x.std(-1, keepdim=True),
    "var": lambda x: x.var(-1, keepdim=True),
    "var without correction": lambda x: x.var(-1, keepdim=True, correction=0),
    "std_mean": lambda x: torch.cat([*torch.std_mean(x, -1, keepdim=True)], -1),
    "var_mean": lambda x: torch.cat([*torch.var_mean(x, -1, keepdim=True)], -1),
    "norm": lambda x: x.norm(dim=-1, keepdim=True),
    "norm 1": lambda x: x.norm(p=1, dim=-1, keepdim=True),
    "norm of infinity": lambda x: x.norm(p=float("inf"), dim=-1, keepdim=True),
    "linalg norm": lambda x: torch.linalg.norm(x, dim=-1, keepdim=True),
    "linalg vector_norm 3": lambda x: torch.linalg.vector_norm(x, 3, dim=-1, keepdim=True),
    "logsumexp": lambda x: torch.logsumexp(x, -1, keepdim=True),
    "argmax": lambda x: x.argmax(-1, keepdim=True).float(),
    "argmin": lambda x: x.argmin(-1).unsqueeze(-1).float(),
    "one_hot of argmax": lambda x: F.one_hot(x.argmax(-1), SIZE).float(),
    "standardized": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5),
    "scaled by the largest": lambda x: x / (x.abs().amax(-1, keepdim=True) + 1e-6),
    "min-max": lambda x: (x - x.amin(-1, keepdim=True)) / (x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True) + 0.1),
    "entropy": lambda x: -(x.softmax(-1) * x.log_softmax(-1)).sum(-1, keepdim=True),
    "sum of squares": lambda x: (x * x).sum(-1, keepdim=True),
    "median": lambda x: x.median(-1, keepdim=True).values,
    "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(-1),
    "cummax": lambda x: x.cummax(-1).values,
    "diff": lambda x: x.diff(dim=-1),
    "topk": lambda x: x.topk(2, -1).values,
    "sort": lambda x: x.sort(-1).values,
    "pairs sum": lambda x: pairs(x).sum(-1),
    "pairs mean over the outer": lambda x: pairs(x).mean(2),
    "pairs max": lambda x: pairs(x).amax(-1),
    "pairs softmax": lambda x: pairs(x).softmax(-1).flatten(2),
    "pairs norm": lambda x: pairs(x).norm(dim=-1),
    "trapezoid": lambda x: torch.trapezoid(x, dim=-1).unsqueeze(-1),
}

NORMALIZATIONS: dict[str, Operator] = {
    "layer_norm": lambda x: F.layer_norm(x, (SIZE,), ROW, POSITIVE),
    "layer_norm without weights": lambda x: F.layer_norm(x, (SIZE,)),
    "rms_norm": lambda x: F.rms_norm(x, (SIZE,), ROW, 1e-5),
    "rms_norm without epsilon": lambda x: F.rms_norm(x, (SIZE,), POSITIVE),
    "rms_norm by hand": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * ROW,
    "layer_norm by hand": lambda x: (
        (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5) * ROW + POSITIVE
    ),
    "batch_norm": lambda x: F.batch_norm(x.transpose(1, 2), ROW, POSITIVE, POSITIVE, ROW).transpose(1, 2),
    "group_norm of each timestep": lambda x: F.group_norm(x.reshape(-1, SIZE), 3, ROW, POSITIVE).reshape(x.shape),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "normalize of order 1": lambda x: F.normalize(x, p=1.0, dim=2),
    "cosine_similarity": lambda x: F.cosine_similarity(x, ROW, dim=-1).unsqueeze(-1),
    "cosine_similarity of two": lambda x: F.cosine_similarity(x, x.exp(), dim=-1).unsqueeze(-1),
    "pairwise_distance": lambda x: F.pairwise_distance(x, ROW.expand_as(x), keepdim=True),
    "local response": lambda x: x / (1 + x.pow(2).sum(-1, keepdim=True)) ** 0.75,
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
}

PRODUCTS: dict[str, Operator] = {
    "matmul": lambda x: x @ MATRIX,
    "matmul from the left": lambda x: (MATRIX @ x.transpose(1, 2)).transpose(1, 2),
    "linear": lambda x: F.linear(x, MATRIX, ROW),
    "addmm": lambda x: torch.addmm(ROW, x.reshape(-1, SIZE), MATRIX).reshape(x.shape),
    "addmm of factors": lambda x: torch.addmm(ROW, x.reshape(-1, SIZE), MATRIX, beta=0.5, alpha=2.0).reshape(x.shape),
    "baddbmm": lambda x: torch.baddbmm(ROW.expand(x.size(0), 1, SIZE), x, MATRIX.expand(x.size(0), SIZE, SIZE)),
    "bmm": lambda x: torch.bmm(x, MATRIX.expand(x.size(0), SIZE, SIZE)),
    "einsum": lambda x: torch.einsum("btf,fg->btg", x, MATRIX),
    "einsum transposed": lambda x: torch.einsum("gf,btf->btg", MATRIX, x),
    "einsum of pairs": lambda x: torch.einsum("btpf,gf->btpg", pairs(x), MATRIX[:3, :2]).flatten(2),
    "tensordot": lambda x: torch.tensordot(x, MATRIX, dims=([2], [0])),
    "matmul with a vector": lambda x: (x @ ROW).unsqueeze(-1),
    "bilinear form": lambda x: ((x @ MATRIX) * x).sum(-1, keepdim=True),
    "outer": lambda x: torch.einsum("bti,btj->btij", x[..., :2], x[..., 2:4]).flatten(2),
    "outer by broadcast": lambda x: (x[..., :2, None] * x[..., None, 2:4]).flatten(2),
    "dot of halves": lambda x: (x[..., :3] * x[..., 3:]).sum(-1, keepdim=True),
    "conv of one": lambda x: F.conv1d(x.transpose(1, 2), MATRIX[:, :, None], ROW).transpose(1, 2),
    "bilinear": lambda x: F.bilinear(
        x[..., :2].contiguous(), x[..., 2:4].contiguous(), MATRIX[:3, :4].reshape(3, 2, 2)
    ),
    "cdist": lambda x: torch.cdist(x, MATRIX[None, :3]),
}

MOVES: dict[str, Operator] = {
    "cat": lambda x: torch.cat([x, x.tanh()], -1),
    "cat of a constant": lambda x: torch.cat([x, ROW.expand(x.size(0), x.size(1), SIZE)], -1),
    "cat of ones": lambda x: torch.cat([x, torch.ones_like(x[..., :1])], -1),
    "hstack": lambda x: torch.dstack([x, x]),
    "stack and flatten": lambda x: torch.stack([x, x.tanh()], -1).flatten(2),
    "stack outer and flatten": lambda x: torch.stack([x, x.tanh()], 2).flatten(2),
    "stack and sum": lambda x: torch.stack([x, x.tanh()], -1).sum(-1),
    "stack and mean": lambda x: torch.stack([x, x.tanh()]).mean(0),
    "stack and max": lambda x: torch.stack([x, x.tanh()], 0).max(0).values,
    "split": lambda x: torch.cat(x.split(2, -1)[::-1], -1),
    "split with sizes": lambda x: torch.cat(x.split([1, 5], -1)[::-1], -1),
    "tensor_split": lambda x: torch.cat(torch.tensor_split(x, 4, -1)[::-1], -1),
    "tensor_split at": lambda x: torch.cat(torch.tensor_split(x, (1, 4), -1)[::-1], -1),
    "chunk": lambda x: x.chunk(3, -1)[1] * x.chunk(3, -1)[0],
    "unbind": lambda x: torch.stack(x.unbind(-1)[::-1], -1),
    "unbind of pairs": lambda x: pairs(x).unbind(2)[1],
    "flip": lambda x: x.flip(-1),
    "fliplr": lambda x: torch.flip(x, (2,)) + x,
    "roll": lambda x: x.roll(2, -1),
    "index": lambda x: x[..., PLACES],
    "index of a list": lambda x: x[:, :, [5, 1]],
    "index_select": lambda x: x.index_select(-1, PLACES),
    "index of a mask": lambda x: x[..., MASK],
    "take_along_dim": lambda x: torch.take_along_dim(x, PLACES.expand(x.size(0), x.size(1), 3), -1),
    "gather": lambda x: x.gather(-1, PLACES.expand(x.size(0), x.size(1), 3)),
    "select": lambda x: x[..., 2].unsqueeze(-1),
    "slice": lambda x: x[..., 1:4],
    "slice of a step": lambda x: x[..., ::2],
    "negative slice": lambda x: x[:, :, -2:],
    "narrow": lambda x: x.narrow(-1, 2, 3),
    "even and odd": lambda x: x[..., 0::2] * x[..., 1::2],
    "rotate half": lambda x: torch.cat([-x[..., 3:], x[..., :3]], -1),
    "repeat": lambda x: x.repeat(1, 1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1),
    "tile": lambda x: x.tile((1, 1, 3)),
    "expand of one": lambda x: x[..., :1].expand(-1, -1, 4),
    "broadcast_to": lambda x: torch.broadcast_to(x[..., 2:3], (x.size(0), x.size(1), 3)),
    "pad features": lambda x: F.pad(x, (1, 2)),
    "pad features with a number": lambda x: F.pad(x, (0, 1), value=1.0),
    "cut features by pad": lambda x: F.pad(x, (-1, -2)),
    "unfold features": lambda x: x.unfold(-1, 2, 2).flatten(2),
    "unfold with overlap": lambda x: x.unfold(-1, 3, 1).mean(-1),
    "permute and back": lambda x: x.permute(2, 0, 1).permute(1, 2, 0) * 2,
    "movedim": lambda x: x.movedim(-1, 0).movedim(0, -1),
    "swapaxes of pairs": lambda x: pairs(x).swapaxes(2, 3).flatten(2),
    "pixel order": lambda x: pairs(x).transpose(-1, -2).reshape(x.shape),
    "channel shuffle": lambda x: F.channel_shuffle(x.transpose(1, 2)[..., None], 2)[..., 0].transpose(1, 2),
    "unsqueeze and squeeze": lambda x: x.unsqueeze(2).tanh().squeeze(2),
    "view": lambda x: x.view(x.size(0), x.size(1), 2, 3).flatten(-2),
    "flatten and unflatten": lambda x: x.flatten(0, 1).tanh().unflatten(0, (x.size(0), x.size(1))),
    "unflatten features": lambda x: x.unflatten(-1, (2, 3))[:, :, 1],
    "pairs": lambda x: pairs(x).tanh().reshape(x.shape),
    "pairs, one of each": lambda x: pairs(x)[..., 0],
    "avg_pool over features": lambda x: F.avg_pool1d(x, 2),
    "max_pool over features": lambda x: F.max_pool1d(x, 2),
    "adaptive pool to one": lambda x: F.adaptive_avg_pool1d(x, 1),
    "adaptive max pool to one": lambda x: F.adaptive_max_pool1d(x, 1),
    "conv over features": lambda x: F.conv1d(x.reshape(-1, 1, SIZE), MATRIX[:1, None, :3]).reshape(*x.shape[:2], 4),
    "zeros_like": lambda x: x + torch.zeros_like(x),
    "full_like": lambda x: torch.full_like(x, 0.5) * x,
    "new_tensor": lambda x: x * x.new_full((SIZE,), 0.3),
    "arange": lambda x: x * torch.arange(SIZE),
    "index_fill": lambda x: x.index_fill(-1, PLACES, 0.5),
    "masked_select back": lambda x: x * MASK,
    "triangle of products": lambda x: x @ torch.tril(MATRIX),
    "scatter of a constant": lambda x: torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0),
    "meshless positions": lambda x: x + torch.linspace(0, 1, SIZE),
    "item assignment": lambda x: torch.cat([x[..., :2] * 2, x[..., 2:]], -1),
}

GROUPS: dict[str, dict[str, Operator]] = {
    "functions": FUNCTIONS,
    "activations": ACTIVATIONS,
    "arithmetic": ARITHMETIC,
    "conditions": CONDITIONS,
    "reductions": REDUCTIONS,
    "normalizations": NORMALIZATIONS,
    "products": PRODUCTS,
    "moves": MOVES,
}

NOT_IN_TORCHSCRIPT = frozenset(
    {
        *(
            "addcdiv",
            "addcdiv of constants",
            "cosh",
            "count_nonzero",
            "deg2rad",
            "diff",
            "erfc",
            "exp2",
            "expm1",
            "fix",
        ),
        *("float_power", "frac", "heaviside", "hstack", "hypot", "logaddexp", "positive", "rad2deg", "rms_norm", "sgn"),
        *("sinc", "fmax", "fmin", "xlogy", "copysign", "bucketize"),
        *("rms_norm without epsilon", "sinh", "take_along_dim", "threshold", "trunc"),
    }
)
"""Operators that PyTorch's older exporter does not know."""

CHANGED_BY_TORCHSCRIPT = frozenset(
    {
        *("floor_divide", "floor_divide by a row", "softplus of threshold"),
        *("unfold features", "unfold with overlap"),
    }
)
"""Operators of which it writes something else, without a word."""

INPUT = 4
"""The features of the GRU's input."""


class Behind(nn.Module):
    """An operator behind a GRU and a linear layer."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.gru = nn.GRU(INPUT, 8, batch_first=True)
        self.fc = nn.Linear(8, SIZE)
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(self.fc(self.gru(x)[0]))


class Before(nn.Module):
    """An operator before a GRU."""

    def __init__(self, operator: Operator) -> None:
        super().__init__()
        self.gru = nn.GRU(operator(torch.randn(2, 5, SIZE)).size(-1), 8, batch_first=True)
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(self.operator(x))[0]
