"""Image a phantom: geometry, physics, scanner profiles, burned-in text and graphics."""
