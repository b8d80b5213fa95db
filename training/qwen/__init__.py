"""Qwen3-VL's published checkpoints, read for their vision tower alone."""
