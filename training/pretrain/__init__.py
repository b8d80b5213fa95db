"""Pre-training without labels: hide squares of images and train the network to reconstruct them."""
