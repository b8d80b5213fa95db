"""What a phantom shows: tissue, organs, the fetus, the chest and the pelvis."""
