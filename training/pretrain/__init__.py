"""Pre-training without labels: squares of the images are hidden, and the network learns to paint them in."""
