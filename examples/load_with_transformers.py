"""Load our Mask2Former with `transformers` alone: the same outputs, and a folder for others.

`python examples/load_with_transformers.py runs/demo/checkpoints/00000450/teacher.safetensors`, or
without a file the start that comes with the package.
"""

import sys
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import Mask2FormerForUniversalSegmentation
from transformers.utils.logging import disable_progress_bar

from uda4inst.models.mask2former.network import build_model
from uda4inst.models.mask2former.presets import MODEL_PRESETS
from uda4inst.models.mask2former.pretrained import TOYSTREETS_FILE
from uda4inst.models.pixels import IMAGENET_MEAN, IMAGENET_STD

disable_progress_bar()
path = Path(sys.argv[1]) if len(sys.argv) > 1 else TOYSTREETS_FILE
with safe_open(path, framework="pt") as file:
    facts = file.metadata()  # which architecture it is

# The library's class and ours have the same names for the same weights.
weights = {name.removeprefix("network."): tensor for name, tensor in load_file(path).items()}
config = MODEL_PRESETS[facts["preset"]].config(int(facts["num_classes"]))
theirs = Mask2FormerForUniversalSegmentation(config).eval()
missing, unexpected = theirs.load_state_dict(weights, strict=False)
print(f"{len(weights)} tensors loaded, {len(unexpected)} unexpected")
print(f"not in our file, and without effect on outputs: {', '.join(missing)}")

# Equal outputs. We take RGB in [0, 1]; the library wants it normalised, and in multiples of 32.
images = torch.rand(2, 3, 128, 256, generator=torch.Generator().manual_seed(0))
mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
ours = build_model(facts["preset"], weights=path, num_classes=int(facts["num_classes"]))[0].eval()
with torch.no_grad():
    our, their = ours(images), theirs(pixel_values=(images - mean) / std)
for name, one, other in (
    ("class logits", our.class_logits[-1], their.class_queries_logits),
    ("mask logits", our.mask_logits[-1], their.masks_queries_logits),
):
    print(f"{name}: largest difference {(one - other).abs().max():.0e}")
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)

# A folder for `from_pretrained` and the hub; `model.weights=FOLDER` takes it, too.
with tempfile.TemporaryDirectory() as folder:
    theirs.save_pretrained(folder)
    again = Mask2FormerForUniversalSegmentation.from_pretrained(folder)
    print(f"from_pretrained: {again.num_parameters():,} parameters")
    print(build_model(facts["preset"], weights=folder)[1])
