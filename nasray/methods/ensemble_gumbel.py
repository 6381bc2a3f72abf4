"""The ensemble Gumbel-Softmax estimator (EGS) of DATA, and its exact laws.

J. Chang, X. Zhang, Y. Guo, G. Meng, S. Xiang, C. Pan, "Differentiable Architecture Search with Ensemble
Gumbel-Softmax", arXiv:1905.01786. A Gumbel-Softmax estimator draws one of K candidates with probabilities p; the
ensemble draws M times and takes the union, so that any 1 to min(K, M) candidates can come out together:

    y^m = softmax((log p + g^m) / T)                    g^m: independent Gumbel noise
    c^m = onehot(argmax y^m) + y^m - stopgradient(y^m)  straight through
    A   = max_m c^m                                     the union; its gradient goes to the y that attains the maximum,
                                                        of candidates that were not drawn to the first y
    w   = A / sum(A)                                    what the candidates' outputs are multiplied by

methods.md 4.2 and 4.4. Suffixes: M samples, G groups that choose independently, K candidates of a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nasray.gates import Mask

Floats = npt.NDArray[np.float64]

_TINY = 1e-10
"""Added to p before its logarithm (released code)."""


@dataclass(frozen=True)
class Sample:
    """What an ensemble drew."""

    weights_GK: Tensor
    """w, differentiable in p, on its device."""
    support_GK: Mask
    """Which candidates were drawn, on the host: where it is false, w is zero exactly, but has a gradient all the same:
    that of the candidate's output, which so must be computed to have the estimator's."""


def sample(p_GK: Tensor, noise_MGK: Floats, temperature: float, counted_GK: Tensor | None = None) -> Sample:
    """Draw the union of M samples in every group.

    What was drawn must be known on the host, for it decides which operations the weights' step computes: p is copied
    there, once for all groups, and all else stays on its device. The law of the draw does not depend on the
    temperature.

    Args:
        p_GK: probabilities of every group's candidates.
        noise_MGK: independent Gumbel noise; minus infinity where a group has no such candidate.
        temperature: T, of the gradient.
        counted_GK: 1 for the candidates that enter the sum that divides A, else 0; None counts them all. Where a
            group draws none of them it is divided by 1 (our choice: the released code divides by 1e-9).
    """
    host_p_GK = p_GK.detach().cpu().double().numpy()
    drawn_MG = (np.log(host_p_GK + _TINY) + noise_MGK).argmax(axis=2)
    onehot_MGK = np.eye(p_GK.shape[1], dtype=bool)[drawn_MG]
    soft_MGK = torch.softmax((torch.log(p_GK + _TINY) + torch.from_numpy(noise_MGK).to(p_GK)) / temperature, dim=2)
    # The bracket is zero exactly, so that codes are 0 and 1 exactly, and of equal ones the first is the maximum.
    codes_MGK = torch.from_numpy(onehot_MGK).to(p_GK) + (soft_MGK - soft_MGK.detach())
    union_GK = codes_MGK.max(dim=0).values
    number_G1 = (union_GK if counted_GK is None else union_GK * counted_GK).sum(dim=1, keepdim=True)
    return Sample(union_GK / torch.where(number_G1 > 0, number_G1, 1.0), onehot_MGK.any(axis=0))


def exact_prefix_probabilities(p_K: Floats, samples: int) -> Floats:
    """P_1, ..., P_min(K, M): the probability that the M draws are exactly the first k candidates, each at least once.

    With f_k(n) that probability for n draws, of which j are the k-th candidate,

        f_0(n) = [n = 0]        f_k(n) = sum_{j=1..n} C(n, j) p_k^j f_{k-1}(n - j)        P_k = f_k(M),

    which is the sum over compositions of methods.md 4.4 at a cost of K M^2; no term is negative, so nothing cancels.
    """
    n = np.arange(samples + 1)
    j = n[:, None] - n
    ways = np.array([[math.comb(a, b) if a > b else 0 for b in n] for a in n], dtype=np.float64)
    f = (n == 0).astype(np.float64)
    found = []
    for p in p_K[:samples]:
        f = (ways * p ** np.maximum(j, 0)) @ f
        found.append(f[samples])
    return np.array(found)


def support_probability(p_K: Floats, samples: int, support: Sequence[int]) -> float:
    """Probability that the union of M draws is exactly a set of candidates.

    Equal to sum_{T in S} (-1)^(|S|-|T|) (sum_{k in T} p_k)^M, the law of methods.md 4.2, without its cancellation.
    """
    if not 1 <= len(support) <= samples:
        return 0.0
    return float(exact_prefix_probabilities(p_K[list(support)], samples)[-1])


def most_likely_support(p_K: Floats, samples: int) -> npt.NDArray[np.intp]:
    """The k most likely candidates, with the k at which they are most likely all that M draws give (methods.md 4.4).

    The most likely candidate comes first; of equally likely k the smallest is taken. p need not be normalised: a
    common factor multiplies every P_k alike.
    """
    order = np.argsort(-p_K, kind="stable")
    return order[: exact_prefix_probabilities(p_K[order], samples).argmax() + 1]
