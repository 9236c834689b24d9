"""Measurements that can be repeated: `python -m benchmarks.NAME [--json] [--quick]`. Not installed with the package."""
