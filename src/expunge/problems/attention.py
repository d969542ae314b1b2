"""Small transformers of our own, for pictures and for text."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

_SMALL = 0.02  # deviation of what places add at first


def vit(
    *, size: int = 32, patch: int = 4, width: int = 96, depth: int = 6, classes: int = 10,
    channels: int = 3,
) -> nn.Module:  # fmt: skip
    """A transformer that reads a picture as a row of patches."""
    count = (size // patch) ** 2
    return nn.Sequential(
        nn.Conv2d(channels, width, patch, patch),
        nn.Flatten(2),
        Places(count, width),
        *(Attention(width) for _ in range(depth)),
        nn.LayerNorm(width),
        Mean(),
        nn.Linear(width, classes),
    )


class TextTransformer(nn.Module):
    """A transformer that reads numbered words, and the mean of what it says of them."""

    def __init__(
        self, *, words: int, length: int, width: int = 64, depth: int = 2, classes: int = 2
    ) -> None:
        """The first number stands for no word."""
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        self.places = nn.Parameter(torch.randn(length, width) * _SMALL)
        self.blocks = nn.ModuleList(Attention(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"]
    ) -> Float[Tensor, "n c"]:
        """Logits of every text."""
        there = attention_mask.bool()
        said = self.words(input_ids) + self.places[: input_ids.shape[1]]
        for block in self.blocks:
            said = block(said, there)
        kept = self.norm(said) * there[..., None]
        logits: Tensor = self.head(kept.sum(1) / there.sum(1, keepdim=True).clamp_min(1))
        return logits


class Attention(nn.Module):
    """What a place hears of all others, then a perceptron; each is added to what came in."""

    def __init__(self, width: int, head: int = 32) -> None:
        """As many heads as ``width`` has room for, and can be shared out among."""
        super().__init__()
        room = max(1, width // head)
        self.heads = next(count for count in range(room, 0, -1) if width % count == 0)
        self.hears = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width))
        self.says = nn.Linear(width, width)
        self.thinks = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self, x: Float[Tensor, "n t d"], there: Bool[Tensor, "n t"] | None = None
    ) -> Float[Tensor, "n t d"]:
        """Features of the next block; places that are not ``there`` are not heard."""
        asks, keys, told = self.hears(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if there is None else there[:, None, None, :]
        heard = F.scaled_dot_product_attention(asks, keys, told, attn_mask=mask)
        x = x + self.says(heard.transpose(1, 2).flatten(2))
        return x + self.thinks(x)  # type: ignore[no-any-return]


class Places(nn.Module):
    """Patches as rows, each with what its place adds."""

    def __init__(self, count: int, width: int) -> None:
        """Places are learnt."""
        super().__init__()
        self.places = nn.Parameter(torch.randn(count, width) * _SMALL)

    def forward(self, x: Float[Tensor, "n d t"]) -> Float[Tensor, "n t d"]:
        """One row a patch."""
        return x.transpose(1, 2) + self.places


class Mean(nn.Module):
    """The mean over all places."""

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n d"]:
        """One row a sample."""
        return x.mean(1)
