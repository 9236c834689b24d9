"""A residual network on phase-change memory over a year: figures 4 and 5 of Buechel, Faber and Muir (ICLR 2022).

`standard` is trained alone; from it `noise` and `attacked` go on, both on the devices of the chip type `pcm_joshi`:
with noise of their own spread, and with noise for the task's loss and an attack of 3 steps for the consistency. Each
has the same number of epochs. Each is deployed on dies at 25 s, 1 h, 1 day, 30 days and 1 year after programming, with
drift compensated by one factor a tile (GDC).

CIFAR-10 where `--cifar FOLDER` gives its binary files (data_batch_1.bin ... test_batch.bin); otherwise Fashion-MNIST
with the same code, and the result says so.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks import harness
from benchmarks.paper.cells import RESULTS, part, write
from benchmarks.paper.jobs import spoken
from benchmarks.paper.resnet import ResNet, images
from neurosim.deployment import deploy
from neurosim.mapping import map_network
from neurosim.profile import load_profile
from neurosim.tasks import Task
from neurosim.training import OnChip, as_network, train
from neurosim.writing import written_beside

PROFILE = "pcm_joshi"
TIMES = {"25 s": 25.0, "1 h": 3600.0, "1 day": 86400.0, "30 days": 2592000.0, "1 year": 31536000.0}
LOT = 1
#: recipe on the chip and its settings; sizes in units of each device's spread
VARIANTS = {"standard": None, "noise": ("forward_noise", {"eta": 1.0}),
            "attacked": ("hybrid", {"eta": 1.0, "steps": 3})}


def trained_variant(name: str, start: ResNet, task: Task, options: argparse.Namespace) -> ResNet:
    """A variant, from its file in the work folder or trained there."""
    settings = {"variant": name, "seed": options.seed, "epochs": options.epochs, "blocks": options.blocks,
                "train_samples": options.train_samples, "task": task.name}
    said, kept = json.dumps(settings, sort_keys=True), options.work / f"pcm-{name}-{options.seed}.pt"
    model = copy.deepcopy(start)
    if kept.exists() and (found := torch.load(kept, weights_only=True))["asked"] == said:
        model.load_state_dict(found["state"])
        return model.eval()
    inputs, labels = part(task.train, options.train_samples)
    validation = part(task.validation, min(1000, len(task.validation)))
    recipe, own = VARIANTS[name] or ("standard", {})
    rate = 1e-3 if name == "standard" else 3e-4
    on = model if name == "standard" else OnChip(model, load_profile(PROFILE), validation[0][:, :4], dt=task.dt,
                                                 mode="nominal", seed=options.seed)
    options.work.mkdir(parents=True, exist_ok=True)
    checkpoint = options.work / f"pcm-{name}-{options.seed}.checkpoint"
    train(on, inputs, labels, recipe=recipe, seed=options.seed, epochs=options.epochs, batch_size=100,
          learning_rate=[(3, rate), (1, rate / 10)], validation=validation, device=options.device,
          selection="clean" if name == "standard" else "noisy", checkpoint=checkpoint, resume=True,
          metrics=options.work / f"pcm-{name}-{options.seed}.jsonl", **own)
    with written_beside(kept) as temporary:
        torch.save({"asked": said, "state": model.state_dict()}, temporary)
    checkpoint.unlink(missing_ok=True)
    return model.eval()


def accuracies(model: ResNet, task: Task, options: argparse.Namespace) -> dict[str, object]:
    """Right answers of the network itself, and of every die at every time."""
    inputs, labels = part(task.test, options.test_samples)
    mapped = map_network(as_network(model, inputs[:, :4], task.dt), load_profile(PROFILE))
    right, itself = {}, 0
    for said, time in TIMES.items():
        run = deploy(mapped, inputs, labels, dies=options.dies, seed=LOT, time=time, calibrate=["gdc"],
                     threads=options.threads)
        right[said] = np.rint(run.accuracy.values * labels.size).astype(int).tolist()
        itself = round(run.ideal_accuracy * labels.size)
    return {"samples": int(labels.size), "itself": itself, "right": right}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="folder with the binary files of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=40, help="of each variant (default 40)")
    parser.add_argument("--blocks", type=int, default=5, help="blocks of a stage; 5 are ResNet-32 (default)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dies", type=int, default=25, help="default: 25, as published")
    parser.add_argument("--train-samples", type=int, default=0, help="default: all")
    parser.add_argument("--test-samples", type=int, default=0, help="default: all")
    parser.add_argument("--work", type=Path, default=Path("paper-work"))
    parser.add_argument("--threads", type=int, default=harness.cores())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else there")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task = images(options.cifar)
    file = RESULTS / "pcm" / f"{task.name}-{options.epochs}-{options.blocks}-{options.seed}.json"
    asked = {name: getattr(options, name) for name in
             ("epochs", "blocks", "seed", "dies", "train_samples", "test_samples")} | {"task": task.name, "lot": LOT}
    found = json.loads(file.read_text()) if file.exists() else {}
    variants = found.get("variants", {}) if found.get("asked") == asked else {}
    start = ResNet(task.shape[0], len(task.classes), blocks=options.blocks, seed=options.seed)
    for name in VARIANTS:
        if name in variants:
            continue
        start_from = start if name == "standard" else trained_variant("standard", start, task, options)
        variants[name] = accuracies(trained_variant(name, start_from, task, options), task, options)
        write(file, {"asked": asked, "variants": variants})
    if options.json:
        json.dump({"asked": asked, "variants": variants}, sys.stdout, indent=1)
        print()
        return 0
    print(f"{task.name}, mean / least of {options.dies} dies, percent")
    print(f"{'':12}{'itself':>8}", *(f"{said:>13}" for said in TIMES))
    for name, entry in variants.items():
        shares = [100 * np.array(entry["right"][said]) / entry["samples"] for said in TIMES]
        print(f"{name:12}{100 * entry['itself'] / entry['samples']:8.2f}",
              *(f"{share.mean():6.2f}/{share.min():6.2f}" for share in shares))
    return 0


if __name__ == "__main__":
    sys.exit(spoken(main))
