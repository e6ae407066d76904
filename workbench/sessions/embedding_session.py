"""Where networks of a run hold the images of both domains: a map to lasso, and one number.

The images are training images of source and target, whole, without target labels, and the mixed
images of the run's snapshots. Every network that is asked for has a map of its own, under its key:
two axes of a reduction have no meaning across networks. The gap between the domains, which has no
unit, can be compared.
"""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from uda4inst.data.files.images import read_picture
from uda4inst.errors import UserError
from uda4inst.evaluation.embeddings import domain_gap, embed
from uda4inst.methods.updates import STUDENT
from uda4inst.models.precision import inference_precision
from uda4inst.run_folder.checkpoints import Checkpoint, complete_steps, open_checkpoint
from uda4inst.run_folder.layout import RunDir, numbered
from uda4inst.run_folder.snapshot_reader import read_snapshot
from uda4inst.training.config import load_config
from uda4inst.training.groups.modules import networks_of
from uda4inst.training.session import checkpoint_at
from uda4inst.training.validation import choose_device, load_network
from workbench.sessions.building import (
    KEY,
    DataSession,
    Progress,
    add_samples,
    media_folder,
    save_info,
    sole_builder,
)
from workbench.sessions.data_session import open_data_session, summary_of
from workbench.sessions.library import fo
from workbench.sessions.reading import write_png
from workbench.sessions.request import DataRequest, Side

Method = Literal["pca", "umap"]

_log = logging.getLogger(__name__)
_SEED: Final = 0  # of the reduction and of the halves
_REMEDY: Final = "Install it: pip install -e '.[embeddings]', or leave --method out for PCA."


@dataclass(frozen=True, slots=True, eq=False)
class Embedder:
    """A network whose map is asked for.

    Args:
        run: its run, or the module of a run.
        group: the category group of the module; None where there is one network for all.
        checkpoint: where its weights lie.
        network: student or teacher.
        is_start: whether it is what the run's stage 2 started from, trained by another run.
    """

    run: RunDir
    group: str | None
    checkpoint: Checkpoint
    network: str
    is_start: bool = False

    @property
    def when(self) -> str:
        """Its step, or `start`."""
        return "start" if self.is_start else str(self.checkpoint.step)

    @property
    def name(self) -> str:
        """As people say it."""
        return " ".join(filter(None, (self.group, self.network, self.when)))

    @property
    def key(self) -> str:
        """Of its map in FiftyOne, whose list cuts long ones: what tells maps apart comes first."""
        words = [self.network, self.when, self.group or ""]
        return re.sub(r"[^a-z0-9]+", "_", "_".join(words)).strip("_")


def find_embedders(
    run: RunDir, *, steps: Sequence[int] = (), network: str = STUDENT
) -> list[Embedder]:
    """Return the networks of a run at some steps, of every category group.

    Args:
        run: of one or several groups.
        steps: of checkpoints; none for before and after: what stage 2 started from where another
            run trained that, else the first that is kept, and the last.
        network: student or teacher.

    Raises:
        UserError: there is no such checkpoint or network.
    """
    found: list[Embedder] = []
    for part in networks_of(run):
        group = None if part is run else part.name
        start = None if steps or network != STUDENT else _start_of(part)
        if start is not None:
            found.append(Embedder(part, group, start, network, is_start=True))
        for step in steps or _ends(part, first=start is None):
            checkpoint = open_checkpoint(part.checkpoints, step=step)
            if network in checkpoint.networks:
                found.append(Embedder(part, group, checkpoint, network))
            elif steps:
                raise _no_network(network, checkpoint)
    if not found:
        raise _no_network(network, open_checkpoint(run.checkpoints))
    return found


def _start_of(part: RunDir) -> Checkpoint | None:
    """Return what stage 2 started from; None where the run has a stage 1, or its start is gone."""
    config = load_config(part.config)
    if not config.training.stage2_from:
        return None
    try:
        return checkpoint_at(config.training.stage2_from, root=Path(config.run.root))
    except UserError as error:
        _log.warning("the map of what stage 2 started from is left out: %s", error)
        return None


def _ends(part: RunDir, *, first: bool) -> list[int]:
    """Return the last step that is kept, and the first if that is asked for.

    Raises:
        UserError: none is kept.
    """
    kept = complete_steps(part.checkpoints)
    if not kept:
        open_checkpoint(part.checkpoints)  # says what is there
    return sorted({kept[0], kept[-1]} if first else {kept[-1]})


def _no_network(network: str, checkpoint: Checkpoint) -> UserError:
    return UserError(
        f"--network must be one of the checkpoint's ({', '.join(checkpoint.networks)}), got "
        f"{network} ({checkpoint.folder}). A teacher exists only in stage 2 of methods that have "
        "one."
    )


