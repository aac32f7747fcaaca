"""Speed and memory, measured on this machine against real server processes: ``python -m benchmarks``."""
