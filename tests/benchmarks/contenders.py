"""One pass over the same rows by wukongctl, torch-rechub, deepctr-torch or a plain PyTorch script.

39 categorical features of width 16, batches of 4096, the same layer sizes. A setting says how to optimise:
peers have one learning rate for everything, the plain script also the deviation of its first embeddings
(torch-rechub and deepctr-torch draw them with 1e-4), ours one optimiser for dense weights and one for
embeddings. Ours begins with small embeddings and logits near zero, as the others do by their defaults.
"""

import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

WIDTH, BATCH, HIDDEN, CROSS = 16, 4096, (400, 400, 400), 3
OURS = {"width": WIDTH, "embedding_init": 0.01, "logit_scale": 0.01}
MODELS: dict[str, dict[str, Any]] = {
    "dcnv2": {"name": "dcnv2", "cross_layers": CROSS, "hidden": list(HIDDEN), "batch_norm": True},
    "wukong": {"name": "wukong", "layers": 2, "n_F": 16, "n_L": 16, "k": 16, "hidden": [256], "head": [256]},
}
NEEDS = {"torch-rechub": "torch_rechub", "deepctr-torch": "deepctr_torch"}
Setting = dict[str, Any]
Arrays = tuple[dict[str, np.ndarray], np.ndarray]
Scorer = Callable[[Arrays], np.ndarray]


def installed(model: str) -> list[str]:
    """Who can run `model` here."""
    names = ["ours-bfloat16", "ours-float32", "plain", *(NEEDS if model == "dcnv2" else ())]
    return [name for name in names if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]


def read(folder: Path, split: str) -> Arrays:
    """A split as {feature: ids} and labels."""
    table = pq.read_table(folder / split)
    names = [name for name in table.column_names if name != "label"]
    return {name: table[name].to_numpy() for name in names}, table["label"].to_numpy().astype(np.float32)