def open_embedding_session(
    run: RunDir,
    *,
    steps: Sequence[int] = (),
    network: str = STUDENT,
    method: Method | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> DataSession:
    """Return the data set of a run's training images with a map of every network.

    Args:
        run: of one or several category groups.
        steps: see `find_embedders`.
        network: student or teacher.
        method: how features become two axes; None for umap where it is installed, else PCA.
        limit: so many images of each domain, spread evenly; None for all.
        fresh: build everything again.
        progress: called while images are added, then for each map.

    Raises:
        UserError: as `find_embedders` and `open_data_session`; or umap is not installed.
    """
    reduced_by = _method(method)
    embedders = find_embedders(run, steps=steps, network=network)
    session = open_data_session(_request(run, limit), fresh=fresh, progress=progress)
    dataset = session.dataset
    with sole_builder(dataset.name):
        dataset.reload()  # another process may have added maps meanwhile
        _add_mixed(dataset, run)
        for one in embedders:
            known = dataset.info[KEY].get("maps", {}).get(one.key, {})
            facts = {"title": one.name, "method": reduced_by, "of": _fingerprint(one, dataset)}
            if any(known.get(name) != value for name, value in facts.items()):
                _add_map(dataset, one, facts, progress)
    maps = {one.key: dataset.info[KEY]["maps"][one.key] for one in embedders}
    built = bool(session.summary["built"])
    return DataSession(dataset, {**summary_of(dataset, built=built), "maps": maps})


def _method(asked: Method | None) -> Method:
    """Return how to reduce.

    Raises:
        UserError: umap is asked for and not installed.
    """
    has_umap = find_spec("umap") is not None
    if asked == "umap" and not has_umap:
        raise UserError(f"--method umap must have umap-learn, got none here. {_REMEDY}")
    return asked or ("umap" if has_umap else "pca")


def _request(run: RunDir, limit: int | None) -> DataRequest:
    data = load_config(run.config).data
    sides = (Side("source", data.source), Side("target", data.target))
    return DataRequest(f"map {run.name}", sides, limit=limit)


# Mixed images ----------------------------------------------------------------------------------


def _add_mixed(dataset: fo.Dataset, run: RunDir) -> None:
    """Add the mixed images of the snapshots that were not read yet; those that went away stay."""
    known: list[str] = list(dataset.info[KEY].get("snapshots", []))
    folder = media_folder(dataset.name) / "mixed"
    folder.mkdir(parents=True, exist_ok=True)
    for part in networks_of(run):
        for step in numbered(part.snapshots):
            if f"{part.name} {step}" in known:
                continue
            images = list(_mixed_images(part, step))
            names = [name for name, _, _ in images]
            dataset.delete_samples(dataset.match(fo.ViewField("image_name").is_in(names)))
            add_samples(dataset, [_written(folder, *one) for one in images])
            known.append(f"{part.name} {step}")
            save_info(dataset, snapshots=known)


def _mixed_images(part: RunDir, step: int) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Yield name, domain and pixels."""
    for position, item in enumerate(read_snapshot(part, step).items):
        for domain, view in (("S2T", item.s2t), ("T2S", item.t2s)):
            if view is not None:
                yield f"{part.name} {step} {position} {domain}", domain, view.image


def _written(folder: Path, name: str, domain: str, image: NDArray[np.uint8]) -> fo.Sample:
    """Return a mixed image as a sample, its picture written."""
    path = (folder / f"{name.replace(' ', '-')}.png").absolute()
    write_png(image, path)
    height, width = image.shape[:2]
    return fo.Sample(
        filepath=str(path),
        metadata=fo.ImageMetadata(
            size_bytes=path.stat().st_size, width=width, height=height, num_channels=3
        ),
        image_name=name,
        domain=domain,
        labels="none",
    )


# Maps ------------------------------------------------------------------------------------------


def _fingerprint(one: Embedder, dataset: fo.Dataset) -> str:
    """Return what changes with the weights and with the images."""
    places = dataset.values("id")
    return hashlib.sha256(repr((one.checkpoint.digest(one.network), places)).encode()).hexdigest()


def _add_map(
    dataset: fo.Dataset,
    one: Embedder,
    facts: Mapping[str, str],
    progress: Progress | None,
) -> None:
    """Embed every image, save the map under the network's key, and note the gap."""
    from fiftyone import brain  # after `library`, which says how FiftyOne is to behave

    maps = {k: v for k, v in dataset.info[KEY].get("maps", {}).items() if k != one.key}
    save_info(dataset, maps=maps)  # half of one is not taken for the whole
    if dataset.has_brain_run(one.key):
        dataset.delete_brain_run(one.key)
    paths, domains = dataset.values(["filepath", "domain"])
    found = []
    for vector in _embeddings(one, [Path(path) for path in paths]):
        found.append(vector)
        if progress is not None:
            progress(f"Mapping images by {one.name}", len(found), len(paths))
    vectors, of = np.stack(found), np.array(domains)
    quiet = {"verbose": False} if facts["method"] == "umap" else {}  # it prints among the summary
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_jobs value")  # of UMAP, which the seed keeps to one
        brain.compute_visualization(
            dataset,
            embeddings=vectors,
            method=facts["method"],
            brain_key=one.key,
            seed=_SEED,
            progress=False,
            **quiet,
        )
    gaps = _gaps(vectors[of == "source"], vectors[of == "target"])
    save_info(dataset, maps={**maps, one.key: {**facts, **gaps}})


def _embeddings(one: Embedder, paths: Sequence[Path]) -> Iterator[Float32[np.ndarray, " C"]]:
    """Yield what a network makes of pictures, as it would be shown them in evaluation.

    Raises:
        UserError: a picture cannot be read.
    """
    config = load_config(one.run.config)
    device = choose_device(config)
    network = load_network(config, one.checkpoint, one.network, device)
    with inference_precision(config.training.inference_precision, device):
        yield from embed(
            network,
            (read_picture(path) for path in paths),
            device=device,
            short_side=config.evaluation.short_side,
        )


def _gaps(
    source: Float32[np.ndarray, "N C"], target: Float32[np.ndarray, "M C"]
) -> dict[str, float | None]:
    """Return the gap between the domains, and that between two halves of the target beside it."""
    order = np.random.default_rng(_SEED).permutation(len(target))
    halves = target[order[::2]], target[order[1::2]]
    return {"gap": _gap(source, target), "gap_within_target": _gap(*halves)}


def _gap(one: Float32[np.ndarray, "N C"], other: Float32[np.ndarray, "M C"]) -> float | None:
    """Return the gap; None of too few images."""
    return domain_gap(one, other) if min(len(one), len(other)) > 1 else None
