"""A small network learns to remove noise from photographs; pardata's workers cut, turn and spoil the pieces.

The photographs come with scikit-image. A worker takes a random piece of one, turns and mirrors it, and adds noise; the
network sees the noisy piece and learns what the noise was. At the end the loss has fallen, and an epoch that is begun
again in the middle has the rest of its pieces.

    pip install -e ".[torch,examples]"
    python examples/train.py --workers 2
"""

import argparse
import time

import numpy as np
import torch
from skimage import data
from torch import nn
from torch.utils.data import Dataset

import pardata
import pardata.torch

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
NOISE = 0.1


class Pieces(Dataset):
    """Pairs of a noisy piece of a photograph and the piece itself, of shape (3, side, side) and values 0 to 1."""

    def __init__(self, count, side):
        self.count, self.side = count, side
        self.photos = [np.ascontiguousarray(getattr(data, name)().transpose(2, 0, 1)) for name in PHOTOS]
        for photo in self.photos:
            photo.setflags(write=False)  # one for all workers

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        random = pardata.worker().random  # the same numbers for this item, whichever worker makes it
        photo = self.photos[index % len(self.photos)]
        top, left = (random.integers(length - self.side) for length in photo.shape[1:])
        piece = photo[:, top : top + self.side, left : left + self.side].astype(np.float32) / 255
        piece = np.rot90(piece[:, :, :: random.choice([-1, 1])], random.integers(4), axes=(1, 2))
        return piece + NOISE * random.standard_normal(piece.shape, np.float32), piece


def network(width):
    """A network that estimates the noise in a picture."""
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pieces", type=int, default=512, help="per epoch")
    parser.add_argument("--side", type=int, default=64, help="of a piece, in pixels")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = network(16)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    pieces = Pieces(options.pieces, options.side)
    losses = []
    with pardata.torch.Loader(pieces, 16, shuffle=True, workers=options.workers, seed=0) as loader:
        for epoch in range(options.epochs):
            begin, total = time.perf_counter(), 0.0
            for noisy, clean in loader:
                loss = nn.functional.mse_loss(model(noisy), noisy - clean)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            losses.append(total / len(loader))
            print(f"epoch {epoch}: loss {losses[-1]:.5f}, {time.perf_counter() - begin:.1f} s")

        for step, _ in enumerate(loader, 1):
            if step == len(loader) // 2:
                checkpoint = loader.state_dict()
                break
        loader.load_state_dict(checkpoint)
        rest = sum(1 for _ in loader)
    print(f"{step} batches, then a new start from a checkpoint: {rest} more make the epoch whole")
    assert step + rest == len(loader) and losses[-1] < losses[0]
    print(f"the loss fell from {losses[0]:.5f} to {losses[-1]:.5f}; doing nothing has {NOISE**2:.5f}")


if __name__ == "__main__":
    main()
