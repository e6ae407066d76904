"""Train UDA4Inst with your own `Dataset` and your own loop: no tree on disk, no configuration.

A labelled and an unlabelled `Dataset` are all the method needs. What `uda4inst train` adds is left
out: run folder, resume, augmentation, schedule. Data: uda4inst data toystreets data/toystreets
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.evaluate import evaluate_model
from uda4inst.methods.base import MethodContext
from uda4inst.methods.uda4inst import UDA4Inst, UDA4InstConfig
from uda4inst.structures import DomainBatch, InstanceMap, Sample, TargetSample
from uda4inst.tasks.instances import INSTANCES

ROOT = Path("data/toystreets")


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB")))


# Yours gives an image, a mask for each object, and classes 0..7: person, rider, car, ...
class Labelled(Dataset[Sample]):
    files = sorted((ROOT / "urbansyn/rgb").glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image, name = read(self.files[index]), self.files[index].name
        colours = read(ROOT / "urbansyn/panoptic" / name.replace("rgb", "panoptic"))
        objects = colours.flatten(0, 1).unique(dim=0)  # a colour each, whose blue is the class
        objects = objects[(objects[:, 2] >= 11) & (objects[:, 2] <= 18)]
        masks = (colours == objects[:, None, None]).all(dim=3)
        instances = InstanceMap.of_masks(masks, objects[:, 2].long() - 11)
        return Sample(image.permute(2, 0, 1) / 255, name, "source", instances)


class Unlabelled(Dataset[TargetSample]):
    files = sorted((ROOT / "cityscapes/leftImg8bit/train").rglob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> TargetSample:
        image = read(self.files[index]).permute(2, 0, 1) / 255
        return TargetSample(image, image[0] >= 0, self.files[index].name)  # valid: everywhere


torch.manual_seed(0)
student, _ = INSTANCES.build_network("tiny", weights="toystreets")
loss = INSTANCES.build_loss(num_points=2048)
config = UDA4InstConfig(score_threshold=0.8, ema_decay=0.9)
method = UDA4Inst(MethodContext(student, INSTANCES, loss, forward=student), config)
optimizer = torch.optim.AdamW(student.parameters(), lr=1e-4)
source = DataLoader(Labelled(), batch_size=2, shuffle=True, collate_fn=tuple)
target = DataLoader(Unlabelled(), batch_size=2, shuffle=True, collate_fn=tuple)
for step, pairs in zip(range(30), zip(source, target, strict=True), strict=False):
    views = method.prepare(DomainBatch(*pairs), step)
    total = torch.stack([t.weight * t.value for t in method.losses(views, step)]).sum()
    optimizer.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 0.1)
    optimizer.step()
    method.after_update(step)
    if step % 10 == 9:
        kept = sum(len(labels.compact()) for labels in views.pseudo_labels)
        print(f"step {step + 1}: loss {total:.1f}, {kept} pseudo-labels, pool {len(views.pool)}")

val = Cityscapes(ROOT / "cityscapes", "val")  # yours needs images, names and Cityscapes' ids
for name, network in method.networks.items():
    result = evaluate_model(network, val, device="cpu", protocols=["cityscapes"], limit=24)
    print(f"{name}: Cityscapes AP50 {100 * result['cityscapes']['AP50']:.1f} on 24 images")
