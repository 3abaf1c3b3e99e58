"""Every unit of a network, rendered: a plan, and a folder that it fills."""

from lucent.sweep.plan import Batch, Job, SweepPlan, seed_of
from lucent.sweep.planning import plan_sweep
from lucent.sweep.results import Record, Sweep
from lucent.sweep.run import run_sweep
from lucent.sweep.settings import KINDS, Kind, SweepSettings

__all__ = [
    "KINDS",
    "Batch",
    "Job",
    "Kind",
    "Record",
    "Sweep",
    "SweepPlan",
    "SweepSettings",
    "plan_sweep",
    "run_sweep",
    "seed_of",
]
