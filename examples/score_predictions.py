"""Score predictions made elsewhere, whatever made them: one JSON of masks, two protocols.

Here they come from a "detector" that knows where each object is but calls its whole box the object:
what is left to win by masks. The same from a shell, for any data set with instances:
    uda4inst evaluate --predictions predictions.json --target data/toystreets/cityscapes
A Cityscapes submission (a folder of text files and masks) is scored in the same way.

Data: uda4inst data toystreets data/toystreets.
"""

import json
from pathlib import Path

from uda4inst.data.readers import Cityscapes
from uda4inst.evaluation.scoring import evaluate_predictions
from uda4inst.ops.masks import boxes_xyxy

dataset = Cityscapes(Path("data/toystreets/cityscapes"), "val")

# COCO's results format: masks as polygons (here) or run-length codes. Images go by their names or
# by numbers from 1, classes by 1..8 (person, rider, car, ...) or by Cityscapes' ids 24..33.
entries: list[dict[str, object]] = []
for index in range(len(dataset)):
    sample = dataset.sample(index)
    objects = sample.known_instances()
    boxes, labels = boxes_xyxy(objects).tolist(), objects.labels.tolist()
    for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
        entries.append(
            {
                "image_id": sample.sample_id,
                "category_id": label + 1,
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                "score": 0.9,
            }
        )
path = Path("predictions.json")
path.write_text(json.dumps(entries), encoding="utf-8")

result = evaluate_predictions(path, dataset)
cityscapes, coco = result["cityscapes"], result["coco"]
print(f"{len(entries)} boxes on {result['images']} images, per cent:")
print("class       Cityscapes AP   AP50  COCO AP   AP50")
rows = {"all": (cityscapes, coco)} | {
    name: (cityscapes["per_class"][name], coco["per_class"][name])
    for name in cityscapes["per_class"]
}
for name, values in rows.items():
    numbers = [100 * found[key] if found else None for found in values for key in ("AP", "AP50")]
    cells = ["-" if number is None else f"{number:.1f}" for number in numbers]
    print(f"{name:<12}{cells[0]:>13}{cells[1]:>7}{cells[2]:>9}{cells[3]:>7}")
