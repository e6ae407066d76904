"""Use our loss and our AP in another project, with a network of its own.

`Criterion` takes class and mask logits of whatever predicts a set of masks (a mask logit for 4x4
pixels), `CityscapesAP` takes scored masks as arrays. The network learns four pictures by heart,
which is how a loss is tried first. Data: uda4inst data toystreets data/toystreets
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from uda4inst.classes import THING_NAMES
from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.cityscapes_ap import CityscapesAP
from uda4inst.formats.predictions import ScoredMask
from uda4inst.models.mask2former.criterion import Criterion
from uda4inst.models.mask2former.prediction import Prediction

IMAGES, QUERIES, WIDTH = 4, 10, 64


class ByHeart(nn.Module):
    """Queries of every picture of its own, and a small convolution they are compared with."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(IMAGES, QUERIES, WIDTH) / WIDTH**0.5)
        self.classes = nn.Linear(WIDTH, len(THING_NAMES) + 1)  # the last one is "no object"
        self.pixels = nn.Sequential(
            nn.Conv2d(5, WIDTH, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 1),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        count, _, height, width = images.shape
        rows = torch.linspace(-1, 1, height)[:, None].expand(count, 1, height, width)
        columns = torch.linspace(-2, 2, width).expand(count, 1, height, width)
        features = self.pixels(torch.cat([images, rows, columns], dim=1))
        masks = torch.einsum("bqc,bchw->bqhw", self.queries, features)
        return self.classes(self.queries), masks


dataset = Cityscapes(Path("data/toystreets/cityscapes"), "val")
samples = [dataset.sample(index) for index in range(IMAGES)]
images = torch.stack([sample.image for sample in samples])
truth = [sample.known_instances() for sample in samples]

torch.manual_seed(0)
network, criterion = ByHeart(), Criterion(num_points=1024)
optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
for step in range(300):
    class_logits, mask_logits = network(images)
    # One layer here; with several, their losses are summed.
    prediction = Prediction(class_logits[None], (mask_logits,), size=samples[0].size)
    losses = criterion(prediction, truth)
    optimizer.zero_grad()
    losses.total.backward()
    optimizer.step()
    if step % 100 == 99:
        terms = losses.class_loss, losses.mask_loss, losses.dice_loss
        print(f"step {step + 1}: class, mask, dice", *(f"{term:.2f}" for term in terms))

ap = CityscapesAP()
with torch.no_grad():
    class_logits, mask_logits = network(images)
probabilities = class_logits.softmax(-1)[..., :-1]
masks = nn.functional.interpolate(mask_logits, scale_factor=4, mode="bilinear") > 0
for index in range(IMAGES):
    scores, labels = probabilities[index].max(-1)
    rows = zip(labels.tolist(), scores.tolist(), masks[index].numpy(), strict=True)
    ap.add(dataset.read_instance_ids(index), [ScoredMask(*row) for row in rows])
result = ap.result().to_json()
print(f"AP {100 * result['AP']:.1f}, AP50 {100 * result['AP50']:.1f} on the same {IMAGES} images")
