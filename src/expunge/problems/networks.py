"""Small, fast networks of our own, for problems that everybody can run again."""

from torch import Tensor, nn
from torch.nn import functional as F


def mlp(*, inputs: int, width: int, classes: int) -> nn.Module:
    """Two hidden layers of equal width, for rows of features."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )


def small_cnn(
    *, channels: int = 1, width: int = 16, classes: int = 10, depth: int = 3
) -> nn.Module:
    """Convolutions that double in number and halve in size, then a perceptron of one layer."""
    layers: list[nn.Module] = []
    for stage in range(depth):
        wide = width * 2**stage
        layers += [*_convolution(channels, wide), nn.MaxPool2d(2)]
        channels = wide
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * channels, 128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


def resnet18(*, width: int = 64, classes: int = 10, channels: int = 3) -> nn.Module:
    """The residual network of 18 layers for small pictures: no stride and no pooling at first."""
    stages: list[nn.Module] = []
    before = width
    for stage in range(4):
        wide = width * 2**stage
        stages += [Block(before, wide, stride=1 if stage == 0 else 2), Block(wide, wide)]
        before = wide
    return nn.Sequential(
        *_convolution(channels, width),
        *stages,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(before, classes),
    )


class Block(nn.Module):
    """Two convolutions, and what came in added to what they say."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        """Keep the size and width, or change both."""
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(before, after, stride), *_convolution(after, after)[:2]
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            shape = nn.Conv2d(before, after, 1, stride, bias=False)
            self.skip = nn.Sequential(shape, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next block."""
        return F.relu_(self.body(x).add_(self.skip(x)))


def _convolution(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]
