"""The network: Qwen3-VL's vision tower, a feature pyramid, and one head per task type."""
