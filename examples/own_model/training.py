"""How the model is trained. `python training.py` trains the original and keeps its weights."""

import torch
from data import task, train
from model import build
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

EPOCHS, BATCH, LR = 25, 32, 3e-3


def fit(model: nn.Module, dataset: Dataset) -> nn.Module:
    """Train a fresh model; expunge calls it again to make the models to compare with."""
    reading = task()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    for _ in range(EPOCHS):
        for batch in DataLoader(dataset, BATCH, shuffle=True, drop_last=True):
            logits = model(**reading.inputs(batch))
            optimizer.zero_grad()
            F.cross_entropy(logits, reading.labels(batch)).backward()
            optimizer.step()
    return model.eval()


if __name__ == "__main__":
    torch.manual_seed(0)
    save_model(fit(build(), train()), "model.safetensors")
