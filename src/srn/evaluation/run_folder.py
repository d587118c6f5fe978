"""Names of the files in a run's folder: `training` and `hofs` write them, and the tables find networks by them."""

from __future__ import annotations

CONFIG_FILE, STATE_FILE, LOG_FILE = "config.json", "state.safetensors", "log.csv"
FACES_FILE, KEPT_AGENT = "faces.npz", "hofs.safetensors"
"""The faces of a run, and the agent that occludes them, as it began."""
WEIGHTS_FILE, EXPORTED_FILE = "weights.safetensors", "weights.onnx"
"""The network that was trained, and what `srn export` makes of it."""
AGENT_FILE = "agent.safetensors"
"""The agent that was trained."""
