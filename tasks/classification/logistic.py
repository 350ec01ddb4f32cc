"""Regularised logistic regression for many labels and many strengths in one batched solve.

The objective of every (label, strength C) is scikit-learn's, sum_i loss_i + |w|^2 / (2 C), intercept unpenalised:
sigmoid cross-entropy for independent labels, softmax cross-entropy for classes. All problems share the features, so
one matrix product serves all of them. Three facts make it fast:

* Rotating the features once into the eigenbasis of their Gram matrix makes that matrix diagonal, and a diagonal
  preconditioner (curvature bound x eigenvalue + 1/C; Boehning 1992) then removes the ill-conditioning that a decaying
  spectrum brings. With fewer rows than features the problem shrinks to the span of the rows, exactly.
* L-BFGS (Nocedal and Wright, algorithm 7.4) runs on all problems at once, column by column; converged columns leave.
* Margins are linear in the step, so the line search needs no matrix product.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

HISTORY = 10
MAX_ITERATIONS = 500
TOLERANCE = 1e-9  # expected decrease of the objective, in nats per row, at which a problem counts as solved


@dataclass(frozen=True)
class LinearModel:
    """Weights [P, K, D] and intercepts [P, K] of P problems with K outputs, on the features as given to ``fit``."""

    weights: Tensor
    intercepts: Tensor
    converged: Tensor  # [P] bool: whether TOLERANCE was met within MAX_ITERATIONS

    def margins(self, features: Tensor) -> Tensor:
        """Margins [n, P, K] (logits) of features [n, D]."""
        problems, outputs, width = self.weights.shape
        flat = features.to(self.weights.dtype) @ self.weights.reshape(-1, width).T
        return flat.reshape(-1, problems, outputs) + self.intercepts


def fit_sigmoid(features: Tensor, targets: Tensor, strengths: Tensor) -> LinearModel:
    """Fit every label at every strength: P = strengths x labels problems (strength-major) with one output each.

    features: [n, D], centred; targets: [n, L] of 0, 1 or NaN (row does not count for that label); strengths: [S],
    scikit-learn's C. A label needs both classes among its known rows.
    """
    labels = targets.shape[1]
    observed = ~targets.isnan()
    y = targets.nan_to_num(0.0).to(features).repeat(1, len(strengths)).unsqueeze(2)
    mask = observed.to(features).repeat(1, len(strengths)).unsqueeze(2)
    prevalence = ((y * mask).sum(0) / mask.sum(0)).squeeze(1)
    curvature = (prevalence * (1 - prevalence)).clamp_min(1e-3)
    inverse_c = (1.0 / strengths).to(features).repeat_interleave(labels)
    return _solve(features, y, mask, inverse_c, curvature, softmax=False)


def fit_softmax(features: Tensor, targets: Tensor, strengths: Tensor) -> LinearModel:
    """Fit a multinomial model at every strength: P = S problems with K = classes outputs.

    features: [n, D], centred; targets: [n, K] one-hot; strengths: [S], scikit-learn's C.
    """
    y = targets.to(features).unsqueeze(1).expand(-1, len(strengths), -1)
    share = targets.to(features).mean(0)
    curvature = (share * (1 - share)).mean().clamp_min(1e-3).expand(len(strengths))
    return _solve(features, y, torch.ones_like(y[:, :, :1]), (1.0 / strengths).to(features), curvature, softmax=True)


def _basis(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates [n, r] in the eigenbasis of the Gram matrix, the basis [D, r], and the eigenvalues [r]."""
    rows, width = features.shape
    exact = features.double()
    if rows >= width:
        eigenvalues, basis = torch.linalg.eigh(exact.T @ exact)
    else:
        eigenvalues, left = torch.linalg.eigh(exact @ exact.T)
        basis = exact.T @ left / eigenvalues.clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    kept = eigenvalues > eigenvalues.max().clamp_min(1e-30) * 1e-7  # float32's own noise floor
    basis = basis[:, kept].to(features)
    return features @ basis, basis, eigenvalues[kept].to(features)


