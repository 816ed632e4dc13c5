"""Train the digits classifier in PyTorch for a small or an 8-bit deployment: QAT, 2:4 pruning, distillation.

    PYTHONPATH=examples/models python examples/training/train_digits.py --out trained [--epochs 6] [--only qat]

writes trained/<recipe>/model.onnx for every recipe and evaluation.npz beside them, and prints one JSON line each. Needs
torch, onnx, numpy and Pillow; docs/training.md says what the recipes are for and how to go on.
"""

import argparse
import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from torch.nn.utils import prune

from example_models import digits

SEED = 2026
CLASSES = 10
OPSET = 17
BATCH = 32
RATE = 2e-3
TUNING_RATE = 5e-4
"""For weights that are good already and only have to get used to 8 bits or to zeros."""
TEMPERATURE = 4.0
RECIPES = ("baseline", "qat", "pruned", "distilled")

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images, the network's logits and the labels to a loss."""


@dataclass(frozen=True)
class Data:
    """What is trained on and what is measured by."""

    images: Tensor
    labels: Tensor
    evaluation: digits.DigitSet


class Classifier(nn.Module):  # type: ignore[misc] # torch is not in the development environment
    """`images` [N, 1, 32, 32] in 0 to 1 to `logits` [N, 10]; `width` is the number of the first channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((1, 1, 2), (1, 2, 2), (2, 4, 1), (4, 4, 2)):
            channels = width * before if layers else 1
            layers += [nn.Conv2d(channels, width * after, 3, stride, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(4 * width, CLASSES)
        for layer in (*self.features, self.head):
            if not isinstance(layer, nn.ReLU):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.features((images - 0.5) * 4).mean((2, 3)))


class QuantisedConv(nn.Conv2d):  # type: ignore[misc]
    """A convolution that trains with the rounding of its signed 8-bit weights, one scale per output channel."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__(source.in_channels, source.out_channels, 3, source.stride, source.padding)
        self.load_state_dict(source.state_dict())
        self.rounding = FakeQuantize(
            MovingAveragePerChannelMinMaxObserver,
            quant_min=-128,
            quant_max=127,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with rounded weights."""
        return self._conv_forward(x, self.rounding(self.weight), self.bias)


def activation_rounding() -> FakeQuantize:
    """Return the rounding of an activation to unsigned 8 bits, which is what CPU kernels multiply by signed weights.

    Its gradient is passed straight through (Bengio et al. 2013, arXiv 1308.3432).
    """
    return FakeQuantize(
        MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8, qscheme=torch.per_tensor_affine
    )


def quantised(source: Classifier) -> Classifier:
    """Return a copy that rounds the input, every convolution's weights and every activation, and not the head."""
    model = copy.deepcopy(source)
    layers: list[nn.Module] = [activation_rounding()]
    for layer in model.features:
        layers += [QuantisedConv(layer)] if isinstance(layer, nn.Conv2d) else [layer, activation_rounding()]
    model.features = nn.Sequential(*layers)
    return model


def prune_2_4(model: Classifier) -> None:
    """Keep, in place, the two largest of every four input channels' weights; the mask holds while training goes on.

    The pattern of sparse tensor cores: A. Mishra et al., Accelerating Sparse Deep Neural Networks, arXiv 2104.08378.
    """
    for layer in [*model.features, model.head]:
        weight = getattr(layer, "weight", None)
        if weight is None or weight.shape[1] % 4:
            continue  # no weights, or (the first layer) no four channels
        groups = weight.detach().abs().unflatten(1, (-1, 4))
        kept = groups.topk(2, dim=2).indices
        mask = torch.zeros_like(groups).scatter_(2, kept, 1.0).flatten(1, 2)
        prune.custom_from_mask(layer, "weight", mask)


def cross_entropy(_: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """The usual loss of a classifier."""
    return nn.functional.cross_entropy(logits, labels)


def taught_by(teacher: Classifier) -> Loss:
    """Return the loss of distillation: half the labels, half the teacher's softened answers.

    G. Hinton et al., Distilling the Knowledge in a Neural Network, arXiv 1503.02531: the factor T^2 keeps the gradients
    of both halves of one size.
    """

    def loss(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = (teacher(images) / TEMPERATURE).softmax(1)
        soft = nn.functional.kl_div((logits / TEMPERATURE).log_softmax(1), wanted, reduction="batchmean")
        return 0.5 * cross_entropy(images, logits, labels) + 0.5 * TEMPERATURE**2 * soft

    return loss


def train(model: Classifier, data: Data, epochs: int, rate: float, loss: Loss = cross_entropy) -> Classifier:
    """Fit the model with Adam, the rate falling along half a cosine; returns it ready to be exported."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(data.images) // BATCH))
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(data.images))
        for chosen in order.split(BATCH)[: len(order) // BATCH]:
            optimizer.zero_grad()
            loss(data.images[chosen], model(data.images[chosen]), data.labels[chosen]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return model


def made(recipe: str, baseline: Classifier, data: Data, epochs: int) -> Classifier:
    """Return the trained network of a recipe, which begins with the baseline or is taught by it."""
    torch.manual_seed(SEED)
    tuning = max(1, epochs // 2)
    match recipe:
        case "qat":
            model = train(quantised(baseline), data, tuning, TUNING_RATE)
            model.apply(torch.ao.quantization.disable_observer)  # the scales are final
            return model
        case "pruned":
            model = copy.deepcopy(baseline)
            prune_2_4(model)
            train(model, data, tuning, TUNING_RATE)
            for layer in model.modules():
                if hasattr(layer, "weight_mask"):
                    prune.remove(layer, "weight")  # the zeros become part of the weights
            return model
        case "distilled":
            return train(Classifier(width=8), data, 2 * epochs, RATE, taught_by(baseline))
        case _:
            return baseline


def export(model: Classifier, path: Path) -> None:
    """Write ONNX with a symbolic batch; every rounding becomes a Q/DQ pair.

    By torch's older exporter: the newer one knows no fake quantisation per channel yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (torch.rand(2, 1, digits.SIZE, digits.SIZE),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "N"}, "logits": {0: "N"}},
        )


def top1(model: Classifier, samples: digits.DigitSet) -> float:
    """Share of images whose largest logit is that of their label."""
    with torch.no_grad():
        answers = model(torch.from_numpy(samples.images)).argmax(1).numpy()
    return float((answers == samples.labels).mean())


def main() -> None:
    """Train, export and measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--images", type=int, default=12_000, help="pictures to train on")
    parser.add_argument("--only", choices=RECIPES, action="append", help="may be repeated; default: all")
    options = parser.parse_args()
    drawn = digits.dataset(np.random.default_rng([SEED, 5]), options.images)
    evaluation = digits.dataset(np.random.default_rng([SEED, 6]), 1000)
    data = Data(torch.from_numpy(drawn.images), torch.from_numpy(drawn.labels), evaluation)
    options.out.mkdir(parents=True, exist_ok=True)
    samples: dict[str, Any] = {"input:images": evaluation.images, "label": evaluation.labels}
    np.savez_compressed(options.out / "evaluation.npz", **samples)
    torch.manual_seed(SEED)
    baseline = train(Classifier(), data, options.epochs, RATE)
    for recipe in options.only or RECIPES:
        model = made(recipe, baseline, data, options.epochs)
        path = options.out / recipe / "model.onnx"
        export(model, path)
        print(json.dumps({"recipe": recipe, "top1": top1(model, evaluation), "bytes": path.stat().st_size}))


if __name__ == "__main__":
    main()