class Clock:
    """Processor and wall seconds of a context; processor seconds of its child processes (compilers) count."""

    def __enter__(self) -> "Clock":
        self.start = time.perf_counter(), _processor_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.start[0], _processor_seconds() - self.start[1]


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def ours(
    model: str, precision: str, folder: Path, seed: int, setting: Setting, *, compiled: bool
) -> dict[str, Any]:
    """One epoch of `wukongctl train`; what compilers took is added to what it measures of itself."""
    from wukongctl.config.training import TrainingSpec
    from wukongctl.training.train import train

    recipe = {
        "data": folder.name,
        "model": MODELS[model] | OURS,
        "optimizer": {"dense": setting["dense"], "embedding": setting["embedding"]},
        "batch_size": BATCH, "precision": precision, "compile": compiled, "threads": 1, "seed": seed,
    }  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        outcome = train(
            TrainingSpec.from_dict(recipe), data=folder.parent, out=Path(out), report=lambda _: None
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    compilers = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = outcome.result
    return {
        "cpu": result.cpu_seconds + compilers,
        "wall": result.train_seconds,
        "auc": {split: result.metrics[split]["auc"] for split in ("valid", "test")},
        "mfu": result.mfu,
    }


def plain(
    model: str, train: Arrays, rows: dict[str, int], seed: int, setting: Setting
) -> tuple[Clock, Scorer]:
    """What one writes in an afternoon: a table per feature, dense gradients, Adam, DataLoader."""
    import torch
    from plain_models import DCNv2, Wukong
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    sizes, layers = list(rows.values()), {k: v for k, v in MODELS["wukong"].items() if k != "name"}
    made = DCNv2(sizes, WIDTH, CROSS, HIDDEN) if model == "dcnv2" else Wukong(sizes, WIDTH, **layers)
    for table in made.tables.tables:
        torch.nn.init.normal_(table.weight, std=setting["init"])
    optimizer = torch.optim.Adam(made.parameters(), lr=setting["lr"])
    with Clock() as clock:
        ids = torch.from_numpy(np.stack([train[0][name] for name in rows], axis=1).astype(np.int64))
        loader = DataLoader(TensorDataset(ids, torch.from_numpy(train[1])), batch_size=BATCH, shuffle=True)
        for batch, labels in loader:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(made(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.inference_mode()
    def score(held_out: Arrays) -> np.ndarray:
        made.eval()
        ids = torch.from_numpy(np.stack([held_out[0][name] for name in rows], axis=1).astype(np.int64))
        return torch.cat([made(part) for part in ids.split(8192)]).numpy()

    return clock, score


def rechub(train: Arrays, rows: dict[str, int], seed: int, setting: Setting) -> tuple[Clock, Scorer]:
    """torch-rechub's DCNv2 under its own trainer and data generator."""
    import torch
    from torch_rechub.basic.features import SparseFeature
    from torch_rechub.models.ranking import DCNv2
    from torch_rechub.trainers import CTRTrainer
    from torch_rechub.utils.data import DataGenerator

    torch.manual_seed(seed)
    features = [SparseFeature(name, vocab_size=size, embed_dim=WIDTH) for name, size in rows.items()]
    made = DCNv2(features, CROSS, {"dims": list(HIDDEN)}, use_low_rank_mixture=False)
    with tempfile.TemporaryDirectory() as out:
        trainer = CTRTrainer(
            made, optimizer_params={"lr": setting["lr"]}, n_epoch=1, device="cpu", model_path=out
        )
    with Clock() as clock:
        loader, *_ = DataGenerator(*train).generate_dataloader(
            x_val=train[0], y_val=train[1], x_test=train[0], y_test=train[1], batch_size=BATCH, num_workers=0
        )
        trainer.train_one_epoch(loader)

    @torch.inference_mode()
    def score(held_out: Arrays) -> np.ndarray:
        made.eval()
        tensors = {name: torch.from_numpy(ids.astype(np.int64)) for name, ids in held_out[0].items()}
        return made(tensors).numpy()

    return clock, score


def deepctr(train: Arrays, rows: dict[str, int], seed: int, setting: Setting) -> tuple[Clock, Scorer]:
    """deepctr-torch's DCN with matrices, which is DCNv2, under its own `fit`; no regularisation."""
    import torch
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DCN

    features = [SparseFeat(name, size, embedding_dim=WIDTH) for name, size in rows.items()]
    made = DCN(
        features, features, cross_num=CROSS, cross_parameterization="matrix", dnn_hidden_units=HIDDEN,
        l2_reg_linear=0, l2_reg_embedding=0, l2_reg_cross=0, dnn_use_bn=True, seed=seed,
    )  # fmt: skip
    made.compile(torch.optim.Adam(made.parameters(), lr=setting["lr"]), "binary_crossentropy")
    with Clock() as clock:
        made.fit(train[0], train[1], batch_size=BATCH, epochs=1, verbose=0)
    return clock, lambda held_out: made.predict(held_out[0], 8192)[:, 0]


def contend(name: str, model: str, folder: Path, seed: int, setting: Setting) -> dict[str, Any]:
    """One contender's pass, in this process: seconds, AUC by split, highest memory."""
    import torch

    torch.set_num_threads(1)
    if name.startswith("ours"):
        _, precision, *compiled = name.split("-")
        found = ours(model, precision, folder, seed, setting, compiled=bool(compiled))
    else:
        from wukongctl.training.auc import auc

        rows = json.loads((folder / "rows.json").read_text())
        train = read(folder, "train")
        made = {"torch-rechub": rechub, "deepctr-torch": deepctr}
        clock, score = (
            made[name](train, rows, seed, setting)
            if name in made
            else plain(model, train, rows, seed, setting)
        )
        held_out = {split: read(folder, split) for split in ("valid", "test")}
        scored = {split: auc(score(arrays), arrays[1]) for split, arrays in held_out.items()}
        found = {"cpu": clock.cpu, "wall": clock.wall, "auc": scored}
    return found | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