def _solve(x: Tensor, y: Tensor, mask: Tensor, inverse_c: Tensor, curvature: Tensor, *, softmax: bool) -> LinearModel:
    """Batched preconditioned L-BFGS. y: [n, P, K]; mask: [n, P, 1]; inverse_c, curvature: [P]."""
    coordinates, basis, eigenvalues = _basis(x)
    rows, problems, outputs = y.shape
    z = torch.cat([coordinates, x.new_ones(rows, 1)], 1)  # the last, or only, column carries the intercept
    size = z.shape[1]
    penalty = inverse_c[None, :, None].expand(size, problems, outputs).clone()
    penalty[-1] = 0.0
    spectrum = torch.cat([eigenvalues, eigenvalues.new_tensor([float(rows)])])
    scale = 1.0 / (curvature[None, :] * spectrum[:, None] + penalty[:, :, 0]).unsqueeze(2)  # [size, P, 1]

    solution = z.new_zeros(size, problems, outputs)
    done = torch.zeros(problems, dtype=torch.bool)
    active = torch.arange(problems)
    w = solution.clone()
    u = z.new_zeros(rows, problems, outputs)
    y, mask = y.contiguous(), mask.contiguous()
    g = _gradient(z, u, y, mask, w, penalty, softmax)
    steps: list[Tensor] = []
    changes: list[Tensor] = []
    for _ in range(MAX_ITERATIONS):
        direction = -_two_loop(g, steps, changes, scale)
        slope = (g * direction).sum((0, 2))
        finished = -slope <= TOLERANCE * rows
        if bool(finished.any()):
            solution[:, active[finished]] = w[:, finished]
            done[active[finished]] = True
            keep = ~finished
            active, slope = active[keep], slope[keep]
            w, u, g, y, mask, penalty, scale, direction = (
                t[:, keep] for t in (w, u, g, y, mask, penalty, scale, direction)
            )
            steps, changes = [s[:, keep] for s in steps], [c[:, keep] for c in changes]
            if not len(active):
                break
        du = (z @ direction.reshape(size, -1)).reshape(rows, -1, outputs)
        t = _step_length(u, du, y, mask, w, direction, penalty, slope, softmax)
        step = t[None, :, None] * direction
        w, u = w + step, u + t[None, :, None] * du
        g_next = _gradient(z, u, y, mask, w, penalty, softmax)
        steps, changes = [*steps, step][-HISTORY:], [*changes, g_next - g][-HISTORY:]
        g = g_next
    solution[:, active] = w
    weights = torch.einsum("dr,rpk->pkd", basis, solution[:-1])
    return LinearModel(weights, solution[-1], done)


def _residual(u: Tensor, y: Tensor, mask: Tensor, softmax: bool) -> Tensor:
    return ((u.softmax(2) if softmax else u.sigmoid()) - y) * mask


def _gradient(z: Tensor, u: Tensor, y: Tensor, mask: Tensor, w: Tensor, penalty: Tensor, softmax: bool) -> Tensor:
    residual = _residual(u, y, mask, softmax)
    return (z.T @ residual.reshape(len(z), -1)).reshape_as(w) + penalty * w


def _two_loop(g: Tensor, steps: list[Tensor], changes: list[Tensor], scale: Tensor) -> Tensor:
    """The L-BFGS direction of every problem; pairs without positive curvature are left out, per problem."""
    q = g
    kept = []
    for s, c in zip(reversed(steps), reversed(changes), strict=True):
        curvature = (s * c).sum((0, 2))
        rho = torch.where(curvature > 0, 1.0 / curvature.clamp_min(torch.finfo(g.dtype).tiny), 0.0)
        alpha = rho * (s * q).sum((0, 2))
        q = q - alpha[None, :, None] * c
        kept.append((s, c, rho, alpha))
    q = scale * q
    for s, c, rho, alpha in reversed(kept):
        beta = rho * (c * q).sum((0, 2))
        q = q + (alpha - beta)[None, :, None] * s
    return q


def _step_length(
    u: Tensor, du: Tensor, y: Tensor, mask: Tensor, w: Tensor, d: Tensor, penalty: Tensor, slope: Tensor, softmax: bool
) -> Tensor:
    """Step lengths [P] that nearly minimise each convex objective along its direction.

    Newton's method on the derivative, kept inside a bracket: derivatives, unlike values, stay accurate in float32
    near the optimum.
    """
    linear, quadratic = (penalty * w * d).sum((0, 2)), (penalty * d * d).sum((0, 2))
    t = torch.zeros_like(slope)
    low, high = torch.zeros_like(t), torch.full_like(t, torch.inf)
    derivative = slope
    for _ in range(8):
        probability = (u + t[None, :, None] * du).softmax(2) if softmax else (u + t[None, :, None] * du).sigmoid()
        if softmax:
            spread = (probability * du * du).sum(2) - (probability * du).sum(2) ** 2
            second = (spread * mask[:, :, 0]).sum(0)
        else:
            second = (probability * (1 - probability) * du * du * mask).sum((0, 2))
        t_next = t - derivative / (second + quadratic).clamp_min(torch.finfo(t.dtype).tiny)
        middle = torch.where(high.isinf(), 2 * low.clamp_min(0.5), (low + high) / 2)
        t = torch.where((t_next > low) & (t_next < high), t_next, middle)
        residual = _residual(u + t[None, :, None] * du, y, mask, softmax)
        derivative = (residual * du).sum((0, 2)) + linear + t * quadratic
        low, high = torch.where(derivative < 0, t, low), torch.where(derivative > 0, t, high)
        if bool((derivative.abs() <= 0.3 * slope.abs()).all()):
            break
    return t
