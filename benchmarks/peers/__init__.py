"""The same models in another tool, on the same lake and engine: `python -m benchmarks.peers.compare`."""
