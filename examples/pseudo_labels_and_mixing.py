"""Pseudo-labels and mixing from Python: what UDA4Inst's student sees, and a picture of it.

Data: uda4inst data toystreets data/toystreets. Writes s2t.png and t2s.png.
"""

from pathlib import Path

import torch
from PIL import Image

from uda4inst.data.readers import Cityscapes, UrbanSyn
from uda4inst.draw import overlay_instances
from uda4inst.models.mask2former.decode import decode
from uda4inst.models.mask2former.network import build_model
from uda4inst.uda.mixing import Origin, mix
from uda4inst.uda.pseudo_labels import select

source = UrbanSyn(Path("data/toystreets/urbansyn")).sample(13)
target = Cityscapes(Path("data/toystreets/cityscapes"), "train").sample(13)

# The teacher's pseudo-labels: detections that score more than 0.8, made disjoint.
teacher = build_model("tiny", weights="toystreets")[0].eval()
with torch.no_grad():
    (detections,) = decode(teacher(target.image[None]))
everywhere = torch.ones(target.size, dtype=torch.bool)  # or False on the ego vehicle
pseudo_labels = select(detections, score_threshold=0.8, valid=everywhere)

# Both ways: source objects into the target image, pseudo-labelled objects into the source image.
objects = source.known_instances()
s2t = mix(target.image, pseudo_labels, source.image, objects, origin=Origin.SOURCE_INSTANCE)
t2s = mix(source.image, objects, target.image, pseudo_labels, origin=Origin.PSEUDO_LABEL)

print(f"source: {len(objects.compact())} objects")
print(f"target: {len(pseudo_labels.compact())} pseudo-labels of {len(detections)} detections")
for name, mixed in (("s2t", s2t), ("t2s", t2s)):
    pasted = (mixed.origin > Origin.BASE).float().mean()
    pixels, instances = mixed.image.permute(1, 2, 0).mul(255).byte().numpy(), mixed.instances
    picture = overlay_instances(pixels, instances.ids.numpy(), instances.labels.numpy())
    Image.fromarray(picture).save(f"{name}.png")
    print(f"{name}: {len(instances.compact())} objects, {pasted:.1%} of the image pasted")
