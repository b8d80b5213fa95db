"""The anatomy of a phantom: tissue, organs, the fetus, the chest and the pelvis."""
