"""A process that does steps in one way when it is told to, and says how long they took.

Every way has a process of its own, because in a shared one they disturb each other: how often the
C library hands memory back, and so how many pages each step has to fault in again, depends on what
the others left behind in the heap.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import torch

from benchmarks.contenders import Sample, Setup, contenders

ROOT = Path(__file__).parents[1]
_PEAK = "peak"


class Worker:
    """Does steps in a process of its own, between `with` and its end.

    Args:
        way: name of a contender.
        workload: name of a workload.
        batch: number of images.
        device: that computes.
        threads: number of threads on the CPU.
    """

    def __init__(self, way: str, workload: str, batch: int, *, device: str, threads: int) -> None:
        self._command = [
            *(sys.executable, "-W", "ignore", "-m", "benchmarks.worker"),
            *(way, workload, str(batch), device, str(threads)),
        ]
        self._threads = threads

    def __enter__(self) -> Worker:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(self._threads)},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # At the end of its input it ends.
        self._process.communicate()

    def __call__(self, steps: int) -> Sample:
        """Do the discarded steps and then so many."""
        return Sample(*self._ask(str(steps)))

    def peak(self) -> float:
        """Return the most memory during the steps so far, in MB."""
        (megabytes,) = self._ask(_PEAK)
        return megabytes

    def _ask(self, question: str) -> list[float]:
        print(question, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self._command)} ended; its error is above.")
        return [float(number) for number in answer.split()]


def forget_peak(device: torch.device) -> None:
    """Let `peak_megabytes` count from now on; Linux only."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes(device: torch.device) -> float:
    """Return the most memory of this process, or of the tensors on a GPU; Linux only."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def main(way: str, workload: str, batch: str, device_name: str, threads: str) -> None:
    """Answer each line of the standard input: a number of steps, or the question for the peak."""
    torch.set_num_threads(int(threads))
    device = torch.device(device_name)
    contender = contenders(device)[way](Setup.of(workload, int(batch), device))
    # Until now the network was there twice for a moment.
    forget_peak(device)
    for line in sys.stdin:
        if line.strip() == _PEAK:
            print(peak_megabytes(device), flush=True)
            continue
        sample = contender(int(line))
        if device.type == "cuda":
            # The other processes need the memory, too.
            torch.cuda.empty_cache()
        print(sample.cpu, sample.wall, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
