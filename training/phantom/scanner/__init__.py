"""How a phantom is imaged: geometry, physics, scanner profiles, screen graphics."""
