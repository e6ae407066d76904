"""Run by test_criterion: mask gradients of two ranks with unequal instance counts, and of one.

Rank 0 has three instances, rank 1 none at all. Averaged over ranks (as DDP does), the gradient of
mask and dice terms must equal that of one process that sees both images.
"""

from __future__ import annotations

import multiprocessing
import sys

import torch
import torch.distributed as dist
from torch import Tensor

from uda4inst.models.mask2former import criterion, mask_loss
from uda4inst.models.mask2former.prediction import Prediction
from uda4inst.structures import InstanceMap

SIZE = (64, 64)


def maps() -> list[InstanceMap]:
    ids = torch.zeros(SIZE, dtype=torch.int32)
    ids[4:20, 4:30], ids[30:60, 10:20], ids[20:50, 40:60] = 1, 2, 3
    return [InstanceMap(ids, torch.tensor([2, 0, 7])), InstanceMap.empty(SIZE)]


def same_points(*count: int, **_: object) -> Tensor:
    """The same points for every image and mask, however many a process sees."""
    table = torch.rand((count[-1], 2), generator=torch.Generator().manual_seed(count[-1]))
    return (2 * table - 1).expand(*count, 2).clone()


def gradient(images: slice) -> Tensor:
    """Gradient of the mask terms for a shared offset of the logits, on some of the images."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(2, 2, 5, 9, generator=generator)
    masks = torch.randn(2, 2, 5, 16, 16, generator=generator)
    shared = torch.zeros(5, 16, 16, requires_grad=True)
    prediction = Prediction(classes[:, images], (masks + shared)[:, images].unbind(), SIZE)
    losses = criterion.Criterion(num_points=200)(prediction, maps()[images])
    (losses.mask_loss + losses.dice_loss).backward()
    assert shared.grad is not None
    return shared.grad


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    criterion.random_points = mask_loss.random_points = same_points
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    own = gradient(slice(rank, rank + 1))
    dist.all_reduce(own)
    dist.destroy_process_group()
    if rank == 0:
        torch.save({"distributed": own / 2, "whole": gradient(slice(0, 2))}, f"{folder}/result.pt")


if __name__ == "__main__":
    # forked, not spawned: the imports are paid once, and nothing has run in threads yet
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=rank_main, args=(rank, sys.argv[1])) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in ranks))
