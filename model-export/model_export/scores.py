"""Score functions: how well the decoder's state s_t and the annotation h_j of source word j go together, e_tj.

`keys` is what a score needs of the annotations, worked out once for each sentence; the module itself gives the energies
of K queries at once, be they beams or steps. None of them copies what a sentence's beams share.

Letters in the shape comments:
    B sentences   S source length   K queries   D query   M annotation   A attention   P positions
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Score(nn.Module):
    """The interface, and what scores without weights for the annotations share."""

    def keys(self, annotations: Tensor) -> Tensor:
        """Of annotations [B, S, M]; [B, S, ...]."""
        return annotations

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Energies [B, K, S] of queries [B, K, D]; padding is not looked at here."""
        raise NotImplementedError


class Additive(Score):
    """v' tanh(W_s s_t + W_h h_j): Bahdanau, Cho, Bengio 2015 (arXiv 1409.0473), appendix A.1.2."""

    def __init__(self, query: int, annotation: int, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(annotation, size)
        self.query = nn.Linear(query, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def keys(self, annotations: Tensor) -> Tensor:
        projected: Tensor = self.key(annotations)  # [B, S, A]
        return projected

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        hidden = torch.tanh(keys[:, None] + self.query(query)[:, :, None])  # [B, K, S, A]
        energies: Tensor = self.score(hidden).squeeze(3)  # [B, K, S]
        return energies


class Concat(Additive):
    """v' tanh(W [s_t; h_j]): Luong, Pham, Manning 2015 (arXiv 1508.04025), section 3.1, `concat`.

    W [s_t; h_j] is the sum of a product with each part, so this is `Additive`, and no S x K concatenations are made.
    """


class Dot(Score):
    """s_t' h_j: Luong 2015, section 3.1, `dot`."""

    def __init__(self, query: int, annotation: int) -> None:
        super().__init__()
        if query != annotation:
            raise ValueError(f"a dot product needs states as wide as the annotations ({annotation}): was {query}")

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)  # [B, K, S]


class General(Score):
    """s_t' W h_j: Luong 2015, section 3.1, `general`."""

    def __init__(self, query: int, annotation: int) -> None:
        super().__init__()
        self.key = nn.Linear(annotation, query, bias=False)

    def keys(self, annotations: Tensor) -> Tensor:
        projected: Tensor = self.key(annotations)  # [B, S, D]
        return projected

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)  # [B, K, S]


class ScaledDot(Dot):
    """s_t' h_j / sqrt(M): Vaswani et al. 2017 (arXiv 1706.03762), section 3.2.1, equation 1, on recurrent states."""

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        return super().forward(query * keys.shape[2] ** -0.5, keys)


class Cosine(Score):
    """b_t cos(W s_t, h_j): Graves, Wayne, Danihelka 2014 (arXiv 1410.5401), section 3.3.1, equations 5 and 6.

    The strength b_t > 0 is the paper's; without it no weight could be more than e^2 times another.
    """

    def __init__(self, query: int, annotation: int) -> None:
        super().__init__()
        self.query = nn.Linear(query, annotation)
        self.strength = nn.Linear(query, 1)
        nn.init.constant_(self.strength.bias, 4.0)

    def keys(self, annotations: Tensor) -> Tensor:
        return F.normalize(annotations, dim=2)  # [B, S, M]

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        direction: Tensor = F.normalize(self.query(query), dim=2)  # [B, K, M]
        strength: Tensor = F.softplus(self.strength(query))  # [B, K, 1]
        return strength * (direction @ keys.transpose(1, 2))  # [B, K, S]


class Location(Score):
    """W s_t, one energy for each source position: Luong 2015, section 3.1, equation 8.

    There are weights for `positions` words. A longer sentence is translated, but its words from there on are at -inf:
    they get no attention at all.
    """

    def __init__(self, query: int, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.energy = nn.Linear(query, positions)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        position = torch.arange(keys.shape[1], device=keys.device)  # [S]
        energies: Tensor = self.energy(query).index_select(2, position.clamp(max=self.positions - 1))  # [B, K, S]
        return energies.masked_fill(position >= self.positions, float("-inf"))


SCORES: dict[str, Callable[[int, int, int], Score]] = {
    "additive": Additive,
    "concat": Concat,
    "dot": lambda query, annotation, _: Dot(query, annotation),
    "general": lambda query, annotation, _: General(query, annotation),
    "scaled_dot": lambda query, annotation, _: ScaledDot(query, annotation),
    "cosine": lambda query, annotation, _: Cosine(query, annotation),
    "location": lambda query, _, positions: Location(query, positions),
}
"""Each made of the sizes of query and annotation and one of its own: A, for `location` the number of positions."""
