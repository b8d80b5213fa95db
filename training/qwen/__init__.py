"""Import the vision tower of published Qwen3-VL checkpoints."""
