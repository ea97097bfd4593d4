"""The simulated node: virtual time, pools, stages, records and what is computed from them."""

from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.loop import VirtualTimeLoop
from deeprec_env.simulation.records import Records, write_records
from deeprec_env.simulation.simulate import Result, simulate

__all__ = ["AsyncioEngine", "Engine", "Records", "Result", "VirtualTimeLoop", "simulate", "write_records"]
