"""One training step of PyTorch beside one of `zoo bench --training`.

    python tests/oracle/training_step.py --zoo target/release/zoo [--threads 2] [--runs 5] [VARIANT ...]

Forward, backward and an update by SGD with Nesterov's momentum and weight decay, batch 8 at 224
pixels, on the cpu. The two take turns, so that what else the machine does disturbs both; printed
are the medians.
"""

import argparse
import json
import statistics
import subprocess
import time

import torch
import torchvision

VARIANTS = ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0"]


def pytorch(variant, batch, size, runs):
    model = torchvision.models.get_model(variant, weights=None).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True,
                                weight_decay=5e-4)
    images = torch.randn(batch, 3, size, size)
    classes = torch.zeros(batch, dtype=torch.long)
    times = []
    for run in range(runs + 2):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        loss.item()
        if run >= 2:
            times.append(1e3 * (time.perf_counter() - start))
    return times


def zoo(program, variant, batch, size, runs, threads, backend):
    command = [program, "bench", variant, "--training", "--format", "json", "--backend", backend]
    command += ["--batch", batch, "--size", size, "--runs", runs, "--threads", threads]
    return json.loads(subprocess.check_output([str(word) for word in command]))["median_ms"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("variants", nargs="*", default=VARIANTS)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'':<18} {'PyTorch':>10} {'zoo':>10}   ms a step, {args.threads} threads, {args.backend}")
    for variant in args.variants:
        theirs, ours = [], []
        for _ in range(args.turns):
            theirs += pytorch(variant, args.batch, args.size, args.runs)
            ours.append(zoo(args.zoo, variant, args.batch, args.size, args.runs, args.threads, args.backend))
        theirs, ours = statistics.median(theirs), statistics.median(ours)
        print(f"{variant:<18} {theirs:10.0f} {ours:10.0f}   {ours / theirs:.2f} times", flush=True)


if __name__ == "__main__":
    main()
