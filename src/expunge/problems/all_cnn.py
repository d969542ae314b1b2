"""AllCNN: a network of convolutions alone (Springenberg and others, 2015), with BatchNorm."""

from torch import nn


def all_cnn(*, width: int = 96, classes: int = 10, channels: int = 3) -> nn.Module:
    """Convolutions throughout: strides in place of pooling, and a mean before the last layer."""
    wide = 2 * width
    sizes = [(width, 1), (width, 1), (width, 2), (wide, 1), (wide, 1), (wide, 2), (wide, 1)]
    layers: list[nn.Module] = []
    for after, stride in sizes:
        layers += _convolution(channels, after, stride, size=3)
        channels = after
    layers += _convolution(wide, wide, 1, size=1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, classes))


def _convolution(before: int, after: int, stride: int, *, size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]
